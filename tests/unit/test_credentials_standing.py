"""Reasons why the link cannot act for an account, the state of its sessions meanwhile, and the audit."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import pytest_asyncio

from factorycommon.models import AuditLine, Choice, JobState, Outcome, SessionRequest, SessionState
from factorylink.cli import main as cli
from factorylink.client import LinkClient, LinkProblem
from factorylink.config import DoorAccess, EfpCredentials, SshTransportSettings
from factorylink.credentials import credentials_of
from factorylink.credentials.base import Login
from factorylink.credentials.efp import FederationAuthority
from factorylink.errors import Gone, NotDone, NotLetIn, Refused, Unreachable
from factorylink.ledger import audit
from factorylink.ledger.ledger import AuditEntry, Ledger
from factorylink.problems import ProblemError
from factorylink.projects.account_leases import site_account
from factorylink.schedulers.command import Command
from factorylink.transports.access_guard import GuardedCommands, GuardedStreams
from factorylink.transports.access_status import HEARD_SECONDS, SiteAccessStatus
from tests.unit.fake_factory import ID, OTHER, World
from tests.unit.serving import serving

STOPPED = "factorygate-act: stopped by the site: Maintenance until Friday"
OFF_LIST = "factorygate-act: refused: ada is not on the site's list of accounts"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Lent:
    """Credentials whose end the test sets."""

    def __init__(self, until: float | None) -> None:
        self.until = until
        self.key = asyncssh.generate_private_key("ssh-ed25519")

    async def login(self, account: str | None) -> Login:
        return Login(account or "watch", self.key, None, f"key of {account}", self.valid_until(account))

    def valid_until(self, account: str | None) -> datetime | None:
        if account is None or self.until is None:
            return None
        return datetime.fromtimestamp(self.until, UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path).up()
    yield made
    await made.down()


def stand(world: World, credentials: Any, clock: Clock) -> SiteAccessStatus:
    access_status = SiteAccessStatus(credentials, clock)
    world.factories.offered = {"one": replace(world.factories["one"], access_status=access_status)}
    access_status.on_change = partial(world.feed.factory_changed, "one")
    return access_status


# --- an expired credential


async def test_sessions_of_an_expired_credential_are_unreachable_and_never_ended(world: World, clock: Clock) -> None:
    lent = Lent(clock.now + 3600)
    stand(world, lent, clock)
    await world.put()
    await world.scheduler.answer()
    assert (await world.session()).state == SessionState.PENDING
    clock.now += 3601
    session = await world.session()
    assert (session.state, session.before) == (SessionState.UNREACHABLE, SessionState.PENDING)
    assert session.waits_for is not None
    assert session.waits_for.code == "credential-expired"
    await world.scheduler.answer(3)  # polling goes on with the watcher's own credentials
    assert (await world.session()).state == SessionState.UNREACHABLE
    assert world.scheduler.cancelled == []
    lent.until = clock.now + 3600
    assert (await world.session()).state == SessionState.PENDING


async def test_no_session_begins_on_too_little_validity(world: World, clock: Clock) -> None:
    lent = Lent(clock.now + 60)
    stand(world, lent, clock)
    with pytest.raises(ProblemError) as caught:
        await world.put()
    assert (caught.value.status, caught.value.problem.code) == (403, "credential-expired")
    assert world.scheduler.submitted == []
    lent.until = clock.now + 600
    await world.put()
    assert len(world.scheduler.submitted) == 1


async def test_a_job_that_ended_meanwhile_is_told_by_the_watcher(world: World, clock: Clock) -> None:
    lent = Lent(clock.now + 3600)
    stand(world, lent, clock)
    await world.put()
    clock.now += 3601
    job = next(iter(world.scheduler.jobs_there))
    world.scheduler.jobs_there[job] = world.scheduler.jobs_there[job].model_copy(
        update={"state": JobState.ENDED, "outcome": Outcome.COMPLETED}
    )
    await world.scheduler.answer()
    await world.until(state=SessionState.ENDED)


def test_words_say_where_to_renew(tmp_path: Path) -> None:
    access_status = SiteAccessStatus(_federation(tmp_path))
    words = access_status.problem("ada")
    assert words is not None
    assert words.code == "credential-expired"
    assert "https://my-eurohpc.example/token" in words.scheduler


def _federation(folder: Path) -> FederationAuthority:
    key = folder / "watcher-key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(key)
    key.chmod(0o600)
    told = EfpCredentials(url="http://127.0.0.1:9/efp", renew_url="https://my-eurohpc.example/token", watcher_key=key)
    made = credentials_of(SshTransportSettings(hosts=("h",), watcher="watch", credentials=told), DoorAccess(), "hub")
    assert isinstance(made, FederationAuthority)
    return made


# --- a pause


async def test_a_pause_begins_nothing_and_leaves_what_is_there(world: World, clock: Clock) -> None:
    access_status = stand(world, None, clock)
    await world.put()
    await world.scheduler.answer()
    access_status.pause("We talk to the site first.")
    with pytest.raises(ProblemError) as caught:
        await world.put(OTHER, user="ben")
    assert (caught.value.status, caught.value.problem.message) == (503, "We talk to the site first.")
    assert (await world.session()).state == SessionState.PENDING
    assert world.factories.health("one").state == "draining"
    world.scheduler.runs("1")
    await world.scheduler.answer()
    assert (await world.session()).state == SessionState.STARTING
    access_status.pause(None)
    await world.put(OTHER, user="ben")


async def test_a_pause_holds_for_what_waits_for_its_turn(world: World) -> None:
    turn = asyncio.Event()
    world.scheduler.turn = lambda _person: turn.wait()  # type: ignore[method-assign,assignment]
    asked = asyncio.create_task(world.put(size="gpu-1", hours=1))
    await world.comes(lambda: bool(world.live_sessions))
    world.factories["one"].access_status.pause("Not now.")
    turn.set()
    with pytest.raises(ProblemError):
        await asked
    assert world.scheduler.submitted == []
    assert not world.live_sessions


async def test_a_pause_enters_no_door(clock: Clock) -> None:
    access_status = SiteAccessStatus(None, clock)
    inner = Answers()
    commands, streams = GuardedCommands(inner, access_status), GuardedStreams(inner, access_status)
    access_status.pause("Not now.")
    with pytest.raises(Unreachable, match="Not now"):
        await streams.connect("ada", "node", 1)
    with pytest.raises(Unreachable, match="Not now"):
        await streams.enter("ada", ("srun",))
    await commands.run(Command(("squeue",), str))
    assert inner.asked == ["run"]


async def test_a_pause_is_kept_over_a_restart(world: World) -> None:
    await world.ledger.pause("one", "Until Monday.", AuditEntry("operator", "", "one", "pause"))
    await world.parts.close()
    await world.up()
    paused = world.factories["one"].access_status.paused
    assert paused is not None
    assert paused.what == "Until Monday."


# --- the site's answers


class Answers:
    """A transport that raises the given errors."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def _do(self, what: str) -> Any:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    async def run(self, ask: Any, account: str | None = None) -> Any:
        return await self._do("run")

    async def read(self, account: str | None, path: str, limit: int = 0) -> Any:
        return await self._do("read")

    async def home(self, account: str | None) -> Any:
        return await self._do("home")

    async def connect(self, account: str | None, host: str, port: int) -> Any:
        return await self._do("connect")

    async def enter(self, account: str | None, argv: Any) -> Any:
        return await self._do("enter")

    async def close(self) -> None: ...


@pytest.mark.parametrize(("said", "code"), [(STOPPED, "stopped-by-site"), (OFF_LIST, "off-list")])
async def test_the_sites_no_is_believed_until_it_says_otherwise(clock: Clock, said: str, code: str) -> None:
    access_status, inner, changes = SiteAccessStatus(None, clock), Answers(), []
    access_status.on_change = lambda: changes.append(1)
    transport = GuardedCommands(inner, access_status)
    inner.error = Refused(said)
    for _ in range(2):
        with pytest.raises(Refused):
            await transport.read("ada", "~/x")
    words = access_status.problem("ada")
    assert words is not None
    assert (words.code, words.scheduler) == (code, said)
    assert access_status.problem("ben") is None
    assert access_status.may_submit("ada") is None  # the submission itself asks the site again
    assert len(changes) == 1
    inner.error = None
    await transport.read("ada", "~/x")
    assert access_status.problem("ada") is None
    assert len(changes) == 2


async def test_a_place_on_an_open_connection_is_no_answer_of_the_site(clock: Clock) -> None:
    access_status, inner = SiteAccessStatus(None, clock), Answers()
    commands, streams = GuardedCommands(inner, access_status), GuardedStreams(inner, access_status)
    inner.error = Refused(OFF_LIST)
    with pytest.raises(Refused):
        await commands.read("ada", "~/x")
    inner.error = None
    await streams.connect("ada", "node", 1)
    inner.error = Unreachable("The node does not answer.")
    with pytest.raises(Unreachable):
        await streams.enter("ada", ("srun",))
    words = access_status.problem("ada")
    assert words is not None
    assert words.code == "off-list"
    inner.error = Refused(STOPPED)
    with pytest.raises(Refused):
        await streams.enter("ada", ("srun",))
    words = access_status.problem("ada")
    assert words is not None
    assert words.code == "stopped-by-site"


async def test_an_old_no_is_not_believed_for_ever(clock: Clock) -> None:
    access_status, inner = SiteAccessStatus(None, clock), Answers()
    inner.error = Refused(OFF_LIST)
    with pytest.raises(Refused):
        await GuardedCommands(inner, access_status).read("ada", "~/x")
    clock.now += HEARD_SECONDS + 1
    assert access_status.problem("ada") is None


async def test_other_errors_and_the_watcher_say_nothing_of_an_account(clock: Clock) -> None:
    access_status, inner = SiteAccessStatus(None, clock), Answers()
    transport = GuardedCommands(inner, access_status)
    inner.error = Gone("No such file or directory")
    with pytest.raises(Gone):
        await transport.read("ada", "~/x")
    inner.error = Refused(STOPPED)
    with pytest.raises(Refused):
        await transport.run(Command(("squeue",), str))
    assert access_status.problem("ada") is None


async def test_a_login_that_the_site_does_not_take_is_the_sites_no(clock: Clock) -> None:
    access_status, inner = SiteAccessStatus(None, clock), Answers()
    inner.error = NotLetIn("login.example: the site does not let us in as ada.")
    with pytest.raises(Unreachable):
        await GuardedCommands(inner, access_status).read("ada", "~/x")
    words = access_status.problem("ada")
    assert words is not None
    assert words.code == "off-list"


async def test_a_refused_submission_says_it_in_our_words(world: World, clock: Clock) -> None:
    stand(world, None, clock)
    world.scheduler.refuses = STOPPED
    with pytest.raises(ProblemError) as caught:
        await world.put()
    assert caught.value.problem.code == "stopped-by-site"
    assert "until Friday" in caught.value.problem.scheduler


@pytest.mark.parametrize(
    ("error", "code"), [(NotDone(STOPPED), "stopped-by-site"), (NotLetIn("login: not as ada."), "off-list")]
)
async def test_a_site_that_refuses_at_the_submission_leaves_no_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Unreachable, code: str
) -> None:
    async def submit(*_: object) -> str:
        raise error

    monkeypatch.setattr(world.scheduler, "submit", submit)
    for _ in range(2):  # repeated if the answer was lost
        with pytest.raises(ProblemError) as caught:
            await world.put()
        assert caught.value.problem.code == code
    session = await world.session()
    assert session.state == SessionState.ENDED
    assert session.end is not None
    assert session.end.code == code
    assert not world.live_sessions


async def test_a_submission_that_certainly_failed_leaves_nothing_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def submit(*_: object) -> str:
        raise NotDone("The connection to the site was lost.")

    monkeypatch.setattr(world.scheduler, "submit", submit)
    with pytest.raises(ProblemError) as caught:
        await world.put()
    assert caught.value.status == 503
    assert (await world.session()).state == SessionState.ENDED


# --- the audit


async def test_submit_cancel_and_entry_are_audited_with_the_key(world: World, clock: Clock) -> None:
    access_status = stand(world, Lent(None), clock)
    account = site_account(world.factories["one"].access, "ada")
    assert account is not None
    await access_status.login(account)
    await world.running()
    world.door_is_lost()
    world.door_says(phase="up")
    world.door_is_lost()
    await world.sessions.stop(ID, "person")
    while not world.scheduler.cancelled:
        await asyncio.sleep(0.01)
    await world.scheduler.answer(2)
    await world.until(state=SessionState.ENDED)
    lines = [line for line in await world.ledger.audit("one") if line.action in ("submit", "cancel", "enter")]
    assert [line.action for line in lines] == ["submit", "enter", "enter", "cancel"]
    assert {(line.person, line.account, line.job, line.key_id) for line in lines} == {
        ("ada", account, "1", f"key of {account}")
    }


async def test_pages_of_the_audit(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    await ledger.open()
    for number in range(5):
        await ledger.note(
            AuditEntry("ada", "a", "one" if number % 2 == 0 else "two", "submit", str(number), key_id="k")
        )
    assert [line.job for line in await ledger.audit("one")] == ["0", "2", "4"]
    first = await ledger.audit("one", limit=2)
    assert [line.job for line in await ledger.audit("one", after=first[-1].number)] == ["4"]
    assert await ledger.audit("one", datetime.now(UTC) + timedelta(hours=1)) == []
    await ledger.close()


async def test_an_audit_of_the_first_version_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with sqlite3.connect(path) as old:
        old.executescript((Path(__file__).parent / "recorded" / "ledger" / "version-1.sql").read_text())
    old.close()
    path.chmod(0o600)
    ledger = Ledger(path)
    await ledger.open()
    await ledger.note(AuditEntry("ben", "b", "one", "cancel", "8", key_id="k"))
    assert [(line.job, line.key_id) for line in await ledger.audit("one")] == [(None, ""), (None, ""), ("8", "k")]
    await ledger.close()


def test_the_audit_is_exported() -> None:
    line = AuditLine(
        number=1, at=datetime(2026, 1, 2, tzinfo=UTC), person='=cmd("x")', account="a", factory="one", action="submit",
        job=None, key_id="SHA256:x", detail='two "words", and\nlines',
    )  # fmt: skip
    text = audit.heading("csv") + audit.writer("csv")(line)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows == [
        {
            "number": "1", "at": "2026-01-02T00:00:00Z", "person": "'=cmd(\"x\")", "account": "a", "factory": "one",
            "action": "submit", "job": "", "key_id": "SHA256:x", "detail": 'two "words", and\nlines',
        }
    ]  # fmt: skip
    told = json.loads(audit.writer("jsonl")(line))
    assert told["person"] == '=cmd("x")'
    assert told["job"] is None
    assert audit.heading("jsonl") == ""


# --- the link's socket and the operator's command


async def test_pauses_and_audit_work_over_the_socket(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = tmp_path / "hub.sock"
    app = world.parts.hub_app(recovery=None)  # type: ignore[arg-type]  # not asked here
    async with serving(app, socket):
        client = LinkClient(socket)
        command = partial(asyncio.to_thread, cli.main)
        at = ["--socket", str(socket)]
        assert await command([*at, "factory", "pause", "one", "Until Monday."]) == 0
        assert await world.ledger.pauses() == {"one": "Until Monday."}
        with pytest.raises(LinkProblem, match="Until Monday"):
            await client.put_session(ID, SessionRequest(user="ada", server="", choice=Choice()))
        assert await command([*at, "factory", "resume", "one"]) == 0
        capsys.readouterr()
        assert await command([*at, "audit", "export", "nowhere"]) == 1
        assert "The factory nowhere is not known here." in capsys.readouterr().err
        assert await world.ledger.pauses() == {}
        await client.put_session(ID, SessionRequest(user="ada", server="", choice=Choice()))
        capsys.readouterr()
        assert await command([*at, "audit", "export", "one", "--since", "2026-01-01", "--format", "jsonl"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["action"] for line in lines] == ["pause", "resume", "ask", "submit"]
        assert lines[3]["key_id"] == "local"
        with pytest.raises(LinkProblem) as caught:
            await client.renew("one", "ada", "a-token")
        assert caught.value.status == 403
        await client.close()
