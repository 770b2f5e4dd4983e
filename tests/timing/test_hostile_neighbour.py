"""One person's sessions, files, shell and door send arbitrary data, and so may the scheduler: nobody else is affected.

A real link process uses SSH to a site that this process simulates. After each run of hostile sessions, another person
was always answered within 2 s, the link has grown by less than 50 MiB, every session is still in the ledger, no line of
the log is forged, and the link can restart from its ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
import httpx
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from factorycommon.models import Choice, HubRules, Session, SessionRequest, SessionState
from factorylink.client import LinkClient, LinkProblem, LinkSilent
from factorylink.ledger.ledger import Ledger
from testbed import ports
from tests.support.hostile_site import HONEST, HOSTILE, WATCHER, Bytes, Life, Reply, Site, status
from tests.unit.fake_factory import factory
from tests.unit.fake_hub import FakeHub
from tests.unit.serving import serving
from tests.unit.slurm_output import job_row
from tests.unit.test_link_process import start

T = TypeVar("T")
ANSWER_SECONDS = 2.0
GROWTH = 50 * 2**20  # bytes
SAID_SECONDS, ENDED_SECONDS = 2.0, 3.0  # seconds; sessions that hang longer are left alone
PLAIN = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"
LINE = re.compile(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}} link [A-Z]+ [a-z_.]+: {PLAIN}|    \| {PLAIN}")
FORGED = "2026-11-27 00:00:00,000 link ERROR factorylink: forged"
HUGE = 64 * 2**20

# --- hostile data

moments = st.sampled_from(
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "now"]
)
numbers = st.sampled_from([0, -1, 2**31, 2**63, 2**64, -(2**63), 1e308, -1e308, 1e-9, float("inf"), float("nan")])
texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [f"\n{FORGED}\n", "\x1b[2J\x1b]0;x\x07", "\u2028\u2029\x85\x0b\x0c", "a\x00b", "x" * 5000, "<script>"]
    ),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, moments, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
pieces = st.sampled_from(
    [b"x", b"\n", b"\x0b", b"\x00", b"\xff\xfe", "\u2028".encode(), b"[" * 8, FORGED.encode() + b"\n"]
)
blobs = st.one_of(
    st.builds(Bytes, pieces, st.sampled_from([1, 1000, 100_000])),
    st.builds(lambda piece: Bytes(piece, HUGE // len(piece)), pieces),
    st.builds(Bytes, st.binary(max_size=200), st.just(1)),
)


def mutated(honest: dict[str, Any]) -> st.SearchStrategy[Bytes]:
    """Generate variants of an object as lines of JSON: one to three of its values are replaced, or values are added."""
    names = st.sampled_from([*honest, "notice", "ends", "ends_idle", "last_activity", "memory_bytes", "message", "odd"])
    return st.dictionaries(names, values, min_size=1, max_size=3).map(
        lambda changed: Bytes(json.dumps({**honest, **changed}).encode(errors="surrogatepass") + b"\n")
    )


STATUS = json.loads(status("0" * 32))
DOOR = {"protocol": 1, "session": "0" * 32, "job": "1", "port": 22, "host_key": "ssh-ed25519 " + "A" * 68}
never = st.just(False)
seldom = st.integers(0, 40).map(lambda number: number == 0)


def replies(stdout: st.SearchStrategy[Bytes], hangs: st.SearchStrategy[bool] = never) -> st.SearchStrategy[Reply]:
    """Generate outputs of a command, with an exit code. ``hangs``: generates whether the command never ends."""
    codes = st.sampled_from([0, 0, 0, 1, 75, 126, 127, 255])
    return st.builds(Reply, stdout, st.one_of(st.just(Bytes()), blobs), codes, hangs, st.booleans())


lives = st.builds(
    Life,
    submit=st.one_of(st.none(), st.none(), st.none(), replies(blobs)),
    before=st.one_of(st.none(), st.none(), st.none(), replies(blobs)),
    door=st.one_of(st.none(), st.none(), replies(st.one_of(mutated(DOOR), blobs), seldom)),
    statuses=st.lists(st.one_of(mutated(STATUS), mutated(STATUS), blobs), max_size=3).map(tuple),
    reason=st.one_of(st.none(), texts),
    end=st.one_of(st.none(), replies(st.one_of(mutated({"reason": "failed", "message": "x"}), blobs), seldom)),
    log=replies(blobs, seldom),
    state=st.sampled_from(["COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "CANCELLED", "PREEMPTED"]),
    why=st.text("abcXYZ_ ,.()", max_size=40),
)
foreign = st.builds(
    lambda comment, number, state, at, priority: job_row(
        comment, str(number), state, "stranger", at, started=at, ends=at, priority=priority
    ),
    st.one_of(texts.map(lambda text: text.replace("\x00", "") or "x"), st.just("fg:" + "0" * 32 + ":" + "0" * 16)),
    st.integers(10**6, 10**9),
    st.sampled_from(["PENDING", "RUNNING", "COMPLETING", "FAILED"]),
    st.sampled_from(["0", "1", "1795537715", "99999999999", "N/A"]),
    st.sampled_from(["0", "4294967295", "N/A", ""]),
)


# --- the link and the honest person


class World:
    """A running link, the site, and an honest person with a running session."""

    def __init__(self, folder: Path, site: Site, hub: str) -> None:
        self.folder = folder
        self.site = site
        self.longest = 0.0  # the longest time in seconds that the honest person waited for an answer
        self.begun: list[str] = []  # ids of all sessions that the link accepted
        self._hub = hub
        self._port = ports.single()
        self._log = folder / "log"
        self._process: asyncio.subprocess.Process | None = None
        self._client: LinkClient | None = None
        self._read = 0  # bytes of the log that were checked
        self._url = ""

    @property
    def client(self) -> LinkClient:
        assert self._client is not None
        return self._client

    async def begin(self) -> None:
        """Start the link and the honest person's session; return when the session runs."""
        self._write_config()
        await self.start()
        session = uuid.uuid4().hex
        await self.client.put_session(session, SessionRequest(user=HONEST, server="", choice=Choice(factory="one")))
        self.begun.append(session)
        async for seen in self.client.session_events(session):
            if seen.state is SessionState.RUNNING and seen.url is not None:
                self._url = seen.url
                return

    async def start(self) -> None:
        """Start the link; return when it answers."""
        with self._log.open("ab") as log:
            self._process = await start(self.folder / "link.yaml", log)
        self._client = LinkClient(self.folder / "state" / "hub.sock")
        async with asyncio.timeout(60):
            while True:
                assert self._process.returncode is None, self._log.read_text()[-2000:]
                with contextlib.suppress(LinkSilent):
                    await self.client.put_rules(HubRules(access=False))  # a hub without rules
                    return
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """Kill the link, like a power failure."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()
        await self.client.close()

    @asynccontextmanager
    async def probed(self) -> AsyncIterator[None]:
        """Make the honest person send requests all the time during the block; fail the test if one of them fails.

        The requests are for sessions, for the factories, for an estimated start, and for the notebook.
        """
        headers = {"Authorization": f"token {HONEST}-token"}
        async with httpx.AsyncClient(timeout=30) as http:
            base = f"http://127.0.0.1:{self._port}/services/factories/api"
            asks: list[tuple[Callable[[], Awaitable[httpx.Response]], float]] = [
                (lambda: http.get(f"{base}/sessions?live=true", headers=headers), 0.1),
                (lambda: http.get(f"{base}/factories", headers=headers), 0.1),
                (lambda: http.get(f"{base}/factories/one/estimate?size=gpu-1", headers=headers), 2.5),
                (lambda: http.get(f"{self._url}/user/{HONEST}/api"), 0.1),
            ]
            probing = [asyncio.create_task(self._probe(ask, pause)) for ask, pause in asks]
            try:
                yield
            finally:
                for task in probing:
                    task.cancel()
                outcomes = await asyncio.gather(*probing, return_exceptions=True)
            failed = [outcome for outcome in outcomes if not isinstance(outcome, asyncio.CancelledError)]
            assert not failed, (failed, self._log.read_text()[-2000:])

    async def _probe(self, ask: Callable[[], Awaitable[httpx.Response]], pause: float) -> None:
        while True:
            began = time.monotonic()
            answer = await ask()
            self.longest = max(self.longest, time.monotonic() - began)
            assert answer.status_code == 200, answer.text
            await asyncio.sleep(pause)

    async def live_through(self, lives: list[Life]) -> None:
        """Start these sessions together, let them send all their data, and end them."""
        ids = [uuid.uuid4().hex for _ in lives]
        self.site.lives = dict(zip(ids, lives, strict=True))
        await asyncio.gather(*(self._put(session, number) for number, session in enumerate(ids)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SAID_SECONDS):
                await asyncio.gather(*(life.told.wait() for life in lives))
        for session in ids:
            self.site.end(session)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDED_SECONDS):
                while await self._live():
                    await asyncio.sleep(0.1)
        for left in await self._live():  # sessions that hang
            await self._again(lambda id=left.id: self.client.stop(id))
        self.site.forget()

    async def _live(self) -> list[Session]:
        return await self._again(lambda: self.client.sessions(user=HOSTILE, live=True, limit=100))

    async def _again(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Send a request; return the answer.

        If the link has just closed the idle connection, the request is sent again, as the hub does.
        """
        try:
            return await ask()
        except LinkSilent:
            return await ask()

    async def _put(self, session: str, number: int) -> None:
        request = SessionRequest(user=HOSTILE, server=f"s{number}", choice=Choice(factory="one"))
        with contextlib.suppress(LinkProblem):
            await self._again(lambda: self.client.put_session(session, request))
            self.begun.append(session)

    def memory(self) -> int:
        """Return the link's memory in bytes."""
        assert self._process is not None
        told = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", told)[1]) * 1024  # type: ignore[index]

    def check_log(self) -> None:
        """Assert that every new log line was written by the link, and none was forged."""
        written = self._log.read_bytes()[self._read :]
        written = written[: written.rfind(b"\n") + 1]
        self._read += len(written)
        assert len(written) < 2**20
        lines = written.decode().split("\n")[:-1]
        for number, line in enumerate(lines):
            assert LINE.fullmatch(line), [near[:500] for near in lines[max(0, number - 2) : number + 3]]
            assert not line.startswith(FORGED)

    async def check_ledger(self) -> None:
        """Open a copy of the ledger as a starting link would; assert that every session is there."""
        copy = self.folder / "copy.sqlite"
        for suffix in ("", "-wal"):
            source = self.folder / "state" / f"ledger.sqlite{suffix}"
            if source.exists():
                shutil.copy(source, f"{copy}{suffix}")
        ledger = Ledger(copy)
        await ledger.open()
        try:
            await ledger.live()
            there = {row.id for row in await ledger.recent(limit=100_000)}
            assert set(self.begun) <= there
            assert not ledger.set_aside
        finally:
            await ledger.close()
            for path in self.folder.glob("copy.sqlite*"):
                path.unlink()

    def _write_config(self) -> None:
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700)
        key = asyncssh.generate_private_key("ssh-ed25519")
        for account in (HONEST, HOSTILE, WATCHER):
            path = keys / account
            path.touch(0o600)
            path.write_bytes(key.export_private_key())
        catalogue = self.folder / "factories"
        catalogue.mkdir()
        (catalogue / "one.yaml").write_text(yaml.safe_dump(factory().model_dump(mode="json", exclude_none=True)))
        (self.folder / "token").write_text("token")
        (self.folder / "token").chmod(0o600)
        public = " ".join(self.site.key.export_public_key().decode().split()[:2])
        transport = {
            "kind": "ssh",
            "hosts": [f"127.0.0.1:{self.site.port}"],
            "host_keys": [public],
            "watcher": WATCHER,
            "credentials": {"kind": "key", "keys": "keys"},
            "logins_per_minute": 100,
        }
        config = {
            "catalogue": "factories",
            "state_dir": "state",
            "socket": "state/hub.sock",
            "listen_port": self._port,
            "hub": {"url": self._hub, "token_file": "token"},
            "limits": {"pending_per_person": 1000, "sessions_per_person": 1000},
            "factories": {
                "one": {
                    "accounts": {HONEST: HONEST, HOSTILE: HOSTILE},
                    "transport": transport,
                    "door": {"host": "127.0.0.1"},
                    "submits_per_minute": 6000,
                }
            },
        }
        (self.folder / "link.yaml").write_text(yaml.safe_dump(config))


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    hub = FakeHub()
    async with serving(hub.app) as url, Site().serving() as site:
        made = World(folder, site, url)
        try:
            await made.begin()
            yield made
        finally:
            await made.kill()


@pytest.mark.timeout(3600)
def test_a_hostile_neighbour_is_noticed_by_nobody(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    # numbers of hostile sessions at a time
    runs, together = (100, 100) if request.config.getoption("--long") else (10, 50)
    with asyncio.Runner() as runner:
        context = world(tmp_path)
        made = runner.run(context.__aenter__())
        base: list[int] = []
        failed: list[BaseException] = []

        @settings(
            max_examples=runs,
            phases=[Phase.explicit, Phase.generate],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(
            st.lists(lives, min_size=together, max_size=together),
            st.lists(foreign, max_size=5).map("".join),
            st.lists(replies(blobs), max_size=2),
        )
        def neighbour(lives: list[Life], rows: str, instead: list[Reply]) -> None:
            if failed:  # hypothesis repeats a failed example, which would give another result with a damaged link
                raise failed[0]
            try:
                runner.run(_run(made, lives, rows, instead, base))
            except BaseException as error:
                failed.append(error)
                raise

        try:
            neighbour()
        finally:
            runner.run(context.__aexit__(None, None, None))


async def _run(made: World, lives: list[Life], rows: str, instead: list[Reply], base: list[int]) -> None:
    base += [] if base else [made.memory()]
    made.longest = 0.0
    made.site.rows, made.site.instead = rows, list(instead)
    async with made.probed():
        await made.live_through(lives)
    made.site.rows, made.site.instead = "", []
    assert made.longest < ANSWER_SECONDS
    made.check_log()
    base.append(made.memory())
    # The first run makes the link allocate what so many sessions need; after that it must not grow.
    most = 2 * GROWTH if len(base) == 2 else GROWTH
    first = base[0] if len(base) == 2 else base[1]
    assert base[-1] - first < most, [value >> 20 for value in base]
    await made.check_ledger()
    if len(base) > 5:
        await made.kill()
        await made.start()
        base[:] = [made.memory()]
