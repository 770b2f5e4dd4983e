"""A fake factory and fake doors; a test sets what they do, and when they fail."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from factorycommon.models import (
    Accelerator,
    Agreement,
    Choice,
    End,
    Environment,
    Estimate,
    Factory,
    Health,
    HubRules,
    Job,
    JobRequest,
    JobState,
    MaintenanceView,
    MessageBody,
    NodeShape,
    NodeSize,
    Notice,
    Outcome,
    Partition,
    PartitionLoad,
    Reservation,
    ReservationView,
    Session,
    SessionRequest,
    Words,
)
from factorycommon.models import SiteInfo as Place_
from factorycommon.models.workshops.material import DoorOrder, MaterialReport
from factorygate.material.delivery import deliver
from factorylink.app.assembly import assemble
from factorylink.catalogue.catalogue import Catalogue
from factorylink.config import Access, Hub, Limits, LinkConfig
from factorylink.doors.carriers import Route, Tcp
from factorylink.doors.manager import NO_PORT
from factorylink.doors.protocol import DoorMaterial, read_message
from factorylink.errors import FactoryError, Gone, Refused, Unreachable
from factorylink.jobs.identity import Identity
from factorylink.jobs.ownership import Found, OwnJob, of_one, verify
from factorylink.ledger.ledger import Ledger
from factorylink.projects.book import ProjectTable
from factorylink.schedulers.command import Command, Output
from factorylink.schedulers.dialect import Dialect
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories
from factorylink.util import clock

T = TypeVar("T")
KEY = bytes(range(32))
SIZE = NodeSize(id="gpu-1", gpus=1, cores=4, memory_gb=8, partition="gpu", max_hours=8, billed_as="1 GPU-hour")
INSTEAD = SIZE.model_copy(update={"id": "gpu-2"})  # an operator's replacement for the size
ID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
SCHEDULER = {
    "address": "tls://n7:8786",
    "ca": PEM,
    "certificate": PEM,
    "key": PEM.replace("CERTIFICATE", "PRIVATE KEY"),
}
PATIENCE = 120.0  # seconds; tests must also pass on a loaded machine


def factory(name: str = "one") -> Factory:
    return Factory(
        id=name,
        name=name.title(),
        state="live",
        agreement=Agreement(
            who="The operator",
            when=date(2026, 1, 31),
            contact="help@site.example",
            teaching=("pool_accounts", "wipe", "prestart"),
        ),
        site=Place_(machine="m", host="h", city="c", country="PL"),
        scheduler="slurm",
        accelerator=Accelerator(vendor="NVIDIA", model="A100", memory_gb=40, per_node=4),
        node=NodeShape(cores=16, memory_gb=64),
        partitions=(Partition(name="gpu", max_hours=24),),
        sizes=(SIZE,),
        environments=(Environment(id="plain", title="Plain", kind="venv", python="/opt/venv/bin/python"),),
        outbound="none",
    )


async def _nothing() -> None:
    """Do nothing."""


class FakeScheduler:
    """A site and its scheduler in one object.

    ``jobs_there``: its jobs; ``records``: how jobs ended; ``refuses``: the message with which submissions and
    extensions are refused; ``says_nothing``: they are neither carried out nor answered; ``takes_and_says_nothing``:
    submissions are carried out but not answered; ``cancels_fail``: how many of the next cancel commands get no answer.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.on_answer: Any = None
        self.on_health: Any = None
        self.up = True
        self.jobs: dict[str, Job] = {}
        self.jobs_there: dict[str, Job] = {}
        self.records: dict[str, End] = {}
        self.submitted: list[JobRequest] = []
        self.cancelled: list[str] = []
        self.numbers = itertools.count(1)
        self.refuses = ""
        self.takes_and_says_nothing = False
        self.says_nothing = False
        self.silent_seconds = 0.0
        self.speaks = asyncio.Event()  # if cleared, it accepts no request and answers none until it is set again
        self.speaks.set()
        self.cancels_fail = 0
        self.remembers = False  # True: it lists cancelled jobs for a while, as Slurm does
        self.no_records = False
        self.no_answer_by_id = False
        self.silent: frozenset[str] = frozenset()
        self.known_ids: Callable[[str | None], Iterable[str]] = lambda _account: ()
        self.accounted: dict[str, End] = {}
        self.expected: list[bool] = []
        self.would_start: datetime | None = None
        self.maintained: tuple[MaintenanceView, ...] = ()
        self.out: set[str] = set()  # partitions whose nodes are all out of service
        # by site account, and the account that pays
        self.reserved: dict[tuple[str, str | None], tuple[ReservationView, ...]] = {}
        self.coming: dict[str, tuple[ReservationView, ...]] = {}  # by site account, those that have not begun
        self.windows: dict[str, Reservation] = {}
        self.estimated = 0  # number of requested estimates
        self.extended: list[tuple[str | None, str, int]] = []
        self.settle: Callable[[], Awaitable[None]] = _nothing  # waits until everything that an answer started is done

    @property
    def health(self) -> Health:
        words = None if self.up else Words(code="unreachable", what="It does not answer.")
        return Health(state="ok" if self.up else "unreachable", since=datetime(2026, 1, 1, tzinfo=UTC), words=words)

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    def private_to(self, accounts: Any, once: Iterable[str]) -> None:
        self.asked_once = set(once)

    def check(self) -> None:
        return

    def count_earlier(self, ago: Iterable[float]) -> None:
        self.earlier = list(ago)

    async def turn(self, _person: str) -> None:
        return

    def expect(self, soon: bool) -> None:
        self.expected.append(soon)

    def look(self) -> None:
        return

    def loads_at(self) -> datetime | None:
        """Return the present time."""
        return datetime.now(UTC)

    def view_loads(self) -> tuple[PartitionLoad, ...]:
        return ()

    def maintenance(self) -> tuple[MaintenanceView, ...]:
        return self.maintained

    def reservations(self, account: str, pays: str | None) -> tuple[ReservationView, ...]:
        return self.reserved.get((account, pays), ())

    async def reservations_now(self, account: str, pays: str | None) -> tuple[ReservationView, ...]:
        return (*self.reservations(account, pays), *self.coming.get(account, ()))

    def reservation(self, name: str) -> Reservation | None:
        return self.windows.get(name)

    def fits_now(self, size: NodeSize) -> int:
        return 3

    def all_out(self, partitions: str) -> bool:
        return partitions in self.out

    def position(self, job_id: str) -> int | None:
        return 1

    async def submit(self, account: str, request: JobRequest, template: str, count: int = 1) -> str:
        await asyncio.sleep(self.silent_seconds)
        await self.speaks.wait()
        if self.refuses:
            raise Refused(self.refuses)
        if self.says_nothing:
            raise Unreachable("no answer")
        self.submitted.append(request)
        job = self.add(account, request.name, request.comment)
        if count > 1:  # an array: each job has its index
            whole = self.jobs_there.pop(job)
            for task in range(1, count + 1):
                self.jobs_there[f"{job}_{task}"] = whole.model_copy(update={"id": f"{job}_{task}", "array": job})
        if self.takes_and_says_nothing:
            raise Unreachable("no answer")
        return job

    def add(self, account: str, name: str, comment: str, state: JobState = JobState.PENDING) -> str:
        number = str(next(self.numbers))
        self.jobs_there[number] = Job(
            id=number,
            name=name,
            account=account,
            comment=comment,
            state=state,
            raw_state=state.value.upper(),
            submitted=clock.now(),
        )
        return number

    def set(self, number: str, **values: Any) -> None:
        self.jobs_there[number] = self.jobs_there[number].model_copy(update=values)

    def runs(self, number: str, node: str = "n1", restarts: int = 0) -> None:
        self.set(number, state=JobState.RUNNING, nodes=(node,), started=clock.now(), restarts=restarts)

    async def cancel(self, account: str, jobs: Iterable[OwnJob]) -> dict[str, Found]:
        """Cancel those jobs that are this gateway's, as the real site does; return for each job what was found."""
        if self.cancels_fail:
            self.cancels_fail -= 1
            raise Unreachable("no answer")
        may, told = verify(jobs, list(self.jobs_there.values()))
        for number in may:
            self.cancelled.append(number)
            mine = [job for job in self.jobs_there if job == number or job.startswith(f"{number}_")]
            for job in mine:
                was = self.jobs_there.pop(job)
                if self.remembers:
                    now = clock.now()
                    ended = {
                        "state": JobState.ENDED,
                        "outcome": Outcome.CANCELLED,
                        "raw_state": "CANCELLED",
                        "started": was.started or now,
                    }
                    over = was.state is JobState.ENDED
                    self.jobs_there[job] = was if over else was.model_copy(update=ended | {"ended": now})
        return told

    async def extend(self, account: str | None, job: OwnJob, minutes: int) -> Found:
        if self.says_nothing:
            raise Unreachable("no answer")
        if self.refuses:
            raise Refused(self.refuses)
        may, told = verify([job], list(self.jobs_there.values()))
        if may != [job.id]:
            return of_one(told, job.id)
        self.extended.append((account, job.id, minutes))
        started = self.jobs_there[job.id].started
        assert started is not None
        self.set(job.id, ends=started + timedelta(minutes=minutes))
        return Found.OURS

    async def why_ended(self, account: str, job_id: str) -> End | None:
        if self.no_records:
            raise Unreachable("no answer")
        return self.records.get(job_id)

    async def recorded(self, account: str, job_id: str) -> End | None:
        return self.accounted.get(job_id)

    async def recorded_all(self, account: str, ids: Sequence[str]) -> dict[str, End]:
        return {job: self.accounted[job] for job in ids if job in self.accounted}

    async def estimate(self, account: str, request: JobRequest, template: str) -> Estimate:
        self.estimated += 1
        basis: Literal["none", "test-only"] = "none" if self.would_start is None else "test-only"
        return Estimate(start=self.would_start, basis=basis, asked_at=datetime.now(UTC))

    def knows_ids(self, known: Callable[[str | None], Iterable[str]]) -> None:
        self.known_ids = known

    async def answer(self, times: int = 1, account: str | None = None) -> None:
        """Hand successful answers to the link, as the poller does: the jobs with the gateway's name or with a known id.

        ``account``: the only account whose jobs the answers list; None: they list the jobs of all accounts.
        """
        for _ in range(times):
            known = set(self.known_ids(None))
            self.jobs = {
                number: job
                for number, job in self.jobs_there.items()
                if (job.name == self.identity.job_name or (number in known and not self.no_answer_by_id))
                and account in (None, job.account)
            }
            self.silent = frozenset(known - self.jobs.keys()) if self.no_answer_by_id else frozenset()
            await self.on_answer(list(self.jobs.values()), account)
            await self.settle()


class MortalScheduler(FakeScheduler):
    """A scheduler that can be down: it does nothing and answers nothing then."""

    def must_answer(self) -> None:
        if not self.up:
            raise Unreachable("no answer")

    async def cancel(self, account: str, jobs: Iterable[OwnJob]) -> dict[str, Found]:
        self.must_answer()
        return await super().cancel(account, jobs)

    async def why_ended(self, account: str, job_id: str) -> End | None:
        self.must_answer()
        return await super().why_ended(account, job_id)


class FakeHome:
    """A transport whose files are in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, ...]] = []
        self.fails: FactoryError | None = None

    async def run(self, ask: Command[T], account: str | None = None) -> T:
        if self.fails is not None:
            raise self.fails
        self.asked.append(ask.argv)
        if ask.argv[0] == "tar":
            import io
            import tarfile

            with tarfile.open(fileobj=io.BytesIO(ask.stdin.encode())) as tar:
                for member in tar.getmembers():
                    assert member.mode == (0o700 if member.isdir() else 0o600)
                    if member.isdir():
                        continue
                    file = tar.extractfile(member)
                    assert file is not None
                    self.files[f"{ask.argv[-1]}/{member.name}"] = file.read()
        if ask.argv[0] == "tail":
            found = self.files.get(ask.argv[-1])
            return ask.parse(Output("", "no such file", 1) if found is None else Output(found.decode(), "", 0))
        return ask.parse(Output("", "", 0))

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        if self.fails is not None:
            raise self.fails
        if path not in self.files:
            raise Gone(path)
        return self.files[path][:limit]

    async def home(self, account: str | None) -> str:
        if self.fails is not None:
            raise self.fails
        return f"/home/{account}"

    async def connect(self, account: str | None, host: str, port: int) -> Any:
        raise Unreachable("none of these tests connects")

    async def enter(self, account: str | None, argv: Any) -> Any:
        raise Unreachable("none of these tests enters")

    async def close(self) -> None:
        return


@dataclass
class FakeStatus:
    phase: str = "waiting"
    environment: bool = False
    last_activity: datetime | None = None
    opened: bool = False
    ends: datetime | None = None
    ends_idle: datetime | None = None
    notice: Notice | None = None
    busy: bool = False
    busy_with: tuple[str, ...] = ()
    gpu_percent: int | None = None
    memory_bytes: int | None = None
    steps: tuple[int, ...] = ()

    def model_copy(self, update: dict[str, Any]) -> FakeStatus:
        return replace(self, **update)


@dataclass
class FakeDoors:
    """Doors that open on command."""

    ports: Iterator[int] = field(default_factory=lambda: iter(range(20000, 30000)))
    bound: dict[str, int] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)  # taken by other programs
    kept_open: list[str] = field(default_factory=list)
    nodes: list[str | None] = field(default_factory=list)  # arguments of keep_open
    opened: set[str] = field(default_factory=set)
    closed: list[str] = field(default_factory=list)
    sent: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    argv: dict[str, tuple[str, ...]] = field(default_factory=dict)
    entered: Any = None  # returned by ``enter``
    home: Path = Path()  # material is delivered into a folder for each session below it
    orders: list[tuple[str, DoorOrder]] = field(default_factory=list)
    no_material: str = ""  # why doors refuse material
    asked_to_stop: list[str] = field(default_factory=list)
    messages: list[tuple[str, MessageBody]] = field(default_factory=list)
    told_ends: list[datetime] = field(default_factory=list)
    new_end_fails: bool = False
    notebook_answers: bool = True
    trouble: str = ""

    def allocate(self, used: set[int]) -> int:
        """Return the next port that is not in ``used``; concurrent callers get different ports, as in reality."""
        return next(port for port in self.ports if port not in used)

    async def bind(self, session_id: str, port: int) -> None:
        if port == NO_PORT:
            return
        if port in self.taken:
            raise OSError("taken")
        assert self.bound.get(session_id) == port or port not in self.bound.values()
        self.bound[session_id] = port

    async def open(self, way: Route) -> None:
        self.kept_open.append(way.session)
        self.nodes.append(way.carrier.host if isinstance(way.carrier, Tcp) else None)

    def problem(self, session_id: str) -> str:
        return self.trouble

    async def close(self, session_id: str) -> None:
        self.bound.pop(session_id, None)
        self.opened.discard(session_id)
        self.closed.append(session_id)

    async def shutdown(self) -> None:
        self.bound.clear()

    def is_open(self, session_id: str) -> bool:
        return session_id in self.opened

    async def answers(self, session_id: str, path: str) -> bool:
        return self.notebook_answers

    async def send_environment(self, session_id: str, environment: dict[str, str], argv: Sequence[str]) -> None:
        self.sent.append((session_id, environment))
        self.argv[session_id] = tuple(argv)

    async def enter(self, session_id: str) -> Any:
        if session_id not in self.opened:
            raise Unreachable("The session's door is not open.")
        return self.entered

    async def token(self, session_id: str) -> str | None:
        return "secret-token"

    async def stop(self, session_id: str) -> None:
        self.asked_to_stop.append(session_id)

    async def tell(self, session_id: str, message: MessageBody) -> None:
        self.messages.append((session_id, message))

    async def deliver(self, session_id: str, order: DoorOrder, archive: Path) -> MaterialReport:
        if self.no_material:
            raise Refused(self.no_material)
        self.orders.append((session_id, order))
        home = self.home / session_id
        home.mkdir(parents=True, exist_ok=True)
        found = await asyncio.to_thread(deliver, home, order.name, archive.read_bytes(), order.commit, order.restore)
        return read_message(DoorMaterial, json.dumps(found.as_json())).report()

    async def new_end(self, session_id: str, ends: datetime) -> None:
        self.told_ends.append(ends)
        if self.new_end_fails:
            raise Unreachable("The door did not answer.")


class World:
    """A link with one factory ``one``, whose people share the accounts a and b; everything runs in this process."""

    def __init__(self, folder: Path, extend: Literal["no", "account", "watcher"] = "no", **limits: int) -> None:
        self.folder = folder
        self.identity = Identity("hub", KEY)
        self.scheduler = FakeScheduler(self.identity)
        self.home = FakeHome()
        self.config = LinkConfig(
            catalogue=folder,
            state_dir=folder,
            socket=folder / "link.sock",
            hub=Hub(token_file=folder / "token"),
            limits=Limits(**limits),
            factories={"one": Access(account_pool=("a", "b"), extend=extend)},
        )
        self.table: ProjectTable | None = None
        self.workshops: ProjectTable | None = None
        self.dialect: Dialect = slurm
        # the rules of a hub without its own; None: the hub sends nothing
        self.rules: HubRules | None = HubRules(access=False)

    async def up(self, doors: FakeDoors | None = None) -> World:
        """Start the link; return this object.

        Call this again to get the state that a link finds after it was killed.
        """
        self.doors = doors or FakeDoors()
        self.ledger = Ledger(self.folder / "ledger.sqlite")
        await self.ledger.open()
        access = self.config.factories["one"]
        connection = FactoryConnection(factory(), access, self.scheduler, self.home, None, self.dialect)
        factories = OfferedFactories(self.ledger, {"one": connection}, Catalogue())
        parts = assemble(
            self.config, self.ledger, self.identity, factories, self.doors, "AAAA", self.table, self.workshops
        )  # type: ignore[arg-type]
        self.parts, self.factories = parts, parts.factories
        self.live_sessions, self.live_clusters = parts.live_sessions, parts.live_clusters
        self.people, self.projects, self.charges = parts.people, parts.projects, parts.charges
        self.permissions, self.acceptances = parts.permissions, parts.acceptances
        self.account_leases, self.account_work, self.audit = parts.account_leases, parts.account_work, parts.audit
        self.views, self.feed, self.listener, self.extender = parts.views, parts.feed, parts.listener, parts.extender
        self.sessions, self.session_reconciler = parts.sessions, parts.session_reconciler
        self.clusters, self.cluster_reconciler = parts.clusters, parts.cluster_reconciler
        self.offers, self.leaving = parts.offers, parts.revocation
        if isinstance(self.scheduler, FakeScheduler):
            self.scheduler.settle = self.account_work.settle
        await parts.start()
        if self.rules is not None:
            await self.people.put_rules(self.rules)
        return self

    async def down(self) -> None:
        await self.parts.close()
        await self.ledger.close()

    def limit(self, **limits: int) -> None:
        """Change limits of the running link."""
        vars(self.config.limits).update(limits)

    async def put(self, session_id: str = ID, user: str = "ada", server: str = "", **choice: Any) -> Session:
        request = SessionRequest(user=user, server=server, choice=Choice(**choice))
        return (await self.sessions.put(session_id, request))[0]

    async def session(self, session_id: str = ID) -> Session:
        return await self.sessions.session(session_id)

    async def until(self, session_id: str = ID, **expected: Any) -> Session:
        """Wait until the session's fields have these values; return the session. No event reports background work."""
        deadline = clock.ticks() + PATIENCE
        while clock.ticks() < deadline:
            session = await self.session(session_id)
            if all(getattr(session, name) == value for name, value in expected.items()):
                return session
            await asyncio.sleep(0.005)
        raise AssertionError(f"{expected} did not come: {session}")

    async def answered_until(self, session_id: str = ID, **expected: Any) -> Session:
        """Let the scheduler answer repeatedly until a session's fields have these values; return the session."""
        deadline = clock.ticks() + PATIENCE
        while clock.ticks() < deadline:
            await self.scheduler.answer()
            session = await self.session(session_id)
            if all(getattr(session, name) == value for name, value in expected.items()):
                return session
            await asyncio.sleep(0.005)
        raise AssertionError(f"{expected} did not come: {session}")

    async def comes(self, look: Callable[[], bool]) -> None:
        """Wait until ``look`` returns True; for conditions that no session's state shows."""
        deadline = clock.ticks() + PATIENCE
        while not look():
            assert clock.ticks() < deadline, "it did not come"
            await asyncio.sleep(0.005)

    def door_says(self, session_id: str = ID, **values: Any) -> None:
        self.doors.opened.add(session_id)
        self.listener.on_status(session_id, FakeStatus(**values))

    def door_is_lost(self, session_id: str = ID) -> None:
        self.doors.opened.discard(session_id)
        self.listener.on_status(session_id, None)

    async def running(self, session_id: str = ID, **put: Any) -> Session:
        session = await self.put(session_id, **put)
        assert session.job is not None
        self.scheduler.runs(session.job)
        await self.scheduler.answer()
        self.door_says(session_id, phase="up", environment=True)
        return await self.until(session_id, state="running")
