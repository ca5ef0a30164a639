"""The local page of a running hedger: what it is and does, live in a browser, without a request leaving the machine."""
