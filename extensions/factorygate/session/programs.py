"""Names the two programs that a session's launcher can run in its own process; the link requests one of them."""

NOTEBOOK_PROGRAM = "jupyterhub-singleuser"
HEAD_PROGRAM = "factorygate-head"  # a cluster's Dask scheduler, which runs instead of a notebook
