"""Grammar: bytes to events and commands to requests, without any input or output."""
