"""Merges the changes of a person with those of the material (three-way), for texts and notebooks. Pure functions.

A merge that is not certain is not made: if person and material changed the same lines, or neighbouring ones, in
different ways, the file is not merged.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from hashlib import sha256
from typing import Any

MOST_BYTES = 8 << 20  # of a file that is merged
_MOST_WORK = 4_000_000  # pairs of equal lines; comparing more would take seconds
_MOST_CELLS = 2000

Cell = dict[str, Any]
Notebook = dict[str, Any]


def merge(path: str, base: bytes, mine: bytes, theirs: bytes, restore: bool = False) -> bytes | None:
    """Return the person's file with the changes of the material; None if they cannot be merged with certainty.

    Files of more than ``MOST_BYTES`` bytes are not merged: the result is None, too.

    ``path``: the file's path, which is not opened; a path that ends in ``.ipynb`` is a notebook, any other a text.
    ``base``: the newest version of the material's file that was copied or merged into the person's file;
    ``mine``: the person's file now; ``theirs``: the material's file now; ``restore``: bring back the cells that the
    person deleted from a notebook.
    """
    if max(len(base), len(mine), len(theirs)) > MOST_BYTES:
        return None
    if path.lower().endswith(".ipynb"):
        return merge_notebooks(base, mine, theirs, restore)
    return merge_texts(base, mine, theirs)


def merge_texts(base: bytes, mine: bytes, theirs: bytes) -> bytes | None:
    """Return the merged text; None if a file is no UTF-8 text or has a NUL, or if the lines cannot be merged."""
    if b"\x00" in base + mine + theirs:
        return None
    try:
        lines = [content.decode().split("\n") for content in (base, mine, theirs)]
    except UnicodeDecodeError:
        return None
    merged = merge_lines(*lines)
    return None if merged is None else "\n".join(merged).encode()


def merge_lines(base: Sequence[str], mine: Sequence[str], theirs: Sequence[str]) -> list[str] | None:
    """Return the merged lines; None if they cannot be merged.

    They cannot be merged if ``mine`` and ``theirs`` changed the same or neighbouring lines in different ways, or if
    comparing would take too long.
    """
    if not (_is_cheap(base, mine) and _is_cheap(base, theirs)):
        return None
    merged: list[str] = []
    at_base = at_mine = at_theirs = 0
    for in_base, in_mine, in_theirs, length in _common(base, mine, theirs):
        old, my, new = base[at_base:in_base], mine[at_mine:in_mine], theirs[at_theirs:in_theirs]
        if my == new or new == old:
            merged += my
        elif my == old:
            merged += new
        else:
            return None
        merged += base[in_base : in_base + length]
        at_base, at_mine, at_theirs = in_base + length, in_mine + length, in_theirs + length
    return merged


def _common(base: Sequence[str], mine: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the blocks of lines that are in ``base``, ``mine`` and ``theirs``, in order.

    A block is given by the index of its first line in ``base``, in ``mine`` and in ``theirs``, and by its number of
    lines. The last block is empty, and stands at the three ends.
    """
    left = SequenceMatcher(None, base, mine, autojunk=False).get_matching_blocks()
    right = SequenceMatcher(None, base, theirs, autojunk=False).get_matching_blocks()
    i = j = 0
    while i < len(left) and j < len(right):
        a, b = left[i], right[j]
        start, end = max(a.a, b.a), min(a.a + a.size, b.a + b.size)
        if start < end:
            yield start, a.b + start - a.a, b.b + start - b.a, end - start
        if a.a + a.size < b.a + b.size:
            i += 1
        else:
            j += 1
    yield len(base), len(mine), len(theirs), 0


def _is_cheap(one: Sequence[str], other: Sequence[str]) -> bool:
    counts = Counter(one)
    return sum(counts[line] for line in other) <= _MOST_WORK


# --- notebooks


def merge_notebooks(base: bytes, mine: bytes, theirs: bytes, restore: bool = False) -> bytes | None:
    """Return the merged notebook; None if one of the files is no notebook, or if the changes cannot be merged.

    A notebook has format 4 and at most ``_MOST_CELLS`` cells. The changes cannot be merged if, for example, person and
    material changed the same lines of a cell in different ways. The cells have the person's order. A cell that the
    person deleted stays deleted, unless ``restore``. A cell that the material deleted goes, unless the person has
    changed its type, text, outputs or attachments. Outputs that the person has changed stay.
    """
    read = [_read(content) for content in (base, mine, theirs)]
    old, my, new = read
    if old is None or my is None or new is None:
        return None
    keys = _keys(old["cells"], my["cells"], new["cells"])
    cells = _merged_cells(*(dict(zip(k, n["cells"], strict=True)) for k, n in zip(keys, (old, my, new), strict=True)),
                          restore=restore)  # fmt: skip
    if cells is None:
        return None
    merged = _merged_values(old, my, new)
    merged["cells"] = cells
    merged["metadata"] = _merged_values(old["metadata"], my["metadata"], new["metadata"])
    merged["nbformat_minor"] = max(my["nbformat_minor"], new["nbformat_minor"])
    return _write(merged)


def _read(content: bytes) -> Notebook | None:
    try:
        found = json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("nbformat") != 4 or not isinstance(found.get("cells"), list):
        return None
    minor = found.setdefault("nbformat_minor", 0)
    right = isinstance(found.setdefault("metadata", {}), dict) and isinstance(minor, int)
    right = right and len(found["cells"]) <= _MOST_CELLS
    return found if right and all(_is_cell(cell) for cell in found["cells"]) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _is_cell(cell: object) -> bool:
    if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
        return False
    source = cell.get("source")
    lines = isinstance(source, list) and all(isinstance(line, str) for line in source)
    return (lines or isinstance(source, str)) and isinstance(cell.get("metadata", {}), dict)


def source_of(cell: Mapping[str, Any]) -> str:
    """Return the source of a cell, which may be stored as a text or as a list of lines."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _keys(base: list[Cell], mine: list[Cell], theirs: list[Cell]) -> tuple[list[str], list[str], list[str]]:
    """Return a key for each cell of the three notebooks; equal keys are the same cell."""
    ids = [[cell.get("id") for cell in cells] for cells in (base, mine, theirs)]
    if all(all(isinstance(i, str) for i in one) and len(set(one)) == len(one) for one in ids):
        return ids[0], ids[1], ids[2]  # type: ignore[return-value]
    first = [f"base {number}" for number in range(len(base))]
    return first, _aligned(base, mine, "mine"), _aligned(base, theirs, "theirs")


def _aligned(base: list[Cell], other: list[Cell], name: str) -> list[str]:
    """Return keys for the cells of ``other``, a notebook whose cells have no usable ids.

    A cell gets the key of the cell of ``base`` to which it corresponds, as types, sources and positions show. A cell
    that corresponds to no cell of ``base`` gets a new key, which begins with ``name``.
    """
    one, two = ([(cell["cell_type"], source_of(cell)) for cell in cells] for cells in (base, other))
    keys = [f"{name} {number}" for number in range(len(other))]
    for tag, i, i_end, j, j_end in SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        if tag == "equal" or (tag == "replace" and i_end - i == j_end - j):
            for step in range(i_end - i):
                if one[i + step][0] == two[j + step][0]:
                    keys[j + step] = f"base {i + step}"
    return keys


def _merged_cells(
    base: dict[str, Cell], mine: dict[str, Cell], theirs: dict[str, Cell], *, restore: bool
) -> list[Cell] | None:
    order: list[str] = []
    merged: dict[str, Cell] = {}
    for key, cell in mine.items():
        old, new = base.get(key), theirs.get(key)
        if old is not None and new is None and _is_untouched(old, cell):
            continue
        found: Cell | None = cell
        if new is not None:
            found = _merged_cell(old, cell, new)
        if found is None:
            return None
        order.append(key)
        merged[key] = found
    after = 0  # where the next new cell of the material goes
    for key, cell in theirs.items():
        if key in merged:
            after = order.index(key) + 1
        elif key not in mine and (key not in base or restore):
            order.insert(after, key)
            merged[key] = cell
            after += 1
    return [merged[key] for key in order]


def _is_untouched(old: Cell, mine: Cell) -> bool:
    """Return whether the person's cell has the type, source, outputs and attachments of ``old``, the base's cell."""
    same = old["cell_type"] == mine["cell_type"] and source_of(old) == source_of(mine)
    return same and all(old.get(name) == mine.get(name) for name in ("outputs", "attachments"))


def _merged_cell(old: Cell | None, mine: Cell, new: Cell) -> Cell | None:
    """Return a cell with the changes of person and material; None if they cannot be merged.

    ``old``: the cell in the base; None: both have added the cell. ``mine``: the person's cell; ``new``: the material's.
    """
    if mine == new or old == new:
        return mine
    if old == mine:
        return new
    if old is None:
        same = mine["cell_type"] == new["cell_type"] and source_of(mine) == source_of(new)
        return mine if same else None
    if not old["cell_type"] == mine["cell_type"] == new["cell_type"]:
        return None
    merged = _merged_values(old, mine, new)
    merged["metadata"] = _merged_values(*(one.get("metadata", {}) for one in (old, mine, new)))
    files = [one.get("attachments", {}) for one in (old, mine, new)]
    if files[1] != files[0] and files[2] not in (files[0], files[1]):
        return None
    lines = merge_lines(*(source_of(one).split("\n") for one in (old, mine, new)))
    if lines is None:
        return None
    merged["source"] = "\n".join(lines).splitlines(keepends=True)
    return merged


def _merged_values(old: Mapping[str, Any], mine: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the person's values, with the material's change of each value that the person left alone."""
    merged = dict(mine)
    for name in {**old, **new}:
        if old.get(name) == mine.get(name) and (name in old) == (name in mine):
            if name in new:
                merged[name] = new[name]
            else:
                merged.pop(name, None)
    return merged


def _write(notebook: Notebook) -> bytes:
    """Return the notebook's file, in the form that Jupyter writes."""
    notebook = copy.deepcopy(notebook)
    seen: set[str] = set()
    for number, cell in enumerate(notebook["cells"]):
        if notebook["nbformat_minor"] < 5:
            cell.pop("id", None)
            continue
        if not isinstance(cell.get("id"), str) or cell["id"] in seen:
            cell["id"] = sha256(f"{number} {source_of(cell)}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
        seen.add(cell["id"])
    try:
        return (json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # an unpaired surrogate
        return (json.dumps(notebook, indent=1, sort_keys=True) + "\n").encode()
