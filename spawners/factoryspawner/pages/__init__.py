"""Pages that this gateway adds to the hub, and the helpers for JupyterHub's templates."""
