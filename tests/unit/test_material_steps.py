"""The steps of a workshop: found in any notebook, stored in a person's folder, and told to the door as numbers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from factorycommon.material.archive import MOST, MaterialFile, pack
from factorycommon.material.steps import MOST_CELLS, MOST_NAME, MOST_NOTEBOOK, MOST_STEPS, steps_of
from factorycommon.models.workshops.material import KnownSteps
from factorygate.material import step_files
from factorygate.material.delivery import deliver
from factorygate.session.notebook import read_activity
from factorygate.steps.book import FolderSteps, StepBook
from factorygate.steps.handlers import StepsOfFolder
from factorylink.doors.protocol import DoorStatus, read_message
from factorylink.errors import Misread
from tests.unit.test_door_protocols import STATUS
from workshops.material.packing import TreeEntry, pack_with_steps

NAME = "first-2345"


def cell(*tags: Any, **fields: Any) -> dict[str, Any]:
    return {"cell_type": "code", "id": "c1", "metadata": {"tags": list(tags)}, "source": "1", "outputs": [], **fields}


def notebook(*cells: Any) -> bytes:
    return json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def test_equal_steps_of_a_notebook_without_ids_are_told_apart() -> None:
    plain = {"cell_type": "code", "metadata": {"tags": ["step"]}, "source": "1", "outputs": []}
    found = steps_of({"a.ipynb": notebook(plain, plain, plain)})
    assert len(set(found)) == 3


def test_tagged_cells_are_steps_in_the_order_of_paths_and_cells() -> None:
    found = steps_of(
        {
            "b.ipynb": notebook(cell("step:Train the model", "other", id="x1"), cell("plain"), cell("step", id="x2")),
            "a/first.ipynb": notebook(cell("step: load ", id="y1")),
            "notes.md": notebook(cell("step")),
        }
    )
    assert [(one.notebook, one.cell, one.name) for one in found] == [
        ("a/first.ipynb", "y1", "load"),
        ("b.ipynb", "x1", "Train the model"),
        ("b.ipynb", "x2", ""),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff", b"[]", b"5", b'{"cells": 5}', b'{"cells": [5, null, [], {}]}', b"[" * 100_000,
        b'{"cells": [' + b"9" * 5000 + b"]}", notebook(cell("steps"), cell("Step"), cell(5), cell()),
        notebook(cell("step", cell_type="markdown")), notebook({**cell(), "metadata": {"tags": "step"}}),
        notebook(cell("step")) + b" " * MOST_NOTEBOOK,
    ],
)  # fmt: skip
def test_what_is_no_notebook_or_has_no_tag_has_no_steps(content: bytes) -> None:
    assert steps_of({"a.ipynb": content}) == ()


def test_everything_is_bounded_and_plain() -> None:
    hostile = "step:\x1b[31m<img onerror=x>\u202e" + "x" * 1000
    found = steps_of({"a.ipynb": notebook(cell(hostile, id="<script>"), cell("step", id=5), cell("step", id="x" * 65))})
    assert [one.cell for one in found] == ["", "", ""]
    assert found[0].name.startswith("\ufffd[31m<img onerror=x>\ufffd")
    assert len(found[0].name) <= MOST_NAME
    many = notebook(*(cell("step", id=f"c{number}") for number in range(MOST_STEPS + 5)))
    assert len(steps_of({"a.ipynb": many, "b.ipynb": many})) == MOST_STEPS
    assert steps_of({"a.ipynb": notebook(*(cell() for _ in range(MOST_CELLS)), cell("step"))}) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["step", "step:x", "code"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["cells", "metadata", "tags", "id", "cell_type"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_json_at_all_is_an_error(told: Any) -> None:
    for content in (told, {"cells": told}, {"cells": [told, {"cell_type": "code", "metadata": told}]}):
        assert len(steps_of({"a.ipynb": json.dumps(content).encode()})) <= MOST_STEPS


def test_they_come_from_the_commit_when_it_is_packed() -> None:
    contents = {"a.ipynb": notebook(cell("step:one")), "b.txt": b"x"}
    entries = [TreeEntry("100644", path, len(content), path) for path, content in contents.items()]

    _, steps = pack_with_steps(entries, lambda one: contents[one.path], MOST)
    assert [one.name for one in steps] == ["one"]


# --- in the session


def given_to(root: Path, *names: str, number: int = 1) -> None:
    cells = [cell(f"step:{name}", id=f"c-{name}") for name in names]
    deliver(root, NAME, pack({"a.ipynb": MaterialFile(notebook(*cells))}), f"{number:040x}")


def test_what_was_done_stays_known_over_restarts_and_updates(tmp_path: Path) -> None:
    given_to(tmp_path, "one", "two", "three")
    book = StepBook(tmp_path)
    assert [one.name for one in book.look(NAME).steps] == ["one", "two", "three"]
    assert book.done == ()
    book.mark(NAME, 2)
    book.mark(NAME, 2)
    book.mark(NAME, 3)  # there is none
    assert book.done == (2,)
    later = StepBook(tmp_path)
    later.look(NAME)
    assert later.done == (2,)
    given_to(tmp_path, "three", "four", number=2)
    later.look(NAME)
    assert later.done == (0,)


def test_steps_of_a_known_folder_count_though_many_folders_are_known(tmp_path: Path) -> None:
    book = StepBook(tmp_path)
    for number in range(20):
        folder = f"one-{number:04d}"
        cells = notebook(cell("step:one", id="a"), cell("step:two", id="b"))
        deliver(tmp_path, folder, pack({"a.ipynb": MaterialFile(cells)}), f"{number:040x}")
        book.mark(folder, 0)
    book.mark("one-0000", 1)
    assert book.done == (0, 1)


def test_a_reset_begins_anew(tmp_path: Path) -> None:
    given_to(tmp_path, "one")
    StepBook(tmp_path).mark(NAME, 0)
    archive = pack({"a.ipynb": MaterialFile(notebook(cell("step:one", id="c-one")))})
    deliver(tmp_path, NAME, archive, "a" * 40, aside="2026-11-28-161200")
    book = StepBook(tmp_path)
    assert len(book.look(NAME).steps) == 1
    assert book.done == ()


@pytest.mark.parametrize("folder", ["", "..", "a/b", "/etc", "nothing", "UPPER", "a\0b", "link"])
def test_only_a_workshop_s_own_folder_is_read(tmp_path: Path, folder: str) -> None:
    given_to(tmp_path, "one")
    (tmp_path / "link").symlink_to(NAME)
    book = StepBook(tmp_path)
    assert book.mark(folder, 0) == FolderSteps()
    assert book.done == ()


@pytest.mark.parametrize("content", [b"", b"[", b'[{"notebook": 5}]', b"[]" + b" " * (1 << 20), b'[{"cell": "<x>"}]'])
def test_damaged_files_and_links_are_as_none(tmp_path: Path, content: bytes) -> None:
    given_to(tmp_path, "one")
    (tmp_path / NAME / ".factorygate" / step_files.DONE).write_bytes(content)
    book = StepBook(tmp_path)
    assert len(book.look(NAME).steps) == 1
    assert book.done == ()
    steps = tmp_path / NAME / ".factorygate" / step_files.STEPS
    (tmp_path / "elsewhere").write_bytes(steps.read_bytes())
    steps.unlink()
    steps.symlink_to(tmp_path / "elsewhere")
    assert book.look(NAME) == FolderSteps()


def test_on_a_full_disk_a_step_counts_until_the_session_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    given_to(tmp_path, "one", "two")
    book = StepBook(tmp_path)
    monkeypatch.setattr(step_files, "write_file", full)
    book.mark(NAME, 1)
    book.look(NAME)
    assert book.done == (1,)


class Answered(StepsOfFolder):
    """The handler without a server: stores the answer."""

    def __init__(self, book: StepBook) -> None:
        self.initialize(book)
        self.answer: dict[str, Any] = {}

    def set_header(self, name: str, value: Any) -> None: ...

    async def finish(self, chunk: Any = None) -> None:  # type: ignore[override]
        self.answer = json.loads(json.dumps(chunk))


async def test_an_answer_for_a_name_that_no_workshop_has_is_empty(tmp_path: Path) -> None:
    given_to(tmp_path, "one", "two")
    handler = Answered(StepBook(tmp_path))
    await handler._answer(NAME, 1)
    assert ([one["name"] for one in handler.answer["steps"]], handler.answer["done"]) == (["one", "two"], [1])
    await handler._answer("no/workshop", None)
    assert handler.answer == {"steps": [], "done": []}


async def test_an_answer_has_nothing_of_a_folder_that_was_asked_for_at_the_same_time(tmp_path: Path) -> None:
    class Meeting(StepBook):
        """Reads ``other`` after the folder that was asked for."""

        def look(self, folder: str) -> FolderSteps:
            found = super().look(folder)
            super().look("other")
            return found

    given_to(tmp_path, "one")
    book = Meeting(tmp_path)
    book.mark(NAME, 0)
    handler = Answered(book)
    await handler._answer(NAME, None)
    assert handler.answer["done"] == [0]


# --- on the way to the room


def test_the_door_takes_only_numbers_of_steps() -> None:
    report = {"last": 1.0, "busy": False, "opened": True}
    assert read_activity(json.dumps(report).encode()).steps == ()
    told = json.dumps({**report, "steps": [3, 1, 1, -5, 4000]}).encode()
    assert read_activity(told).steps == (1, 3)
    for wrong in ("x", [None], {"a": 1}):
        with pytest.raises(ValueError, match="is no"):
            read_activity(json.dumps({**report, "steps": wrong}).encode())


def test_the_link_takes_only_numbers_of_steps() -> None:
    assert read_message(DoorStatus, json.dumps({"protocol": 1, **STATUS, "steps": [0, 7]})).steps == (0, 7)
    for wrong in ([MOST_STEPS], [-1], ["1"], [*range(MOST_STEPS), 0], 5):
        with pytest.raises(Misread):
            read_message(DoorStatus, json.dumps({"protocol": 1, **STATUS, "steps": wrong}))


@pytest.mark.parametrize(
    "fields",
    [{"notebook": "x" * 301}, {"notebook": "a", "name": "x" * 61}, {"notebook": "a", "cell": "<x>"}, {"notebook": 5},
     {"notebook": "a", "name": "x\x00"}, {"notebook": "a", "free": 1}],
)  # fmt: skip
def test_the_service_takes_only_steps_that_are_bounded_and_plain(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(KnownSteps).validate_json(json.dumps([fields]), extra="forbid")
    many = json.dumps([{"notebook": "a"}] * (MOST_STEPS + 1))
    with pytest.raises(ValidationError):
        TypeAdapter(KnownSteps).validate_json(many)
