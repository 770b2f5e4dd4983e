"""Copies the example notebooks of this package into a folder of the person.

The notebooks are in ``notebooks`` beside this file. In a checkout this is a symbolic link to docs/examples, in a wheel
a folder with the same files.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

FOLDER = "factorygate-examples"
FIRST = "1-first-steps.ipynb"
NEEDS = {"3-training-with-pytorch.ipynb": "torch"}  # Python modules that some environments lack
_NOTEBOOKS = Path(__file__).parent / "notebooks"


def copy_examples(folder: str | os.PathLike[str] = FOLDER) -> Path:
    """Copy the example notebooks into ``folder``, which is made if missing; return this folder as a path.

    Existing files are not changed. A notebook that needs a Python module which the session's environment lacks is left
    out, and links to it become plain text. Raises OSError if the folder cannot be written.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    missing = {name for name, module in NEEDS.items() if importlib.util.find_spec(module) is None}
    for source in sorted(_NOTEBOOKS.glob("*.ipynb")):
        if source.name not in missing:
            _copy(_unlinked(source.read_bytes(), missing), target / source.name)
    return target


def _unlinked(notebook: bytes, missing: set[str]) -> bytes:
    """Return the notebook with plain text in place of each link to a notebook in ``missing``.

    The text says which Python module the linked notebook needs.
    """
    for name in missing:
        link = rb"\[([^\[\]\n]*)\]\(" + re.escape(name.encode()) + rb"\)"
        notebook = re.sub(link, rb"\1 (needs " + NEEDS[name].encode() + rb", which this environment lacks)", notebook)
    return notebook


def _copy(content: bytes, target: Path) -> None:
    try:
        file = target.open("xb")
    except FileExistsError:
        return
    try:
        with file:
            file.write(content)
    except OSError:  # a partly written file must not stay
        target.unlink()
        raise
