"""A folder is kept under a date before material is delivered anew: the person's files are not lost or doubled."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from factorycommon.models.workshops.material import DoorOrder
from factorygate.material import __main__ as program
from factorygate.material import delivery, file_moves
from factorygate.material.delivery import DeliveryFailed, DeliveryReport, deliver
from factorygate.material.person_folder import FolderBusy, PersonFolder
from factorygate.material.program import DeliveryRefused, argv_of
from tests.unit.test_material_delivery import COMMITS, NAME, packed, tree

STAMP = "2026-11-28-161200"
KEPT = f"{NAME}-{STAMP}"


def give(root: Path, **options: Any) -> DeliveryReport:
    return deliver(root, NAME, packed({"a.txt": "one", "sub/b.txt": "two"}), COMMITS[0], **options)


@pytest.fixture(params=["renameat2", "rename"])
def _moves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move folders as on file systems that have renameat2, and that do not."""
    if request.param == "rename":
        monkeypatch.setattr(file_moves, "_RENAME", None)


@pytest.mark.usefixtures("_moves")
def test_the_material_comes_anew_beside_what_the_person_wrote(tmp_path: Path) -> None:
    give(tmp_path)
    (tmp_path / NAME / "a.txt").write_text("mine")
    (tmp_path / NAME / "own.txt").write_text("own")
    (tmp_path / NAME / "sub" / "b.txt").unlink()
    report = give(tmp_path, aside=STAMP)
    assert report.as_json()["aside"] == KEPT
    assert tree(tmp_path / NAME) == {"a.txt": "one", "sub/b.txt": "two"}
    assert tree(tmp_path / KEPT) == {"a.txt": "mine", "own.txt": "own"}
    (tmp_path / NAME / "a.txt").write_text("written since")
    again = give(tmp_path, aside=STAMP)  # the same order once more
    assert again.aside == KEPT
    assert tree(tmp_path / NAME)["a.txt"] == "written since"
    assert tree(tmp_path / KEPT)["a.txt"] == "mine"


def test_where_nothing_is_nothing_is_kept(tmp_path: Path) -> None:
    assert give(tmp_path, aside=STAMP).as_json()["aside"] == ""
    assert "aside" not in give(tmp_path).as_json()
    assert sorted(os.listdir(tmp_path)) == [NAME]


def test_a_link_in_place_of_the_folder_is_kept_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_text("other")
    (tmp_path / NAME).symlink_to("elsewhere")
    give(tmp_path, aside=STAMP)
    assert (os.readlink(tmp_path / KEPT), tree(tmp_path / "elsewhere")) == ("elsewhere", {"a.txt": "other"})
    assert tree(tmp_path / NAME)["a.txt"] == "one"


def test_nothing_is_moved_while_another_delivery_goes_on(tmp_path: Path) -> None:
    other = PersonFolder(tmp_path, NAME)
    with pytest.raises(FolderBusy):
        give(tmp_path, aside=STAMP)
    other.close()
    assert os.listdir(tmp_path) == [NAME]


def test_a_full_disk_says_where_the_files_are_and_a_second_order_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(tmp_path)
    (tmp_path / NAME / "a.txt").write_text("mine")
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(delivery, "write_file", full)
        with pytest.raises(DeliveryFailed, match=f"No space left on device. Your own files are in the folder {KEPT}"):
            give(tmp_path, aside=STAMP)
    assert tree(tmp_path / KEPT)["a.txt"] == "mine"
    give(tmp_path, aside=STAMP)
    assert (tree(tmp_path / NAME)["a.txt"], tree(tmp_path / KEPT)["a.txt"]) == ("one", "mine")


def test_the_program_takes_a_date_and_nothing_else(tmp_path: Path) -> None:
    order = DoorOrder(name=NAME, digest="a" * 64, commit="b" * 40, aside=STAMP).model_dump(mode="json")
    argv = argv_of(order, tmp_path, 0o077)
    assert program.parse(argv[4:]).aside == STAMP
    assert program.parse(argv_of({**order, "aside": None}, tmp_path, 0o077)[4:]).aside is None
    with pytest.raises(SystemExit):
        program.parse(argv_of({**order, "aside": "../x"}, tmp_path, 0o077)[4:])
    with pytest.raises(DeliveryRefused, match="aside"):
        argv_of({**order, "aside": 5}, tmp_path, 0o077)
