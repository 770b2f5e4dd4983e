"""A merge has all that the person wrote and all that the material changed; otherwise nothing is merged."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorygate.material.merging import merge, merge_lines, merge_notebooks, merge_texts, source_of

LINES = st.lists(st.sampled_from(["a", "b", "c", "d", ""]), max_size=8)


def edited(base: list[str], mark: str) -> st.SearchStrategy[list[str]]:
    """Return versions of a text in which lines are deleted, and lines with this mark are inserted."""
    kept = st.lists(st.sampled_from([True, True, True, False]), min_size=len(base), max_size=len(base))
    inserted = st.lists(st.integers(0, 1), min_size=len(base) + 1, max_size=len(base) + 1)

    def made(choice: tuple[list[bool], list[int]]) -> list[str]:
        keep, insert = choice
        lines: list[str] = []
        for number in range(len(base) + 1):
            lines += [f"{mark} {number}"] * insert[number]
            lines += [base[number]] if number < len(base) and keep[number] else []
        return lines

    return st.tuples(kept, inserted).map(made)


VERSIONS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "a"]), max_size=10).flatmap(
    lambda base: st.tuples(st.just(base), edited(base, "mine"), edited(base, "theirs"))
)


def has_all(merged: list[str], part: list[str]) -> bool:
    """Return whether the lines of ``part`` are in ``merged``, in their order."""
    rest = iter(merged)
    return all(line in rest for line in part)


@given(VERSIONS)
def test_a_merge_has_each_line_that_the_person_wrote_and_each_that_the_material_added(
    versions: tuple[list[str], list[str], list[str]],
) -> None:
    base, mine, theirs = versions
    merged = merge_lines(base, mine, theirs)
    if merged is not None:
        assert has_all(merged, [line for line in mine if line.startswith("mine")])
        assert has_all(merged, [line for line in theirs if line.startswith("theirs")])


@given(LINES, LINES, LINES)
def test_no_line_of_either_is_lost_whatever_the_texts_are(base: list[str], mine: list[str], theirs: list[str]) -> None:
    merged = merge_lines(base, mine, theirs)
    if merged is not None:
        assert not Counter(mine) - Counter(base) - Counter(merged)
        assert not Counter(theirs) - Counter(base) - Counter(merged)


@given(LINES, LINES)
def test_if_one_of_both_changed_nothing_the_merge_is_the_other(base: list[str], changed: list[str]) -> None:
    assert merge_lines(base, changed, base) == changed
    assert merge_lines(base, base, changed) == changed
    assert merge_lines(base, changed, changed) == changed


def test_changes_of_different_lines_are_merged_and_of_neighbouring_lines_are_not() -> None:
    base = b"one\ntwo\nthree\nfour\n"
    assert merge_texts(base, b"ONE\ntwo\nthree\nfour\n", b"one\ntwo\nthree\nFOUR\n") == b"ONE\ntwo\nthree\nFOUR\n"
    assert merge_texts(base, b"ONE\ntwo\nthree\nfour\n", b"one\nTWO\nthree\nfour\n") is None


def test_a_line_that_the_person_deleted_stays_deleted() -> None:
    assert merge_texts(b"a\nb\nc\nd\n", b"b\nc\nd\n", b"a\nb\nc\nD\n") == b"b\nc\nD\n"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\x00b"])
def test_what_is_no_text_is_not_merged(content: bytes) -> None:
    assert merge_texts(b"a\nb\nc\n", content, b"a\nb\nC\n") is None


def test_texts_whose_comparison_would_take_long_are_not_merged() -> None:
    many = ["same"] * 3000
    assert merge_lines(many, [*many, "mine"], ["theirs", *many]) is None


# --- notebooks


def cell(key: str, source: str, **fields: Any) -> dict[str, Any]:
    made = {"cell_type": "code", "id": key, "metadata": {}, "outputs": [], "execution_count": None, **fields}
    return {**made, "source": source.splitlines(keepends=True)}


def notebook(*cells: dict[str, Any], minor: int = 5, **metadata: Any) -> bytes:
    content = {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}
    return json.dumps(content).encode()


def without_ids(*cells: dict[str, Any]) -> bytes:
    return notebook(*({k: v for k, v in one.items() if k != "id"} for one in cells), minor=4)


def sources(content: bytes | None) -> list[str]:
    assert content is not None
    return [source_of(one) for one in json.loads(content)["cells"]]


RESULT = [{"output_type": "stream", "name": "stdout", "text": ["42\n"]}]


@pytest.mark.parametrize("made", [notebook, without_ids])
def test_a_notebook_that_was_run_gets_a_new_cell_and_keeps_its_results(made: Any) -> None:
    base = made(cell("a", "x = 1"), cell("b", "print(x)"))
    mine = made(cell("a", "x = 42", outputs=RESULT), cell("m", "# my own"), cell("b", "print(x)", outputs=RESULT))
    theirs = made(cell("a", "x = 1"), cell("b", "print(x)"), cell("c", "# the next step"))
    merged = merge_notebooks(base, mine, theirs)
    assert sources(merged) == ["x = 42", "# my own", "print(x)", "# the next step"]
    assert merged is not None
    assert [one["outputs"] for one in json.loads(merged)["cells"]] == [RESULT, [], RESULT, []]


def test_cells_that_the_person_deleted_stay_deleted_unless_they_are_asked_back() -> None:
    base = notebook(cell("a", "1"), cell("b", "2"), cell("c", "3"))
    mine = notebook(cell("a", "1"), cell("c", "3"))
    theirs = notebook(cell("a", "1"), cell("b", "two"), cell("c", "three"))
    assert sources(merge_notebooks(base, mine, theirs)) == ["1", "three"]
    assert sources(merge_notebooks(base, mine, theirs, restore=True)) == ["1", "two", "three"]


def test_a_cell_that_the_material_deleted_goes_only_if_the_person_left_it_alone() -> None:
    base = notebook(cell("a", "1"), cell("b", "2"), cell("c", "3"))
    mine = notebook(cell("a", "1"), cell("b", "mine"), cell("c", "3", outputs=RESULT))
    assert sources(merge_notebooks(base, mine, notebook(cell("n", "new")))) == ["new", "mine", "3"]


def test_both_changed_the_same_line_of_a_cell_is_no_merge() -> None:
    versions = (notebook(cell("a", text)) for text in ("1", "mine", "theirs"))
    assert merge_notebooks(*versions) is None


def test_the_same_cell_id_for_two_new_cells_is_no_merge() -> None:
    assert merge_notebooks(notebook(), notebook(cell("a", "mine")), notebook(cell("a", "theirs"))) is None


def test_metadata_of_both_are_kept_and_the_persons_win() -> None:
    base, mine, theirs = notebook(k=1, gone=1), notebook(k=2, own=1, gone=1), notebook(k=3, step=4)
    merged = merge_notebooks(base, mine, theirs)
    assert merged is not None
    assert json.loads(merged)["metadata"] == {"k": 2, "own": 1, "step": 4}


@pytest.mark.parametrize(
    "broken",
    [b"", b"{}", b"[" * 100_000, b'{"nbformat": 4, "cells": [{"cell_type": "code"}]}', b'{"nbformat": 4, "nbformat": 4,'
     b'"cells": []}', b'{"nbformat": 3, "cells": []}'],
)  # fmt: skip
def test_what_is_no_notebook_is_not_merged(broken: bytes) -> None:
    right = notebook(cell("a", "1"))
    assert merge("a.ipynb", right, broken, right) is None
    assert merge("a.ipynb", broken, right, right) is None


TEXT = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3).map("\n".join)


@st.composite
def three_notebooks(draw: st.DrawFn) -> tuple[list[Any], list[Any], list[Any]]:
    base = [cell(f"base {n}", draw(TEXT)) for n in range(draw(st.integers(0, 4)))]

    def version(mark: str) -> list[Any]:
        cells = []
        for number, one in enumerate(base):
            match draw(st.sampled_from(["keep", "keep", "drop", "change", "run"])):
                case "keep":
                    cells.append(one)
                case "change":
                    cells.append(cell(one["id"], f"{source_of(one)}\n{mark} {number}"))
                case "run":
                    cells.append({**one, "outputs": RESULT})
            if draw(st.booleans()):
                cells.append(cell(f"{mark} {number}", f"{mark} cell {number}"))
        return cells

    return base, version("mine"), version("theirs")


@settings(deadline=None)
@given(three_notebooks(), st.booleans(), st.booleans())
def test_no_line_of_a_cell_of_the_person_is_lost(
    versions: tuple[list[Any], list[Any], list[Any]], with_ids: bool, restore: bool
) -> None:
    made = notebook if with_ids else without_ids
    merged = merge_notebooks(*(made(*cells) for cells in versions), restore=restore)
    if merged is None:
        return
    base, mine, _ = (Counter(line for one in cells for line in source_of(one).split("\n")) for cells in versions)
    lines = [line for source in sources(merged) for line in source.split("\n")]
    assert not mine - base - Counter(lines)
    assert has_all(lines, [line for one in versions[1] for line in source_of(one).split("\n") if "mine" in line])
    ran = sum(bool(one["outputs"]) for one in versions[1])
    assert sum(bool(one["outputs"]) for one in json.loads(merged)["cells"]) >= ran
    if with_ids and not restore:
        deleted = {one["id"] for one in versions[0]} - {one["id"] for one in versions[1]}
        assert deleted.isdisjoint(one["id"] for one in json.loads(merged)["cells"])
