"""Recognises the gateway's own jobs at a scheduler: identity by a signed comment, ownership by fresh answers."""
