"""Sockets: the listener, the first request of a connection, WebSockets, TLS, HTTP clients."""
