"""Material through a real door: delivered, refused with an explanation, or not understood by an older door."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from factorycommon.material.archive import MaterialFile, hash_of, pack
from factorycommon.models.workshops.material import DoorOrder
from factorygate.material import program
from factorylink.doors.protocol import DoorMaterial, read_message
from factorylink.errors import Misread, Refused
from tests.support import recorded_release
from tests.support.door import SESSION, ask, running_door
from tests.unit.test_doorkeeper import KEY, kept, start

NAME, COMMIT = "first-2345", "a" * 40


def archive_of(folder: Path, files: dict[str, bytes]) -> tuple[DoorOrder, Path]:
    content = pack({path: MaterialFile(data) for path, data in files.items()})
    path = folder / "archive"
    path.write_bytes(content)
    return DoorOrder(digest=hash_of(content), commit=COMMIT, name=NAME), path


async def test_material_goes_through_the_door_into_the_notebooks_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    large = bytes(range(256)) * 20_000
    async with running_door("--notebook-dir", str(home), key=KEY) as door, kept(door) as keeper:
        await start(keeper)
        report = await keeper.deliver(SESSION, *archive_of(tmp_path, {"a.txt": b"one", "sub/large": large}))
        assert (report.counts.new, report.counts.conflict) == (2, 0)
        assert (home / NAME / "sub" / "large").read_bytes() == large
        (home / NAME / "a.txt").write_text("mine")
        report = await keeper.deliver(SESSION, *archive_of(tmp_path, {"a.txt": b"two", "sub/large": large}))
        assert (report.counts.conflict, report.counts.unchanged, report.conflict) == (1, 1, ("a.txt",))
        assert (home / NAME / "a.txt").read_text() == "mine"
        order, archive = archive_of(tmp_path, {"a.txt": b"three"})
        with pytest.raises(Refused, match="did not arrive complete"):
            await keeper.deliver(SESSION, order.model_copy(update={"digest": "0" * 64}), archive)
        (tmp_path / "archive").write_bytes(b"no archive")
        with pytest.raises(Refused, match="damaged"):
            await keeper.deliver(SESSION, order.model_copy(update={"digest": hash_of(b"no archive")}), archive)
        assert (home / NAME / "a.txt").read_text() == "mine"
        assert await keeper.get("/user/u/api") == b"{}"  # the notebook has noticed nothing


@pytest.mark.parametrize(
    "sent",
    [b"\n", b"no json\n", b"[]\n", b'{"name": "../x", "commit": "a", "digest": "b", "restore": false}\n',
     b'{"name": "x\\u0000", "commit": "a", "digest": "b", "restore": false}\n', b"{" * 5000],
)  # fmt: skip
async def test_an_order_that_is_none_is_refused(sent: bytes) -> None:
    async with running_door() as door:
        link = await door.enter()
        done = await link.run("material", input=sent, encoding=None)
        assert done.exit_status in (1, 2)
        assert (await ask(link, "hello"))["phase"] == "waiting"


@pytest.mark.parametrize("said", ["", "no json", "'[' * 60_000", "'9' * 5000", "'x' * 70_000", "'[]'"])
async def test_a_report_of_the_program_that_is_none_is_refused(tmp_path: Path, said: str) -> None:
    with (tmp_path / "archive").open("w+b") as archive, pytest.raises(program.DeliveryRefused, match="delivery"):
        await program.run([sys.executable, "-c", f"print({said})"], archive)


async def test_a_door_of_the_release_before_is_told_to_be_too_old(tmp_path: Path) -> None:
    before = await asyncio.to_thread(recorded_release.unpack, tmp_path)
    async with (
        running_door(key=KEY, sources=recorded_release.search_path(before)) as door,
        kept(door) as keeper,
    ):
        await start(keeper)
        with pytest.raises(Refused, match="too old to take"):
            await keeper.deliver(SESSION, *archive_of(tmp_path, {"a.txt": b"one"}))
        assert await keeper.get("/user/u/api") == b"{}"


@pytest.mark.parametrize(
    "said",
    [{}, {"counts": {"new": -1}}, {"counts": {"new": "1"}}, {"counts": {"new": 1}, "conflict": ["x"] * 101},
     {"counts": {"new": 1}, "merged": ["x" * 301]}],
)  # fmt: skip
def test_a_report_that_is_none_is_misread(said: dict[str, object]) -> None:
    with pytest.raises(Misread):
        read_message(DoorMaterial, json.dumps(said)).report()


def test_texts_of_a_report_are_made_plain_and_unknown_outcomes_are_left_out() -> None:
    said = {"counts": {"new": 1, "other": 3}, "conflict": ["a\x1b[31m\nb"], "more": 1}
    report = read_message(DoorMaterial, json.dumps(said)).report()
    assert report.counts.new == 1
    assert report.conflict == ("a b",)
