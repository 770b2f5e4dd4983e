"""Makes the copy of a saved notebook that helpers may see: sources, texts and PNG images, of limited size.

Pure functions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from factorycommon.language import N_
from factorycommon.models.workshops.help import (
    MOST_CELLS,
    MOST_IMAGE,
    MOST_OUTPUT,
    MOST_OUTPUTS,
    NotebookSnapshot,
    SnapshotCell,
    SnapshotOutput,
    is_small_png,
    plain_code,
)

MOST_BYTES = 750_000  # of all cells as JSON: a request through the gateway is below 1 MiB
_LEFT_OUT = SnapshotOutput(kind="left-out")
_NO_NOTEBOOK = N_("This file is no notebook that can be shown. Save it again in JupyterLab.")


class NotNotebook(ValueError):
    """Raised if a file is no notebook of format 4, or is too large to be shown."""


def snapshot_of(text: str, file: str, saved: datetime) -> NotebookSnapshot:
    """Return what helpers see of a notebook. Raises NotNotebook if ``text`` is no notebook of format 4.

    ``text``: the file's content; ``file``: its name; ``saved``: when it was saved. Outputs without a form as text
    or as a PNG image, and images that are too large, are marked as left out. Sources and texts that are too long are
    cut; outputs and cells that exceed the limits are left out.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotNotebook(_NO_NOTEBOOK) from error
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list) or content.get("nbformat") != 4:
        raise NotNotebook(_NO_NOTEBOOK)
    shown: list[SnapshotCell] = []
    cut, room = len(cells) > MOST_CELLS, MOST_BYTES
    for found in cells[:MOST_CELLS]:
        cell = _cell(found if isinstance(found, dict) else {})
        size = _size(cell)
        if size > room:
            cell = cell.model_copy(update={"outputs": (_LEFT_OUT,) if cell.outputs else ()})
            size, cut = _size(cell), True
        if size > room:
            break
        room -= size
        shown.append(cell)
    return NotebookSnapshot(file=file, saved=saved, cut=cut, cells=tuple(shown))


def _size(cell: SnapshotCell) -> int:
    return len(cell.model_dump_json().encode()) + 2


def _cell(found: dict[str, Any]) -> SnapshotCell:
    kinds: dict[str, Literal["code", "markdown", "raw"]] = {"code": "code", "markdown": "markdown"}
    kind, count = kinds.get(_text(found.get("cell_type")), "raw"), found.get("execution_count")
    outputs = found.get("outputs") if kind == "code" else None
    shown = [_output(one) for one in outputs if isinstance(one, dict)] if isinstance(outputs, list) else []
    return SnapshotCell(
        kind=kind,
        source=plain_code(_text(found.get("source")), MOST_OUTPUT),
        count=count if isinstance(count, int) and 0 <= count <= 10**9 else None,
        outputs=tuple(shown[: MOST_OUTPUTS - 1]) + ((_LEFT_OUT,) if len(shown) >= MOST_OUTPUTS else ()),
    )


def _output(found: dict[str, Any]) -> SnapshotOutput:
    data = found.get("data") if isinstance(found.get("data"), dict) else {}
    match found.get("output_type"):
        case "stream":
            return _as_text("text", _text(found.get("text")))
        case "error":
            return _as_text("error", _text(list(_lines(found.get("traceback")))))
        case _ if isinstance(data, dict) and "image/png" in data:
            image = "".join(_text(data["image/png"]).split())
            small = len(image) <= MOST_IMAGE and is_small_png(image)
            return SnapshotOutput(kind="png", text=image) if small else _LEFT_OUT
        case _ if isinstance(data, dict) and "text/plain" in data:
            return _as_text("text", _text(data["text/plain"]))
        case _:
            return _LEFT_OUT


def _as_text(kind: Literal["text", "error"], text: str) -> SnapshotOutput:
    return SnapshotOutput(kind=kind, text=plain_code(text, MOST_OUTPUT))


def _lines(found: object) -> Iterator[str]:
    for line in found if isinstance(found, list) else ():
        if isinstance(line, str):
            yield f"{line}\n"


def _text(found: object) -> str:
    """Return the text of a notebook's field, which is a string or a list of strings; "" for any other value."""
    if isinstance(found, list):
        return "".join(one for one in found if isinstance(one, str))
    return found if isinstance(found, str) else ""
