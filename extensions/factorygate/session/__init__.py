"""The door: a small SSH server in the batch job through which, and only through which, the notebook is reached.

``python -P -m factorygate.session --id ID --folder FOLDER --authorized KEY`` runs it as the job's one program. It needs
asyncssh and the standard library; only what is loaded inside the notebook server (``extension`` and what it joins)
imports Jupyter.
"""
