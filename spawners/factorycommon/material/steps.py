"""Finds the steps of a workshop in the notebooks of its material: cells that are tagged ``step`` or ``step:NAME``.

The notebooks may come from anybody: what is too large or no notebook has no steps, and there are never more than
``MOST_STEPS``. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from factorycommon.models.base import Model
from factorycommon.models.plain import plain_text

MOST_STEPS = 50
MOST_NOTEBOOK = 4 << 20  # bytes of a notebook that is read
MOST_CELLS = 2000  # of one notebook
MOST_NAME = 60
TAG = "step"
ENDING = ".ipynb"

StepIndex = Annotated[int, Field(ge=0, lt=MOST_STEPS)]
StepsDone = Annotated[tuple[StepIndex, ...], Field(max_length=MOST_STEPS)]


class KnownStep(Model):
    """A step. ``notebook``: path in the material; ``cell``: id of the cell, "": the notebook has none (before nbformat
    4.5); ``name``: what the trainer calls it, "": nothing."""

    notebook: Annotated[str, Field(max_length=300), AfterValidator(partial(plain_text, most=300))]
    cell: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    name: Annotated[str, Field(max_length=4 * MOST_NAME), AfterValidator(partial(plain_text, most=MOST_NAME))] = ""


KnownSteps = Annotated[tuple[KnownStep, ...], Field(max_length=MOST_STEPS)]


def steps_of(files: Mapping[str, bytes]) -> tuple[KnownStep, ...]:
    """Return the steps of the notebooks among these files, by path: notebooks in the order of their paths."""
    found: list[KnownStep] = []
    for path in sorted(path for path in files if path.endswith(ENDING)):
        found += _of_notebook(path, files[path])
        if len(found) >= MOST_STEPS:
            break
    return tuple(found[:MOST_STEPS])


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
        try:
            yield KnownStep(notebook=path, cell=identity if isinstance(identity, str) else "", name=name)
        except ValidationError:  # an id that no notebook may have
            yield KnownStep(notebook=path, name=name)


def _name_of(cell: object) -> str | None:
    """Return the name of a cell's step; None if the cell is none."""
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return None
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    for tag in tags[:20] if isinstance(tags, list) else ():
        if isinstance(tag, str) and (tag == TAG or tag.startswith(f"{TAG}:")):
            return plain_text(tag.removeprefix(TAG).removeprefix(":"), MOST_NAME)
    return None
