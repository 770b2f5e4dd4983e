"""Pages that this gateway adds to the hub, and what JupyterHub's templates need for them."""
