"""The door: a small SSH server in the batch job; the only way to the notebook.

``python -P -m factorygate.session --id ID --folder FOLDER --authorized KEY`` runs it as the job's one program. It needs
asyncssh and the standard library; only modules loaded inside the notebook server (``extension`` and what it joins)
import Jupyter.
"""
