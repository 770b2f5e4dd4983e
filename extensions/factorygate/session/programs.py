"""Names by which the link requests the two programs that a session's launcher runs in its own process."""

NOTEBOOK_PROGRAM = "jupyterhub-singleuser"
HEAD_PROGRAM = "factorygate-head"  # a cluster's Dask scheduler, which runs instead of a notebook
