"""Names the two programs that a session's launcher can run: the notebook server, and a cluster's Dask scheduler.

The launcher runs one of them in its own process; the link's request says which.
"""

NOTEBOOK_PROGRAM = "jupyterhub-singleuser"
HEAD_PROGRAM = "factorygate-head"  # a cluster's Dask scheduler, which runs instead of a notebook
