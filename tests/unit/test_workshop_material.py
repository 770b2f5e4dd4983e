"""The material of a workshop: fetched once, shown to the staff, and delivered once to each session of the class."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from factorycommon.material.archive import MaterialFile, hash_of, pack
from factorycommon.models.workshops.material import MOST_PIECE, MaterialPiece
from factorycommon.service.problems import ProblemError
from factorylink.sessions.material import MaterialArchives
from tests.unit.room_world import RoomWorld, comes, room_world
from tests.unit.workshops_world import OPERATOR, OTTO, PAUL, TINA, WorkshopsWorld, body, workshops_world
from workshops.material.service import Materials
from workshops.models.bodies import MaterialBody, WorkshopChange
from workshops.models.callers import WorkshopCaller
from workshops.models.material import FetchResult, MaterialStatus, RefusedFile
from workshops.store.store import StoreError

URL = "https://git.example.org/courses/first.git"
MATERIAL = {"repository": URL, "commit": "a" * 40}
NEXT = {"repository": URL, "commit": "b" * 40}


class FakeFetcher:
    """A fetcher that gives what a test put in, by commit."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.commits: dict[str, dict[str, str]] = {"a" * 40: {"a.txt": "one"}, "b" * 40: {"a.txt": "two", "b.txt": "b"}}
        self.problem = ""
        self.asked: list[str] = []
        self.may = asyncio.Event()
        self.may.set()

    def archive(self, digest: str) -> Path:
        return self.folder / f"{digest}.tar.gz"

    def has(self, digest: str) -> bool:
        return self.archive(digest).exists()

    def sweep(self, _digests: object) -> None:
        pass

    async def fetch(self, material: MaterialBody) -> FetchResult:
        self.asked.append(material.commit)
        await self.may.wait()
        if self.problem:
            return FetchResult(problem=self.problem, refused=(RefusedFile(path="-u", why="It begins with a dash."),))
        files = self.commits[material.commit]
        packed = pack({path: MaterialFile(text.encode()) for path, text in files.items()})
        self.archive(hash_of(packed)).write_bytes(packed)
        return FetchResult(digest=hash_of(packed), files=len(files), bytes=sum(map(len, files.values())))


def with_fetcher(world: WorkshopsWorld, folder: Path) -> FakeFetcher:
    fetcher = FakeFetcher(folder / "archives")
    world.materials.fetcher = fetcher  # type: ignore[assignment]
    return fetcher


async def settled(world: WorkshopsWorld) -> None:
    await world.materials.look()
    await world.materials.settle()


async def status(world: WorkshopsWorld, slug: str, caller: WorkshopCaller = TINA) -> MaterialStatus | None:
    staff = (await world.workshops.one(caller, slug)).staff
    assert staff is not None
    return staff.material


async def test_staff_see_whether_the_material_was_fetched(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        fetcher = with_fetcher(world, tmp_path)
        slug = (await world.workshops.create(TINA, body(material=MATERIAL))).slug
        assert await status(world, slug) is None
        fetcher.may.clear()
        await world.materials.look()
        found = await status(world, slug)
        assert found is not None
        assert (found.state, found.commit) == ("fetching", "a" * 40)
        fetcher.may.set()
        await world.materials.settle()
        found = await status(world, slug)
        assert found is not None
        assert (found.state, found.files, found.bytes, found.problem) == ("ready", 1, 3, "")
        await settled(world)
        assert fetcher.asked == ["a" * 40]  # once


async def test_a_problem_is_told_and_a_button_tries_again(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        fetcher = with_fetcher(world, tmp_path)
        slug = (await world.workshops.create(TINA, body(material=MATERIAL))).slug
        fetcher.problem = "The server does not answer."
        await settled(world)
        await settled(world)
        assert len(fetcher.asked) == 1  # not by itself again
        found = await status(world, slug)
        assert found is not None
        assert (found.state, found.problem, found.refused[0].path) == ("failed", "The server does not answer.", "-u")
        fetcher.problem = ""
        workshop = await world.workshops.may(TINA, slug, "fetch-material")
        fetcher.may.clear()
        assert (await world.materials.again(workshop, TINA)).state == "fetching"
        with pytest.raises(ProblemError, match="being fetched already"):
            await world.materials.again(workshop, TINA)
        fetcher.may.set()
        await world.materials.settle()
        found = await status(world, slug)
        assert found is not None
        assert (found.state, found.problem, found.refused) == ("ready", "", ())
        assert [one.what for one in await world.workshops.events(TINA, slug)].count("material") == 3


async def test_material_is_fetched_again_if_its_result_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with workshops_world(tmp_path) as world:
        fetcher = with_fetcher(world, tmp_path)
        slug = (await world.workshops.create(TINA, body(material=MATERIAL))).slug
        fetcher.problem = "The server does not answer."
        await settled(world)
        fetcher.problem = ""
        workshop = await world.workshops.may(TINA, slug, "fetch-material")
        fetcher.may.clear()
        await world.materials.again(workshop, TINA)

        async def full(_work: object) -> None:
            raise StoreError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(world.store, "transact", full)
            fetcher.may.set()
            await world.materials.settle()
        await settled(world)
        assert world.materials.is_ready(slug)


async def test_material_that_was_fetched_stays_if_it_cannot_be_fetched_again(tmp_path: Path) -> None:
    """Sessions that open later still get it, also after a restart of the service."""
    async with workshops_world(tmp_path) as world:
        fetcher = with_fetcher(world, tmp_path)
        slug = (await world.workshops.create(TINA, body(material=MATERIAL))).slug
        await settled(world)
        ready = await status(world, slug)
        workshop = await world.workshops.may(TINA, slug, "fetch-material")
        fetcher.problem = "The server does not answer."
        await world.materials.again(workshop, TINA)
        await world.materials.settle()
        assert await status(world, slug) == ready
        assert world.materials.is_ready(slug)
        assert "does not answer" in (await world.workshops.events(TINA, slug))[0].detail
        again = Materials(world.store, world.materials.fetcher, world.clock)
        await again.look()
        assert again.is_ready(slug)
        for path in fetcher.folder.iterdir():
            path.unlink()
        await world.materials.again(workshop, TINA)
        await world.materials.settle()
        found = await status(world, slug)
        assert found is not None
        assert found.state == "failed"  # nothing is there any more


async def test_material_is_fetched_once_if_two_ask_for_it_at_once(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        fetcher = with_fetcher(world, tmp_path)
        slug = (await world.workshops.create(TINA, body(material=MATERIAL))).slug
        await settled(world)
        workshop = await world.workshops.may(TINA, slug, "fetch-material")
        asked = (world.materials.again(workshop, TINA) for _ in range(2))
        done = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(one, ProblemError) for one in done) == 1
        await world.materials.settle()
        assert len(fetcher.asked) == 2


async def test_only_people_who_teach_the_workshop_fetch_again(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        with_fetcher(world, tmp_path)
        slug = (await world.workshops.create(TINA, body(material=MATERIAL))).slug
        for person, role in (("otto", "helper"), ("paul", "participant")):
            await world.workshops.put_member(TINA, slug, person, role)  # type: ignore[arg-type]
        for caller in (OTTO, PAUL):
            with pytest.raises(ProblemError, match="people who teach"):
                await world.workshops.may(caller, slug, "fetch-material")
        await world.workshops.may(OPERATOR, slug, "fetch-material")
        assert (await world.workshops.one(PAUL, slug)).staff is None
        none = (await world.workshops.create(TINA, body())).slug
        with pytest.raises(ProblemError, match="not possible while the workshop is a draft"):
            await world.workshops.may(TINA, none, "fetch-material")


@pytest.mark.parametrize("url", ["https://host/a.git?token=x", "https://host/../a", "https://host/-u/a"])
async def test_a_hostile_address_is_refused_when_it_is_given(tmp_path: Path, url: str) -> None:
    hostile = {**MATERIAL, "repository": url}
    async with workshops_world(tmp_path) as world:
        with pytest.raises(ProblemError, match="address such as") as caught:
            await world.workshops.create(TINA, body(material=hostile))
        assert caught.value.problem.field == "material.repository"
        slug = (await world.workshops.create(TINA, body())).slug
        with pytest.raises(ProblemError, match="address such as"):
            await world.workshops.change(TINA, slug, WorkshopChange(version=1, material=MaterialBody(**hostile)))


async def test_a_restart_fetches_only_what_is_not_there(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        with_fetcher(world, tmp_path)
        slug = (await world.workshops.create(TINA, body(material=MATERIAL))).slug
        await settled(world)
    async with workshops_world(tmp_path) as world:
        fetcher = with_fetcher(world, tmp_path)
        await settled(world)
        assert fetcher.asked == []
        found = await status(world, slug)
        assert found is not None
        assert found.state == "ready"
        for path in fetcher.folder.iterdir():
            path.unlink()
        await settled(world)
        assert fetcher.asked == ["a" * 40]


async def test_another_commit_replaces_the_material_and_none_removes_it(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        fetcher = with_fetcher(world, tmp_path)
        slug = (await world.workshops.create(TINA, body(material=MATERIAL))).slug
        await settled(world)
        changed = await world.workshops.change(TINA, slug, WorkshopChange(version=1, material=MaterialBody(**NEXT)))
        await settled(world)
        assert fetcher.asked == ["a" * 40, "b" * 40]
        assert changed.staff is not None
        await world.workshops.change(TINA, slug, WorkshopChange(version=changed.staff.version, material=None))
        await settled(world)
        assert await status(world, slug) is None


# --- into the sessions


async def taught(world: WorkshopsWorld, room: RoomWorld, *people: str) -> str:
    """Make a workshop with these participants and with material that is ready; return its slug."""
    slug = await room.workshop(world, *people, material=MATERIAL)
    await settled(world)
    room.link.doors.home = room.folder / "homes"
    return slug


def files_of(room: RoomWorld, number: int) -> dict[str, str]:
    folder = room.link.doors.home / f"{number:032x}" / room.slug
    return {path.name: path.read_text() for path in folder.glob("*") if path.is_file()}


async def opened(world: WorkshopsWorld, room: RoomWorld, number: int, person: str) -> None:
    session = await room.runs(number, person)
    await comes(lambda: any(one.id == session.id and one.open for one in world.room.sessions.live()))


async def test_each_session_gets_the_material_once_and_late_ones_too(tmp_path: Path) -> None:
    async with room_world(tmp_path) as room, room.service() as world:
        with_fetcher(world, tmp_path)
        slug = await taught(world, room, "ada", "ben")
        await opened(world, room, 1, "ada")
        await world.delivery.look()
        assert files_of(room, 1) == {"a.txt": "one"}
        await opened(world, room, 2, "ben")
        await world.delivery.look()
        await world.delivery.look()
        assert [session for session, _ in room.link.doors.orders] == [f"{1:032x}", f"{2:032x}"]
        view = await world.delivery.view(TINA, slug)
        assert {one.person: (one.seat, one.problem) for one in view.seats} == {"ada": (1, ""), "ben": (2, "")}
        assert all(one.report is not None and one.report.counts.new == 1 for one in view.seats)


async def test_an_update_in_class_comes_back_with_its_conflicts(tmp_path: Path) -> None:
    async with room_world(tmp_path) as room, room.service() as world:
        with_fetcher(world, tmp_path)
        slug = await taught(world, room, "ada")
        await opened(world, room, 1, "ada")
        await world.delivery.look()
        (room.link.doors.home / f"{1:032x}" / slug / "a.txt").write_text("mine")
        version = (await world.workshops.one(TINA, slug)).staff.version  # type: ignore[union-attr]
        await world.workshops.change(TINA, slug, WorkshopChange(version=version, material=MaterialBody(**NEXT)))
        await settled(world)
        await world.delivery.look()
        assert files_of(room, 1) == {"a.txt": "mine", "a.new-bbbbbbb.txt": "two", "b.txt": "b"}
        ((seat,), material) = ((view := await world.delivery.view(TINA, slug)).seats, view.material)
        assert material is not None
        assert (material.commit, seat.commit) == ("b" * 40, "b" * 40)
        assert seat.report is not None
        assert (seat.report.counts.conflict, seat.report.counts.new, seat.report.conflict) == (1, 1, ("a.txt",))


async def test_what_a_person_deleted_stays_deleted_until_a_trainer_brings_it_back(tmp_path: Path) -> None:
    async with room_world(tmp_path) as room, room.service() as world:
        with_fetcher(world, tmp_path)
        slug = await taught(world, room, "ada")
        with pytest.raises(ProblemError, match="no open session"):
            await world.delivery.restore(TINA, slug, "ada")
        await opened(world, room, 1, "ada")
        await world.delivery.look()
        (room.link.doors.home / f"{1:032x}" / slug / "a.txt").unlink()
        await world.delivery.look()
        assert files_of(room, 1) == {}
        await world.workshops.put_member(TINA, slug, "otto", "helper")
        with pytest.raises(ProblemError, match="people who teach"):
            await world.delivery.restore(OTTO, slug, "ada")
        await world.delivery.restore(TINA, slug, "ada")
        assert files_of(room, 1) == {"a.txt": "one"}


async def test_a_door_that_refuses_is_told_in_words_and_tried_again(tmp_path: Path) -> None:
    async with room_world(tmp_path) as room, room.service() as world:
        with_fetcher(world, tmp_path)
        slug = await taught(world, room, "ada")
        room.link.doors.no_material = "The environment of this session is too old."
        await opened(world, room, 1, "ada")
        await world.delivery.look()
        (seat,) = (await world.delivery.view(TINA, slug)).seats
        assert (seat.report, seat.problem) == (None, "The environment of this session is too old.")
        room.link.doors.no_material = ""
        await world.delivery.look()
        assert files_of(room, 1) == {}  # after a pause
        world.delivery._pauses.clear()
        await world.delivery.look()
        assert files_of(room, 1) == {"a.txt": "one"}


async def test_a_restart_of_the_service_delivers_nothing_twice(tmp_path: Path) -> None:
    async with room_world(tmp_path) as room:
        async with room.service() as world:
            with_fetcher(world, tmp_path)
            slug = await taught(world, room, "ada")
            await opened(world, room, 1, "ada")
            await world.delivery.look()
        async with room.service() as world:
            with_fetcher(world, tmp_path)
            await settled(world)
            await comes(lambda: world.room.sessions.live())
            await world.delivery.look()
            assert len(room.link.doors.orders) == 1
            assert [one.person for one in (await world.delivery.view(TINA, slug)).seats] == ["ada"]


async def test_people_without_a_seat_get_nothing(tmp_path: Path) -> None:
    async with room_world(tmp_path) as room, room.service() as world:
        with_fetcher(world, tmp_path)
        slug = await taught(world, room, "ada")
        await opened(world, room, 1, "ada")
        await world.workshops.drop_member(TINA, slug, "ada")
        await world.delivery.look()
        assert room.link.doors.orders == []


@pytest.mark.parametrize(
    ("path", "content", "status_code"),
    [
        ("/projects/workshop-none-2345/material", {"people": ["ada"]}, 404),
        ("/projects/{project}/material", {"people": ["eve"]}, 403),
        ("/projects/{project}/material", {"people": []}, 400),
        ("/projects/{project}/material", {"people": ["ada"], "name": "../x"}, 400),
        ("/projects/{project}/material", {"people": ["ada"], "name": "-u"}, 400),
        ("/projects/{project}/material", {"people": ["ada"], "commit": "main"}, 400),
        ("/projects/{project}/material", {"people": ["ada"], "digest": "../../etc/passwd"}, 400),
    ],
)
async def test_the_link_refuses_other_projects_people_and_names(
    tmp_path: Path, path: str, content: dict[str, Any], status_code: int
) -> None:
    async with room_world(tmp_path) as room, room.service() as world:
        with_fetcher(world, tmp_path)
        slug = await taught(world, room, "ada")
        await opened(world, room, 1, "ada")
        order = {"digest": "0" * 64, "commit": "a" * 40, **content}
        http = world.link._http
        assert http is not None
        answer = await http.post(path.format(project=f"workshop-{slug}"), json=order)
        assert answer.status_code == status_code
        assert room.link.doors.orders == []


async def test_an_archive_arrives_in_pieces_and_only_if_it_is_right(tmp_path: Path) -> None:
    archives, content = MaterialArchives(tmp_path / "material"), bytes(range(256)) * 4096
    digest, total = hash_of(content), len(content)

    def piece(begin: int, end: int, data: bytes = content) -> MaterialPiece:
        return MaterialPiece(begin=begin, total=total, data=b64encode(data[begin:end]))

    assert (await archives.add(digest, piece(0, MOST_PIECE))).has == MOST_PIECE
    assert (await archives.add(digest, piece(0, MOST_PIECE))).has == MOST_PIECE  # the same piece again
    assert archives.find(digest) is None
    assert (await archives.add(digest, piece(MOST_PIECE, total))).whole
    found = archives.find(digest)
    assert found is not None
    assert found.read_bytes() == content
    await archives.add("0" * 64, piece(0, MOST_PIECE))
    wrong = await archives.add("0" * 64, piece(MOST_PIECE, total))
    assert (wrong.has, wrong.whole) == (0, False)
    assert archives.find("0" * 64) is None
    for number in range(40):  # unfinished ones do not fill the disk
        await archives.add(f"{number:064x}", piece(0, MOST_PIECE))
    assert len(list((tmp_path / "material").iterdir())) == 30
