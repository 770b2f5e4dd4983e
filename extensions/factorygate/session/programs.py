"""Names of the programs that a session's launcher can run, as the link requests them."""

NOTEBOOK_PROGRAM = "jupyterhub-singleuser"
HEAD_PROGRAM = "factorygate-head"  # a cluster's Dask scheduler, which runs instead of a notebook
