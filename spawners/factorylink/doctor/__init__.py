"""The operator's walk along the way of a session, step by step."""
