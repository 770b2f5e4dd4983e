"""Dialects: pure functions from a request to a command, and from output to models."""
