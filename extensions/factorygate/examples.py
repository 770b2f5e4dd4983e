"""The example notebooks that come with this package. ``notebooks`` links to docs/examples; a wheel has the files."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "factorygate-examples"
FIRST = "1-first-steps.ipynb"
_NOTEBOOKS = Path(__file__).parent / "notebooks"


def copy_examples(folder: str | os.PathLike[str] = FOLDER) -> Path:
    """Put the example notebooks into ``folder``, which is made where it is missing; its path.

    What is there already stays as it is, with all that you changed. Raises OSError where it cannot be written.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for source in sorted(_NOTEBOOKS.glob("*.ipynb")):
        _copy(source, target / source.name)
    return target


def _copy(source: Path, target: Path) -> None:
    try:
        file = target.open("xb")
    except FileExistsError:
        return
    try:
        with file:
            file.write(source.read_bytes())
    except OSError:  # a half one would stay for good
        target.unlink()
        raise
