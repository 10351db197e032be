"""Protocols of machines: bytes in, requests out; answers in, bytes out. No sockets, no database."""
