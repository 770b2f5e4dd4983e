"""The operator's command that walks the way of a session to a factory, step by step."""
