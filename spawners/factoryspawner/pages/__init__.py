"""The pages that this gateway adds to the hub, and helpers for JupyterHub's templates."""
