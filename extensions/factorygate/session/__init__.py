"""The door: a small SSH server in the batch job; the only way to the notebook.

``python -P -m factorygate.session --id ID --folder FOLDER --authorized KEY`` runs it as the job's one program. It needs
asyncssh and the standard library; only modules that run inside the notebook server (``extension`` and the modules that
it imports) import Jupyter.
"""
