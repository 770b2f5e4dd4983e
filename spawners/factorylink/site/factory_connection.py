"""What the sessions' lifecycle needs of a site and of the doors: small protocols, so that each can be tried alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from factorycommon.models import (
    End,
    Estimate,
    Factory,
    Health,
    Job,
    JobId,
    JobRequest,
    MaintenanceView,
    MessageBody,
    NodeSize,
    Notice,
    PartitionLoad,
    ReservationView,
    SessionId,
)
from factorylink.config import Access
from factorylink.doors.carriers import Route
from factorylink.doors.connection import Stream
from factorylink.jobs.ownership import Found, OwnJob
from factorylink.schedulers.dialect import Dialect
from factorylink.transports.access_status import SiteAccessStatus
from factorylink.transports.base import Transport


class SiteSeam(Protocol):
    """``site.Site`` as the lifecycle sees it. Its methods raise the four errors of ``factorylink.errors``."""

    on_answer: Callable[[list[Job], str | None], Awaitable[None]]
    on_health: Callable[[], None]

    @property
    def health(self) -> Health:
        """As the last answers have it."""
        ...

    @property
    def jobs(self) -> dict[JobId, Job]:
        """The last successful answer."""
        ...

    async def start(self) -> None:
        """Ask from now on."""
        ...

    async def stop(self) -> None:
        """Ask no longer."""
        ...

    def private_to(self, accounts: Callable[[], Iterable[str]], once: Iterable[str]) -> None:
        """Who has live sessions, and who is to be asked once in any case, where accounts see only their own jobs."""
        ...

    @property
    def silent(self) -> frozenset[JobId]:
        """Ids that the last answer lacks, and about which the scheduler did not answer when asked by id."""
        ...

    def knows_ids(self, known: Callable[[str | None], Iterable[JobId]]) -> None:
        """Have jobs watched by their ids; ``known``: the ids of a site account's jobs, None: of all."""
        ...

    def expect(self, soon: bool) -> None:
        """Whether somebody waits for the next answer."""
        ...

    def look(self) -> None:
        """Somebody looks at what is free."""
        ...

    def loads_at(self) -> datetime | None:
        """Of when ``view_loads`` is."""
        ...

    def view_loads(self) -> tuple[PartitionLoad, ...]:
        """What is free, by partition."""
        ...

    def fits_now(self, size: NodeSize) -> int:
        """How many of that size could start now."""
        ...

    def all_out(self, partitions: str) -> bool:
        """True if every node of these is out of use."""
        ...

    def maintenance(self) -> tuple[MaintenanceView, ...]:
        """Those that come, or are: the next one first."""
        ...

    def reservations(self, account: str, pays: str | None) -> tuple[ReservationView, ...]:
        """Those that a site account may use now, with jobs that the scheduler's account ``pays``."""
        ...

    async def reservations_now(self, account: str, pays: str | None) -> tuple[ReservationView, ...]:
        """The same, where the site may be asked first."""
        ...

    def position(self, job_id: JobId) -> int | None:
        """1 is next, among the pending jobs of its partition."""
        ...

    async def turn(self) -> None:
        """Return when a submission may be begun. Raises Unreachable where it would surely fail."""
        ...

    async def submit(self, account: str, request: JobRequest, template: str, count: int = 1) -> JobId:
        """Hand a job over, or an array of so many; its id."""
        ...

    async def cancel(self, account: str, jobs: Iterable[OwnJob]) -> dict[JobId, Found]:
        """Cancel those jobs that a fresh answer shows to be ours; what it shows under each id."""
        ...

    async def extend(self, account: str | None, job: OwnJob, minutes: int) -> Found:
        """Give a running job that many minutes in all, if a fresh answer shows it to be ours; what it shows."""
        ...

    async def why_ended(self, account: str, job_id: JobId) -> End | None:
        """How a job ended; None: nothing is recorded."""
        ...

    async def recorded(self, account: str, job_id: JobId) -> End | None:
        """The same by the site's accounting alone, which tells who cancelled it."""
        ...

    async def recorded_all(self, account: str, ids: Sequence[JobId]) -> dict[JobId, End]:
        """The same of several, of those that it knows."""
        ...

    async def estimate(self, account: str, request: JobRequest, template: str) -> Estimate:
        """When such a job would start."""
        ...


class DoorStatusSeam(Protocol):
    """What a door says of its session."""

    @property
    def phase(self) -> str:
        """waiting, launching, up, ending or ended."""
        ...

    @property
    def environment(self) -> bool:
        """Whether it was handed over."""
        ...

    @property
    def last_activity(self) -> datetime | None:
        """Of the notebook."""
        ...

    @property
    def ends(self) -> datetime | None:
        """By walltime, as the door knows it."""
        ...

    @property
    def ends_idle(self) -> datetime | None:
        """When the idle limit would end it."""
        ...

    @property
    def notice(self) -> Notice | None:
        """What will end it soon."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a kernel or terminal runs something."""
        ...

    @property
    def busy_with(self) -> tuple[str, ...]:
        """Names of those, as far as known."""
        ...

    @property
    def gpu_percent(self) -> int | None:
        """How busy the busiest GPU was in the last minute."""
        ...

    @property
    def memory_bytes(self) -> int | None:
        """In use."""
        ...


class DoorsSeam(Protocol):
    """``doors.DoorKeeper`` as the lifecycle sees it."""

    def allocate(self, used: set[int]) -> int:
        """A port that is not used."""
        ...

    async def bind(self, session_id: SessionId, port: int) -> None:
        """Listen on the session's port. Raises OSError."""
        ...

    async def open(self, way: Route) -> None:
        """Keep the door open from now on."""
        ...

    async def close(self, session_id: SessionId) -> None:
        """Let go of door and port."""
        ...

    async def shutdown(self) -> None:
        """Let go of all doors and ports; the notebooks go on."""
        ...

    def is_open(self, session_id: SessionId) -> bool:
        """Whether a request gets to the node now."""
        ...

    def problem(self, session_id: SessionId) -> str:
        """Why the door is not open, in the words of who tried; "": nothing is known."""
        ...

    async def answers(self, session_id: SessionId, path: str) -> bool:
        """Whether the notebook answers 200 there."""
        ...

    async def send_environment(self, session_id: SessionId, environment: dict[str, str], argv: Sequence[str]) -> object:
        """Hand it through the door; it starts the notebook."""
        ...

    async def enter(self, session_id: SessionId) -> Stream:
        """A channel to the session's socket."""
        ...

    async def token(self, session_id: SessionId) -> str | None:
        """The hub token that the notebook has."""
        ...

    async def stop(self, session_id: SessionId) -> object:
        """Ask the session to end by itself."""
        ...

    async def new_end(self, session_id: SessionId, ends: datetime) -> object:
        """Tell the session when its time is over."""
        ...

    async def tell(self, session_id: SessionId, message: MessageBody) -> object:
        """Show it to whoever is in the session."""
        ...


@dataclass(frozen=True)
class FactoryConnection:
    """A factory with the way to it."""

    factory: Factory
    access: Access
    site: SiteSeam
    transport: Transport
    dialect: Dialect
    access_status: SiteAccessStatus = field(default_factory=SiteAccessStatus)
