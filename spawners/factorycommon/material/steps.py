"""Finds the steps of a workshop in its material's notebooks: code cells that are tagged ``step`` or ``step:NAME``.

The notebooks may come from anybody: a file that is too large, or that is no notebook, has no steps, and there are never
more than ``MOST_STEPS``. Pure. The module uses the standard library only, since the program in the job imports it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

MOST_STEPS = 50
MOST_NOTEBOOK = 4 << 20  # bytes of a notebook that is read
MOST_CELLS = 2000  # of one notebook
MOST_NAME = 60
MOST_PATH = 300
TAG = "step"
ENDING = ".ipynb"
_CELL = re.compile(r"[A-Za-z0-9_-]{0,64}")
# what no text for people may have: control characters, marks that change the direction, unpaired surrogates
_BAD = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


@dataclass(frozen=True)
class KnownStep:
    """A step: a tagged code cell of a notebook in a workshop's material.

    ``notebook``: the notebook's path in the material; ``cell``: the id of the cell, "": the cell has none (before
    nbformat 4.5) or no valid one; ``name``: the trainer's name for the step, "": none; ``before``: how many steps
    with the same three values come before this one. Raises ValueError if a value is too long, or is of a form that no
    step has.
    """

    notebook: str
    cell: str = ""
    name: str = ""
    before: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a wrong value, since the values may come from a file that a person has edited."""
        if not all(isinstance(one, str) for one in (self.notebook, self.cell, self.name)):
            raise ValueError("a step has texts only")
        if type(self.before) is not int or not 0 <= self.before < MOST_STEPS:
            raise ValueError("a step has fewer equal steps before it")
        if len(self.notebook) > MOST_PATH or len(self.name) > MOST_NAME or not _CELL.fullmatch(self.cell):
            raise ValueError("a text of a step is too long, or no id")
        if _BAD.search(self.notebook + self.name):
            raise ValueError("a text of a step has characters that nobody sees")


def steps_of(files: Mapping[str, bytes]) -> tuple[KnownStep, ...]:
    """Return the first ``MOST_STEPS`` steps of the notebooks among ``files``, in the order of the notebooks' paths.

    ``files``: contents by path.
    """
    found: list[KnownStep] = []
    for path in sorted(path for path in files if path.endswith(ENDING)):
        found += _of_notebook(path, files[path])
        if len(found) >= MOST_STEPS:
            break
    return tuple(_told_apart(found[:MOST_STEPS]))


def _told_apart(steps: Iterable[KnownStep]) -> Iterator[KnownStep]:
    """Yield the steps, each with ``before`` set to the number of equal steps that come before it.

    Equal steps occur in notebooks whose cells have no ids.
    """
    seen: Counter[KnownStep] = Counter()
    for one in steps:
        yield replace(one, before=seen[one])
        seen[one] += 1


def _of_notebook(path: str, content: bytes) -> Iterable[KnownStep]:
    if len(content) > MOST_NOTEBOOK:
        return
    try:
        cells = json.loads(content)["cells"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    for cell in cells[:MOST_CELLS] if isinstance(cells, list) else ():
        name = _name_of(cell)
        if name is None:
            continue
        identity = cell.get("id", "")
        fits = isinstance(identity, str) and _CELL.fullmatch(identity) is not None
        yield KnownStep(_plain(path, MOST_PATH), identity if fits else "", name)


def _name_of(cell: object) -> str | None:
    """Return the name of a cell's step, "" for a step without a name; None if the cell is no step."""
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return None
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    for tag in tags[:20] if isinstance(tags, list) else ():
        if isinstance(tag, str) and (tag == TAG or tag.startswith(f"{TAG}:")):
            return _plain(tag.removeprefix(TAG).removeprefix(":"), MOST_NAME)
    return None


def _plain(text: str, most: int) -> str:
    """Return a text that can be shown: at most ``most`` characters, with U+FFFD in place of invisible ones."""
    return _BAD.sub("\ufffd", text[: 2 * most]).strip()[:most]
