"""Two classes use the same pool of accounts, one after the other: the second finds nothing that the first left.

The test makes these accounts. The people of the first class leave everything that a person can leave in an account. One
account cannot be emptied, as the site's program reports; the link lends this account to nobody until it is empty.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from factorycommon.models.workshops.seats import HeldAccounts
from testbed import accounts
from tests.support.gateway import Gateway, eventually
from tests.support.lent_accounts import held, lent_accounts
from tests.support.workshop_class import READY_SECONDS, Service, at, body, stop
from workshops.client import WorkshopsProblem
from workshops.models.room import SeatView

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.timeout(600),
]
FACTORY, SIZE, POOL = "it4lia", "gpu-1", "lent"
ACCOUNTS = 4
CONTAINER = 100_123  # an owner of files that the account cannot act for, as a container's user without root leaves them
WIPED_SECONDS = 150.0  # for a wipe that failed to be done again, and its proof

LEAVE = """
import os, pathlib, struct, subprocess
mark, home = {mark!r}, pathlib.Path.home()
(home / "notes.txt").write_text(mark)
closed = home / "closed"
closed.mkdir()
(closed / "deep").write_text(mark)
closed.chmod(0)
(home / ".ssh").mkdir(mode=0o700, exist_ok=True)
(home / ".ssh/authorized_keys").write_text("ssh-ed25519 AAAA " + mark)
(home / ".bashrc").write_text("echo " + mark)
for folder in ("/tmp", "/dev/shm"):
    pathlib.Path(folder, mark + home.name).write_text(mark)
subprocess.Popen(["nohup", "sh", "-c", "sleep 86399; echo " + mark], start_new_session=True, stdin=subprocess.DEVNULL,
                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
later = ["sbatch", "--begin=now+1hour", "--job-name=" + mark, "--wrap=cat notes.txt", "--output=/dev/null"]
subprocess.run(later, env={{**os.environ, **{scheduler!r}}}, capture_output=True, check=True)
nobody = 0xffffffff
entries = ((1, 7, nobody), (2, 5, {stranger}), (4, 0, nobody), (16, 5, nobody), (32, 0, nobody))
access = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
for name in ("access", "default"):
    os.setxattr(home, "system.posix_acl_" + name, access)
get_ipython().run_cell("history = '" + mark + "'", store_history=True)
get_ipython().history_manager.writeout_cache()
print(0)
"""

FIND = """
import json, os, pathlib, pwd, subprocess
mark, home, me = {mark!r}.encode(), pathlib.Path.home(), os.getuid()
found = []
for top, folders, files in os.walk(home):
    for name in folders + files:
        path = os.path.join(top, name)
        try:
            if mark in os.fsencode(path) or (os.path.isfile(path) and mark in open(path, "rb").read()):
                found.append(path)
        except FileNotFoundError:  # a program removed its file meanwhile
            pass
for folder in ("/tmp", "/var/tmp", "/dev/shm"):
    found += [os.path.join(folder, name) for name in os.listdir(folder) if mark in os.fsencode(name)]
for one in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if one.stat().st_uid == me and mark in (one / "cmdline").read_bytes():
            found.append("process " + one.name)
    except OSError:
        pass
jobs = ["squeue", "--noheader", "--user", pwd.getpwuid(me).pw_name, "--format", "%i %j"]
listed = subprocess.run(jobs, env={{**os.environ, **{scheduler!r}}}, capture_output=True, text=True, check=True).stdout
found += ["job " + line for line in listed.splitlines() if mark.decode() in line]
found += [name for name in os.listxattr(home) if "acl" in name]
print(json.dumps({{"account": pwd.getpwuid(me).pw_name, "found": found, "keys": (home / ".ssh").exists(),
                  "mode": home.stat().st_mode & 0o777, "notes": sorted(path.name for path in home.glob("[!.]*"))}}))
"""


@dataclass
class Pool:
    """A pool of accounts for workshops. ``wipe``: the command that empties an account."""

    gateway: Gateway
    names: tuple[str, ...]
    wipe: list[str]

    @property
    def scheduler(self) -> dict[str, str]:
        return self.gateway.factories[FACTORY].env

    def left(self, name: str) -> str:
        """Return the output of the site's program about what is left in an account; "" if nothing is left."""
        me = pwd.getpwnam(name)
        argv = [*self.wipe, "--proof"]
        done = subprocess.run(
            argv, user=me.pw_uid, group=me.pw_gid, extra_groups=[], cwd="/", env=self.scheduler,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def pool(gateway: Gateway) -> Iterator[Pool]:
    """Make accounts, a pool of them, and the site's program that empties them; remove all of these afterwards."""
    with lent_accounts(gateway, {POOL: FACTORY}, ACCOUNTS) as lent:
        yield Pool(gateway, lent.names[POOL], lent.wipe)


class Taught:
    """An open class whose seats use accounts of the pool. ``people``: the people with seats, in the order of seats."""

    def __init__(self, pool: Pool, seats: int) -> None:
        self.pool, self.gateway, self.service = pool, pool.gateway, Service(pool.gateway)
        self.people = [self.gateway.make_user() for _ in range(seats)]
        now = datetime.now(UTC)
        made = body(
            title="On lent accounts",
            opens=now.isoformat(),
            starts=(now + timedelta(seconds=1)).isoformat(),
            seats=seats,
            places=[{"factory": FACTORY, "size": SIZE, "pool": POOL}],
        )
        self.slug = self.service.scheduled(made)
        for person in self.people:
            self.service.ask("put_member", self.slug, person, "participant")

    def ready(self) -> list[str]:
        """Return the people whose seat is ready."""
        return [person for person in self.people if at(self.gateway, person) == FACTORY]

    def seat(self, person: str) -> SeatView:
        """Return the seat of a person, as the room shows it."""
        seats: Sequence[SeatView] = self.service.ask("room", self.slug).seats
        (found,) = [one for one in seats if one.person == person]
        return found

    def accounts(self) -> HeldAccounts:
        """Return which accounts are held for the class, as the link reports them."""
        found = held(self.gateway, self.slug, FACTORY)
        assert found is not None
        return found

    def run(self, person: str, code: str, **values: Any) -> str:
        """Run a cell in the notebook of a person's seat; return its output. ``values``: for fields of ``code``."""
        return self.gateway.notebook(person).run(code.format(scheduler=self.pool.scheduler, **values))

    def over(self) -> None:
        """Stop all seats, and let the class end now."""
        stop(self.gateway, self.people, 2 * READY_SECONDS)
        self.service.over(self.slug)


def test_a_second_class_on_the_same_accounts_finds_nothing_of_the_first(pool: Pool) -> None:
    mark = f"left-{uuid.uuid4().hex}"
    first = Taught(pool, ACCOUNTS - 1)
    try:
        eventually(lambda: first.ready() == first.people, 2 * READY_SECONDS, what="the seats of the first class")
        used = {person: leave(first, person, mark) for person in first.people}
        assert len(set(used.values())) == len(first.people)
        assert set(used.values()) <= set(pool.names)
        dirty = used[first.people[0]]
        stuck = accounts.home(dirty) / "container"  # what the account itself cannot remove
        stuck.mkdir()
        (stuck / "layer").write_text(mark)
        for path in (stuck, stuck / "layer"):
            os.chown(path, CONTAINER, CONTAINER)
    finally:
        first.over()
    second = Taught(pool, ACCOUNTS)  # at once, so that it finds accounts that are being wiped
    try:

        def all_but_one() -> list[str]:
            found = second.ready()
            return found if len(found) == ACCOUNTS - 1 else []

        seated = eventually(all_but_one, 2 * READY_SECONDS, what="all seats but one")
        (without,) = set(second.people) - set(seated)
        seat = eventually(lambda: is_not_wiped(second.seat(without)), WIPED_SECONDS, 1, "the room says why")
        assert seat is not None
        assert seat.session is None
        assert "could not be cleared of earlier files" in str(seat.reason)
        failed = eventually(lambda: second.accounts().failed, what="the operators see which account")
        assert [one.account for one in failed] == [dirty]
        assert "container" in failed[0].why  # the site's own words
        lent = {see(second, person, mark) for person in seated}
        assert lent == set(pool.names) - {dirty}

        shutil.rmtree(stuck)  # the site removes it, and the trainer asks for the seat in the room

        def asked() -> bool:
            if without not in second.ready():
                with contextlib.suppress(WorkshopsProblem):  # it is on its way
                    second.service.ask("act_on_seat", second.slug, seat.seat, "start")
                return False
            return True

        eventually(asked, WIPED_SECONDS, 3, "the last seat")
        assert see(second, without, mark) == dirty
        assert second.accounts().failed == ()
        eventually(lambda: second.seat(without).words is None, what="the room has no words for the seat")
    finally:
        second.over()
    for name in pool.names:
        eventually(lambda n=name: pool.left(n) == "", WIPED_SECONDS, 1, f"{name} is empty after the class")  # type: ignore[misc]


def leave(taught: Taught, person: str, mark: str) -> str:
    """Leave everything that a person can leave in an account, with this mark; return the account's name."""
    assert taught.run(person, LEAVE, mark=mark, stranger=CONTAINER).strip() == "0"
    workspace = {"data": {"left": {"mark": mark}}, "metadata": {"id": "default"}}
    saved = taught.gateway.notebook(person).request("PUT", "/lab/api/workspaces/default", json=workspace)
    assert saved.status_code == 204, saved.text
    seen = json.loads(taught.run(person, FIND, mark=mark))
    found = "\n".join(seen["found"])
    everything = (
        "notes.txt",
        ".bashrc",
        "authorized_keys",
        "history.sqlite",
        "workspaces",
        "/tmp/",
        "/dev/shm/",
        "acl",
    )
    assert all(word in found for word in (*everything, "process ", "job ")), found  # or what follows would show nothing
    return str(seen["account"])


def is_not_wiped(seat: SeatView) -> SeatView | None:
    return seat if seat.words is not None and seat.words.code == "pool-not-wiped" else None


def see(taught: Taught, person: str, mark: str) -> str:
    """Return the account of a person, after checking that nothing with the mark is there."""
    seen = json.loads(taught.run(person, FIND, mark=mark))
    assert (seen["found"], seen["keys"], seen["mode"], seen["notes"]) == ([], False, 0o700, []), seen
    notebook = taught.gateway.notebook(person)
    for path in ("/lab/api/workspaces", "/api/contents"):
        answer = notebook.request("GET", path)
        assert answer.status_code == 200
        assert mark not in answer.text
    assert len(notebook.request("GET", "/api/kernels").json()) == 1  # the one of this question
    return str(seen["account"])
