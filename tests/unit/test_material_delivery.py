"""A delivery of material loses nothing of the person, follows no link, and survives a full disk and a cut."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factorycommon.material.archive import MaterialFile, hash_of, pack
from factorygate.material import delivery, file_moves, person_folder
from factorygate.material.delivery import DeliveryFailed, DeliveryReport, deliver
from factorygate.material.person_folder import FolderBlocked, FolderBusy, PersonFolder
from factorygate.material.planning import name_beside

NAME = "class"
COMMITS = [f"{number:040x}" for number in range(1, 100)]


def packed(files: dict[str, str]) -> bytes:
    return pack({path: MaterialFile(text.encode()) for path, text in files.items()})


def give(root: Path, files: dict[str, str], number: int = 0, **options: Any) -> DeliveryReport:
    return deliver(root, NAME, packed(files), COMMITS[number], **options)


def tree(folder: Path, own: bool = False) -> dict[str, str]:
    """Return, by path, the content of each file below a folder, and the target of each link.

    ``own``: include the top folder's files whose names begin with ``.factorygate``.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not own and name.startswith(".factorygate"):
            continue
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = path.read_text()
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture(params=["renameat2", "link", "rename"])
def moves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let files be moved as on three kinds of file systems, each in its own run of the test; return the kind.

    The file systems have ``renameat2``, have links but no ``renameat2``, or have neither.
    """
    if request.param != "renameat2":
        monkeypatch.setattr(file_moves, "_RENAME", None)
    if request.param == "rename":

        def no_link(*_: Any, **__: Any) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", no_link)
    return str(request.param)


LONG = "".join(f"line {number}\n" for number in range(9))


def test_each_outcome(home: Path, moves: str) -> None:
    first = {
        "same.txt": "same", "new.txt": "old", "mine.txt": "a", "both.txt": "b", "merge.txt": LONG, "gone.txt": "g",
        "sub/gone.txt": "s", "gone-but-mine.txt": "x", "deleted.txt": "d",
    }  # fmt: skip
    report = give(home, first)
    folder = home / NAME
    assert tree(folder) == first
    assert set(report.outcomes.values()) == {"new"}
    (folder / "mine.txt").write_text("my a")
    (folder / "both.txt").write_text("my b")
    (folder / "merge.txt").write_text(LONG.replace("line 1\n", "my line\n"))
    (folder / "gone-but-mine.txt").write_text("my x")
    (folder / "deleted.txt").unlink()
    (folder / "own.txt").write_text("own")
    second = {
        "same.txt": "same", "new.txt": "new", "mine.txt": "a", "both.txt": "B", "merge.txt": LONG + "more\n",
        "deleted.txt": "D", "own.txt": "theirs", "extra/e.txt": "e",
    }  # fmt: skip
    report = give(home, second, 1)
    assert {path: str(outcome) for path, outcome in report.outcomes.items()} == {
        "same.txt": "unchanged", "new.txt": "updated", "mine.txt": "kept", "both.txt": "conflict",
        "merge.txt": "merged", "gone.txt": "removed", "sub/gone.txt": "removed", "gone-but-mine.txt": "kept",
        "deleted.txt": "deleted", "own.txt": "conflict", "extra/e.txt": "new",
    }  # fmt: skip
    assert tree(folder) == {
        "same.txt": "same", "new.txt": "new", "mine.txt": "my a", "both.txt": "my b", "both.new-0000000.txt": "B",
        "merge.txt": LONG.replace("line 1\n", "my line\n") + "more\n", "gone-but-mine.txt": "my x", "own.txt": "own",
        "own.new-0000000.txt": "theirs", "extra/e.txt": "e",
    }  # fmt: skip
    assert report.besides == {"both.txt": "both.new-0000000.txt", "own.txt": "own.new-0000000.txt"}
    own = folder / ".factorygate"
    assert (own / "removed" / COMMITS[1] / "sub" / "gone.txt").read_text() == "s"
    assert (own / "replaced" / COMMITS[1] / "merge.txt").read_text() == LONG.replace("line 1\n", "my line\n")
    assert not (folder / "sub").exists()
    assert not [name for name in os.listdir(own) if name.startswith("staging")]


def test_the_same_material_again_changes_nothing_and_lists_no_conflict_twice(home: Path) -> None:
    give(home, {"a.txt": "a"})
    (home / NAME / "a.txt").write_text("mine")
    assert give(home, {"a.txt": "b"}, 1).outcomes == {"a.txt": "conflict"}
    before = tree(home, own=True)
    assert give(home, {"a.txt": "b"}, 1).outcomes == {"a.txt": "kept"}
    assert tree(home, own=True) == before


def test_a_conflict_that_the_person_resolved_merges_later(home: Path) -> None:
    give(home, {"a.txt": LONG})
    (home / NAME / "a.txt").write_text(LONG.replace("line 1", "mine"))
    give(home, {"a.txt": LONG.replace("line 1", "theirs")}, 1)
    resolved = LONG.replace("line 1", "theirs")
    (home / NAME / "a.txt").write_text(resolved)
    assert give(home, {"a.txt": resolved + "more\n"}, 2).outcomes == {"a.txt": "merged"}
    assert (home / NAME / "a.txt").read_text() == resolved + "more\n"


def test_deleted_files_come_back_if_asked_for(home: Path) -> None:
    give(home, {"a.txt": "a"})
    (home / NAME / "a.txt").unlink()
    assert give(home, {"a.txt": "b"}, 1).outcomes == {"a.txt": "deleted"}
    assert give(home, {"a.txt": "b"}, 2).outcomes == {"a.txt": "deleted"}
    assert give(home, {"a.txt": "b"}, 3, restore=True).outcomes == {"a.txt": "new"}
    assert (home / NAME / "a.txt").read_text() == "b"


def test_deleted_cells_come_back_if_asked_for_and_nothing_else_changes(home: Path) -> None:
    def notebook(*sources: str) -> str:
        cells = [{"cell_type": "markdown", "id": one, "metadata": {}, "source": [one]} for one in sources]
        return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})

    def sources() -> list[str]:
        return [cell["id"] for cell in json.loads((home / NAME / "n.ipynb").read_text())["cells"]]

    first = {"n.ipynb": notebook("a", "b"), "a.txt": LONG, "b.txt": "b"}
    give(home, first)
    (home / NAME / "n.ipynb").write_text(notebook("a", "mine"))
    (home / NAME / "a.txt").write_text(LONG.replace("line 1\n", ""))
    (home / NAME / "b.txt").write_text("my b")
    assert set(give(home, first).outcomes.values()) == {"kept"}
    assert sources() == ["a", "mine"]
    report = give(home, first, restore=True)
    assert report.outcomes == {"n.ipynb": "merged", "a.txt": "kept", "b.txt": "kept"}
    assert sources() == ["a", "b", "mine"]
    assert set(give(home, first, restore=True).outcomes.values()) == {"kept"}


def test_a_file_becomes_a_folder_and_a_folder_a_file(home: Path) -> None:
    give(home, {"a": "file", "b/c": "in a folder"})
    assert give(home, {"a/x": "in a folder", "b": "file"}, 1).outcomes == {
        "a": "removed", "b/c": "removed", "a/x": "new", "b": "new",
    }  # fmt: skip
    assert tree(home / NAME) == {"a/x": "in a folder", "b": "file"}


def test_an_older_version_beside_that_the_person_changed_stays(home: Path) -> None:
    (home / NAME).mkdir()
    (home / NAME / "a.txt").write_text("mine")
    (home / NAME / name_beside("a.txt", COMMITS[0])).write_text("also mine")
    report = give(home, {"a.txt": "theirs"})
    assert report.besides == {"a.txt": "a.new-0000000-2.txt"}
    assert tree(home / NAME) == {"a.txt": "mine", "a.new-0000000.txt": "also mine", "a.new-0000000-2.txt": "theirs"}


def test_damaged_records_lose_nothing(home: Path) -> None:
    give(home, {"a.txt": "a"})
    (home / NAME / ".factorygate" / "delivered.json").write_text('{"files": {"../../x": 1}}')
    (home / NAME / "a.txt").write_text("mine")
    assert give(home, {"a.txt": "b"}, 1).outcomes == {"a.txt": "conflict"}
    assert (home / NAME / "a.txt").read_text() == "mine"


def test_what_stands_where_the_records_belong_stops_a_delivery_before_it_changes_anything(home: Path) -> None:
    give(home, {"a.txt": "a"})
    bases = home / NAME / ".factorygate" / "bases"
    for copy in bases.iterdir():
        copy.unlink()
    bases.rmdir()
    bases.write_text("mine")
    (home / NAME / "a.txt").write_text("a, and mine")
    with pytest.raises(DeliveryFailed, match="Nothing was changed: bases is no folder"):
        give(home, {"a.txt": "b", "new/b.txt": "b"}, 1)
    assert tree(home / NAME) == {"a.txt": "a, and mine"}
    assert not (home / NAME / "new").exists()


def test_a_program_stays_a_program(home: Path) -> None:
    deliver(home, NAME, pack({"run.sh": MaterialFile(b"#!/bin/sh\n", executable=True)}), COMMITS[0])
    assert os.access(home / NAME / "run.sh", os.X_OK)
    deliver(home, NAME, pack({"run.sh": MaterialFile(b"#!/bin/sh\ntrue\n", executable=True)}), COMMITS[1])
    assert os.access(home / NAME / "run.sh", os.X_OK)


# --- links


@pytest.mark.parametrize("path", ["sub/a.txt", "a.txt"])
def test_a_link_in_the_folder_is_not_followed(home: Path, tmp_path: Path, path: str, moves: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("precious")
    (home / NAME).mkdir()
    (home / NAME / "sub").symlink_to(outside)
    (home / NAME / "a.txt").symlink_to(outside / "a.txt")
    report = give(home, {path: "theirs"})
    assert report.outcomes[path] in ("blocked", "conflict")
    assert tree(outside) == {"a.txt": "precious"}
    assert (home / NAME / "a.txt").is_symlink()


@pytest.mark.parametrize("link", [NAME, f"{NAME}/.factorygate"])
def test_a_link_in_place_of_the_folder_itself_is_refused(home: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (home / link).parent.mkdir(exist_ok=True)
    (home / link).symlink_to(outside)
    with pytest.raises(FolderBlocked):
        give(home, {"a.txt": "a"})
    assert tree(outside, own=True) == {}


def test_a_link_that_appears_while_a_file_is_replaced_stays(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside").write_text("precious")
    give(home, {"a.txt": "a"})
    path = home / NAME / "a.txt"

    def swap() -> None:
        path.unlink()
        path.symlink_to(tmp_path / "outside")

    before_exchange(monkeypatch, swap)
    assert give(home, {"a.txt": "b"}, 1).outcomes == {"a.txt": "conflict"}
    assert os.readlink(path) == str(tmp_path / "outside")
    assert (tmp_path / "outside").read_text() == "precious"


# --- at the same moment


def before_exchange(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let the person act in the moment before a file is replaced."""
    replace = delivery.replace_file

    def act_first(*args: Any) -> bool:
        act()
        return replace(*args)

    monkeypatch.setattr(delivery, "replace_file", act_first)


def test_what_the_person_saves_at_the_same_moment_stays(
    home: Path, moves: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(home, {"a.txt": "a"})
    path = home / NAME / "a.txt"
    before_exchange(monkeypatch, lambda: path.write_text("saved just now") and None)
    assert give(home, {"a.txt": "b"}, 1).outcomes == {"a.txt": "conflict"}
    assert tree(home / NAME) == {"a.txt": "saved just now", "a.new-0000000.txt": "b"}


def test_what_the_person_deletes_at_the_same_moment_stays_deleted(
    home: Path, moves: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(home, {"a.txt": "a"})
    before_exchange(monkeypatch, (home / NAME / "a.txt").unlink)
    assert give(home, {"a.txt": "b"}, 1).outcomes == {"a.txt": "deleted"}
    assert tree(home / NAME) == {}


def test_two_deliveries_at_once_into_one_folder_are_refused(home: Path) -> None:
    folder = PersonFolder(home, NAME)
    try:
        with pytest.raises(FolderBusy):
            give(home, {"a.txt": "a"})
    finally:
        folder.close()
    give(home, {"a.txt": "a"})


# --- a full disk, a cut


def test_a_full_disk_is_said_also_where_a_file_that_is_left_over_cannot_be_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(home, {"a.txt": "a"})
    kept = home / NAME / ".factorygate" / "replaced"
    kept.write_text("no folder")

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(delivery, "move_new", full)
    with pytest.raises(DeliveryFailed, match="Not all files could be updated: No space left"):
        give(home, {"a.txt": "a", "b.txt": "b"}, 1)
    monkeypatch.undo()
    with pytest.raises(FolderBlocked, match="replaced is no folder"):
        give(home, {"a.txt": "a", "b.txt": "b"}, 1)
    kept.unlink()
    give(home, {"a.txt": "a", "b.txt": "b"}, 1)
    assert tree(home / NAME) == {"a.txt": "a", "b.txt": "b"}


@pytest.mark.parametrize("nth", range(6))
def test_a_full_disk_leaves_all_as_it_was(home: Path, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    give(home, {"a.txt": "a", "b.txt": "b"})
    (home / NAME / "b.txt").write_text("mine")
    before = tree(home, own=True)
    calls = iter(range(100))

    def fsync(_descriptor: int) -> None:
        if next(calls) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(person_folder.os, "fsync", fsync)
    with pytest.raises(DeliveryFailed, match="Nothing was changed: No space left"):
        give(home, {"a.txt": "A", "b.txt": "B", "new/folder/c.txt": "c"}, 1)
    monkeypatch.undo()
    assert tree(home, own=True) == before
    assert not (home / NAME / "new").exists()


@pytest.mark.parametrize("nth", range(10))
def test_a_delivery_that_was_cut_short_is_completed_by_the_next(
    home: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    give(home, {"a.txt": "a", "b.txt": LONG, "c.txt": "c"})
    (home / NAME / "b.txt").write_text(LONG.replace("line 1\n", "mine\n"))
    (home / NAME / "c.txt").write_text("my c")
    second = {"a.txt": "A", "b.txt": LONG + "more\n", "c.txt": "C", "d.txt": "d"}
    calls = iter(range(100))

    def cut(real: Callable[..., Any]) -> Callable[..., Any]:
        def maybe(*args: Any) -> Any:
            if next(calls) == nth:
                raise KeyboardInterrupt
            return real(*args)

        return maybe

    for name in ("move_new", "replace_file", "write_file"):
        monkeypatch.setattr(delivery, name, cut(getattr(delivery, name)))
    with pytest.raises(KeyboardInterrupt):
        give(home, second, 1)
    monkeypatch.undo()
    seen = tree(home / NAME)
    assert "mine\n" in seen["b.txt"]
    assert seen["c.txt"] == "my c"
    give(home, second, 1)
    assert tree(home / NAME) == {
        "a.txt": "A", "b.txt": LONG.replace("line 1\n", "mine\n") + "more\n", "c.txt": "my c",
        "c.new-0000000.txt": "C", "d.txt": "d",
    }  # fmt: skip


# --- whatever people do

KEEPING = ("kept", "unchanged", "conflict", "merged", "blocked")
PATHS = ["a.txt", "b.txt", "sub/c.txt"]
VERSION = st.dictionaries(
    st.sampled_from(PATHS), st.lists(st.sampled_from(["x", "y", "z", "v", "w"]), max_size=6).map("\n".join)
)
ACT = st.tuples(
    st.sampled_from(PATHS), st.sampled_from(["write", "insert", "cut", "delete", "folder", "link"]), st.integers(0, 6)
)


def act(folder: Path, path: Path, what: str, at: int, token: str) -> None:
    """Change a path as a person may; leave a folder or a link alone.

    ``what``: write, insert, cut, delete, folder or link; ``at``: the line to insert or cut; ``token``: a line that
    nobody else writes.
    """
    if path.is_symlink() or path.is_dir():
        return
    lines = path.read_text().split("\n") if path.exists() else []
    match what:
        case "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(token)
        case "insert" if lines:
            path.write_text("\n".join([*lines[:at], token, *lines[at:]]))
        case "cut" if lines:
            path.write_text("\n".join(lines[:at] + lines[at + 1 :]))
        case "delete":
            path.unlink(missing_ok=True)
        case "folder" if not path.exists():
            path.mkdir(parents=True)
        case "link" if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(folder.parent / "outside")


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(VERSION, st.lists(ACT, max_size=4), st.booleans()), min_size=2, max_size=5))
def test_no_line_of_a_participant_is_ever_lost(rounds: list[tuple[dict[str, str], list[Any], bool]]) -> None:
    with TemporaryDirectory() as home:
        folder, outside = Path(home, NAME), Path(home, "outside")
        outside.write_text("precious")
        versions: dict[str, set[str]] = {path: set() for path in PATHS}
        tokens = iter(f"mine {number}" for number in range(1000))
        for number, (files, acts, restore) in enumerate(rounds):
            before = tree(folder)
            report = give(Path(home), files, number, restore=restore)
            after = tree(folder)
            for path, text in before.items():
                if path not in files and report.outcomes.get(path) != "removed":
                    assert after[path] == text  # what is not in the material is not touched
                mine = [line for line in text.split("\n") if line.startswith("mine")]
                if mine or text.startswith("->") or (path in versions and text not in versions[path]):
                    # a file that the person changed: as it was, or a merge that has all lines of the person
                    assert after[path] == text or report.outcomes[path] == "merged"
                    assert [line for line in after[path].split("\n") if line.startswith("mine")] == mine
                    assert path not in report.outcomes or report.outcomes[path] in (
                        "kept",
                        "conflict",
                        "merged",
                        "blocked",
                    )
            for path, text in files.items():
                versions[path].add(text)
                # the material's version is in its place or beside it, unless the person has chosen otherwise
                beside = report.besides.get(path)
                if beside is not None:
                    assert after[beside] == text
                elif report.outcomes[path] in ("new", "updated", "unchanged"):
                    assert after[path] == text
            assert outside.read_text() == "precious"
            for path, what, at in acts:
                act(folder, folder / path, what, at, next(tokens))


# --- the program


def run_program(home: Path, archive: bytes, **options: str) -> tuple[int, dict[str, Any]]:
    given = {"root": str(home), "name": NAME, "commit": COMMITS[0], "digest": hash_of(archive), **options}
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "factorygate.material", *(f"--{name}={text}" for name, text in given.items())],
        input=archive,
        capture_output=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    return ran.returncode, json.loads(ran.stdout) if ran.stdout else {"stderr": ran.stderr.decode()}


def test_the_program_delivers_and_reports(home: Path) -> None:
    code, report = run_program(home, packed({"a.txt": "a"}), umask="022")
    assert code == 0
    assert report["counts"]["new"] == 1
    assert (home / NAME / "a.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "archive", [b"", b"no archive", packed({"a.txt": "a" * 5000})[:-20]], ids=["empty", "garbage", "cut"]
)
def test_the_program_says_that_an_archive_is_damaged(home: Path, archive: bytes) -> None:
    code, report = run_program(home, archive)
    assert code == 1
    assert "archive" in report["error"]
    assert tree(home) == {}


def test_the_program_refuses_another_archive_than_was_announced(home: Path) -> None:
    code, report = run_program(home, packed({"a.txt": "a"}), digest="0" * 64)
    assert (code, report["error"]) == (1, "The material did not arrive complete.")


def test_the_program_needs_nothing_but_the_standard_library() -> None:
    code = (
        "import sys, factorygate.material.__main__\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('pydantic', 'asyncssh', 'jupyter_server')])"
    )
    path = {"PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, env=path, check=True)
    assert ran.stdout == "[]\n"
