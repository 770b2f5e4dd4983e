"""Names the two programs that a session's launcher runs by importing modules: notebook server and Dask scheduler.

The launcher replaces itself with any other program (``exec``).
"""

NOTEBOOK_PROGRAM = "jupyterhub-singleuser"
HEAD_PROGRAM = "factorygate-head"  # a cluster's Dask scheduler, which runs instead of a notebook
