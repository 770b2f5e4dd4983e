"""Recognises the gateway's own jobs at a scheduler: by a signed comment, and by fresh answers of the scheduler."""
