"""What helpers may see of a saved notebook: texts and PNG images, bounded, whatever the file has in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from factorycommon.models.workshops.help import (
    MOST_CELLS,
    MOST_OUTPUT,
    MOST_OUTPUTS,
    LookBody,
    NotebookSnapshot,
    SnapshotOutput,
)
from factorygate.helping.notebook import MOST_BYTES, NotNotebook, snapshot_of
from tests.unit.test_workshop_help import HOSTILE, png

SAVED = datetime(2026, 11, 28, 9, tzinfo=UTC)


def notebook(*cells: Any) -> str:
    return json.dumps({"nbformat": 4, "cells": cells})


def code(*outputs: Any, source: Any = "x", count: Any = 3) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "execution_count": count, "outputs": list(outputs)}


def shown(*cells: Any) -> NotebookSnapshot:
    return snapshot_of(notebook(*cells), "first.ipynb", SAVED)


def data(**types: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {name.replace("_", "/"): value for name, value in types.items()}}


def test_sources_texts_errors_and_images_are_shown() -> None:
    found = shown(
        {"cell_type": "markdown", "source": ["# Title\n", HOSTILE]},
        code(
            {"output_type": "stream", "text": ["a\n", "\x1b[31mb\x1b[0m"]},
            {"output_type": "error", "traceback": ["\x1b[0;31mNameError\x1b[0m", "x"]},
            data(text_html=HOSTILE, text_plain="a table", image_png=png() + "\n"),
            data(text_html=HOSTILE, text_plain="another table"),
            source=["if x:\n", "    y()"],
        ),
    )
    title, cell = found.cells
    assert (title.kind, title.source, title.outputs) == ("markdown", f"# Title\n{HOSTILE}", ())  # text, not HTML
    assert (cell.source, cell.count) == ("if x:\n    y()", 3)
    assert [(one.kind, one.text) for one in cell.outputs] == [
        ("text", "a\nb"), ("error", "NameError\nx"), ("png", png()), ("text", "another table"),
    ]  # fmt: skip
    assert not found.cut


@pytest.mark.parametrize(
    "output",
    [
        data(text_html=HOSTILE),
        data(image_svg="<svg onload=alert(1)>"),
        data(application_javascript="alert(1)"),
        data(image_png="PHN2Zz4="),
        data(image_png=png(60_000, 60_000)),
        data(image_png="A" * 500_000),
        {"output_type": "display_data", "data": HOSTILE},
        {"output_type": HOSTILE},
    ],
)
def test_what_is_neither_text_nor_a_small_png_is_left_out(output: dict[str, Any]) -> None:
    (cell,) = shown(code(output)).cells
    assert [(one.kind, one.text) for one in cell.outputs] == [("left-out", "")]


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "[]", "5", '{"cells": 5, "nbformat": 4}', '{"cells": [], "nbformat": 3}', "null"]
)
def test_a_file_that_is_no_notebook_is_refused(text: str) -> None:
    with pytest.raises(NotNotebook):
        snapshot_of(text, "x.ipynb", SAVED)


def test_an_image_without_content_is_refused_by_link_and_service_alike() -> None:
    with pytest.raises(ValidationError):
        SnapshotOutput.model_validate({"kind": "png"})


def test_a_long_notebook_is_cut_and_fits_into_a_request() -> None:
    many = shown(*[code() for _ in range(MOST_CELLS + 1)])
    assert (len(many.cells), many.cut) == (MOST_CELLS, True)
    long = shown(*[code({"output_type": "stream", "text": "ä" * MOST_OUTPUT}, source="y" * 100) for _ in range(200)])
    assert long.cut
    assert len(LookBody(snapshot=long).model_dump_json().encode()) < MOST_BYTES + 10_000 < 2**20
    assert long.cells[0].outputs[0].kind == "text"
    assert long.cells[-1].outputs[0].kind == "left-out"  # later cells keep their code as long as there is room
    (cell,) = shown(code(*[{"output_type": "stream", "text": "x"}] * 100)).cells
    assert (len(cell.outputs), cell.outputs[-1].kind) == (MOST_OUTPUTS, "left-out")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
CELLS = st.lists(
    st.dictionaries(
        st.sampled_from(["cell_type", "source", "execution_count", "outputs"]), JSON | st.just("code"), max_size=4
    ),
    max_size=4,
)


@given(CELLS | st.lists(JSON, max_size=3))
def test_any_content_of_cells_gives_what_the_gateway_takes(cells: list[Any]) -> None:
    found = shown(*cells)
    assert NotebookSnapshot.model_validate_json(found.model_dump_json()) == found
