"""The simulated exchange on loopback sockets: REST, streams and the WebSocket API on one port."""
