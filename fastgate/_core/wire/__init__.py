"""Bytes of connections: sockets, TLS, and one folder for each protocol."""
