"""Pages of the hub that we add, and what JupyterHub's templates need for them."""
