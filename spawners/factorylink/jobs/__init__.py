"""Recognises the gateway's own jobs: by their signed comment, or by id, account and time of submission."""
