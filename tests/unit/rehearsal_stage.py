"""A workshop that is rehearsed over a fake link, and the link's answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from factorycommon.models import Model, Problem
from factorycommon.models.sessions import EndReason, SessionState, Words
from factorycommon.models.workshops.rehearsal import (
    BookedNodes,
    RehearsalFacts,
    RehearsalPlace,
    RehearsedEnvironment,
    RehearsedSize,
)
from factorycommon.models.workshops.seats import SeatAnswer, SeatBody, SeatPlace, SeatPlaces, SeatsBody
from tests.unit.workshops_world import BEGIN, TINA, WorkshopsWorld
from workshops.link import LinkAway, LinkMismatch
from workshops.models.rehearsal import RehearsalBody, RehearsalsView
from workshops.rehearsal.service import Rehearsals

SECRET = b"r" * 32
HOUR = timedelta(hours=1)
OPENS = BEGIN + timedelta(days=2)
SEATS = RehearsalBody(kind="seats")


def at(factory: str = "one", **fields: Any) -> RehearsalPlace:
    """Return what the link reports about a factory for rehearsals, with nothing wrong. ``fields``: replace fields."""
    given = {
        "seat": SeatPlace(factory=factory, per_minute=60),
        "machine": "Machine",
        "size": RehearsedSize(id="gpu-1", gpus=1, max_hours=8, per_node=4, digest="1" * 64),
        "environments": (RehearsedEnvironment(id="plain", live=True, fits=True, digest="2" * 64),),
        "default": "plain",
        "agreed": ("pool_accounts", "wipe", "prestart"),
        "agreement": "3" * 64,
        "lends": False,
        "wipes": True,
        "asked": BEGIN,
        "reservation": BookedNodes(name="r1", start=OPENS - HOUR, end=OPENS + 6 * HOUR, nodes=2),
        **fields,
    }
    return RehearsalPlace.model_validate(given)


class RehearsedLink:
    """A link with one factory, which begins each seat once.

    ``runs``, ``ended``, ``refused``: the servers or robots whose notebook answers, whose session has ended, or whose
    start is refused; ``refuses``: the refusal of every start; ``rehearses``: whether the link has read the table of
    projects; ``budget``: what the link reports about the budget; ``older``: the link does not know how to begin seats;
    ``away``: it does not answer; ``loses``: how many of the next answers about seats get lost.
    """

    there = True

    def __init__(self) -> None:
        self.here = at()
        self.begun: set[str] = set()
        self.stopped: list[str] = []
        self.bodies: list[SeatsBody] = []
        self.runs: set[str] = set()
        self.ended: set[str] = set()
        self.refused: set[str] = set()
        self.refuses: Problem | None = None
        self.rehearses = True
        self.budget: dict[str, float] = {}
        self.held: list[dict[str, int]] = []
        self.away = False
        self.older = False
        self.loses = 0

    async def get(self, shape: TypeAdapter[Any], project: str, path: str, seconds: float = 0) -> Any:
        if self.away:
            raise LinkAway
        if path == "/seats":
            return SeatPlaces(places=(self.here.seat,), rehearses=self.rehearses)
        assert path == "/rehearsal"
        given: dict[str, Any] = {"spent": 0, "reserved": 0, **self.budget}
        return RehearsalFacts(release="1", places=(self.here,), **given)

    async def put(self, shape: TypeAdapter[Any], project: str, path: str, body: Any) -> Any:
        assert path == "/hold"
        self.held.append(body.accounts)
        return SeatPlaces(places=(self.here.seat,), rehearses=self.rehearses)

    async def post(
        self, shape: TypeAdapter[Any], project: str, path: str, body: Model | None = None, seconds: float = 0
    ) -> Any:
        if self.away:
            raise LinkAway
        if path.endswith("/stop"):
            self.stopped.append(path.split("/")[2])
            return None
        if self.older:
            raise LinkMismatch
        assert isinstance(body, SeatsBody)
        self.bodies.append(body)
        answers = [self.answer(seat) for seat in body.seats]
        if self.loses:
            self.loses -= 1
            raise LinkAway
        return shape.validate_python({"seats": answers})

    def answer(self, seat: SeatBody) -> SeatAnswer:
        session, name = seat.session, seat.server or seat.person
        if self.refuses is not None or name in self.refused:
            problem = self.refuses or Problem(kind="forbidden", message="Not you.", code="blocked")
            return SeatAnswer(session=session, answer="refused", problem=problem)
        answer: Any = "there" if session in self.begun else "begun"
        self.begun.add(session)
        if name in self.ended:
            words = Words(code="x", what="It broke.", do="Look.")
            return SeatAnswer(session=session, answer=answer, live=session, state=SessionState.ENDED,
                              end_reason=EndReason.FAILED, words=words)  # fmt: skip
        runs = name in self.runs
        state = SessionState.RUNNING if runs else SessionState.PENDING
        return SeatAnswer(session=session, answer=answer, live=session, state=state, reachable=runs)


class Stage:
    """A scheduled workshop of tina's, and rehearsals of it over a fake link."""

    def __init__(self, world: WorkshopsWorld, slug: str) -> None:
        self.world, self.slug, self.link = world, slug, RehearsedLink()
        self.restart()

    def restart(self) -> None:
        """Begin with nothing in memory, as a service that was killed."""
        world = self.world
        self.rehearsals = Rehearsals(
            world.workshops, world.store, self.link, world.pools, SECRET, world.clock  # type: ignore[arg-type]
        )  # fmt: skip
        world.clockwork._rehearsals = self.rehearsals.windows

    async def begin(self, body: RehearsalBody = SEATS, caller: Any = TINA) -> RehearsalsView:
        return await self.rehearsals.begin(caller, self.slug, body)

    async def look(self, **later: float) -> Any:
        """Let time pass; return the rehearsal of the kind ``seats``, with a trainer's seats, at plan A.

        ``later``: the time that passes, as keywords of ``timedelta``.
        """
        self.world.clock.forward(**later)
        await self.rehearsals.look()
        return (await self.rehearsals.view(TINA, self.slug)).places[0].seats

    async def ready(self) -> bool:
        workshop = await self.world.store.get(self.slug)
        assert workshop is not None
        return await self.rehearsals.ready(workshop, 1)

    async def project(self) -> Any:
        """Return the workshop's project as the link would have it now."""
        await self.world.clockwork.look()
        (found,) = self.world.table().projects
        return found.project(self.world.pools.pools(), self.world.clock())[0]
