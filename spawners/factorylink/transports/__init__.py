"""Transports: ways to run commands, and to open byte streams, at the login side of a factory."""
