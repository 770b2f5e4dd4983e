"""Names of the programs that a session's launcher becomes, as the link asks for them."""

NOTEBOOK_PROGRAM = "jupyterhub-singleuser"
HEAD_PROGRAM = "factorygate-head"  # a cluster's scheduler, in place of a notebook
