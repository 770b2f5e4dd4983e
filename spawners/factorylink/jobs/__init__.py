"""Which job at a scheduler is ours: identity by a signed comment, ownership by fresh answers."""
