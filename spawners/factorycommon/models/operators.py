"""The models of the operators' page and of its orders."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, StrictBool

from factorycommon.models.base import Model, Person, ServerName, SessionId, Slug
from factorycommon.models.bodies import DrainBody
from factorycommon.models.sessions import EndReason, SessionState, Words
from factorycommon.models.views import Health


class BannerBody(DrainBody):
    """Body of ``PUT /banner``: the text that all pages show. ``sessions``: True if open sessions show the text once,
    too."""

    sessions: StrictBool = False


class BannerView(Model):
    """Event ``banner`` of ``GET /table``: the text that all pages show; "" if there is none."""

    text: str = Field("", max_length=500)


class FactoryOverview(Model):
    """The numbers of one factory on the operators' page. ``drained``: the message to people while no session may start
    at this factory; ``paused``: the message while the link does nothing at this factory. Both are None otherwise."""

    id: Slug
    machine: str
    health: Health
    drained: str | None
    paused: str | None
    sessions: dict[SessionState, int]


class WaitingSession(Model):
    """A session that waits, with the reason.

    ``state``: ``pending``, or ``unreachable`` if the factory or the session's door does not answer; ``words``: the
    reason; None if it is not known."""

    id: SessionId
    user: Person
    server: ServerName
    factory: Slug
    size: Slug
    state: SessionState
    since: datetime
    position: int | None
    expected_start: datetime | None
    words: Words | None


class FailureCount(Model):
    """How many sessions of a factory ended for the same reason before their notebook answered. ``last``: the time of
    the newest such end; ``words``: its explanation."""

    factory: Slug
    reason: EndReason
    count: int
    last: datetime
    words: Words | None


class OperatorView(Model):
    """The data of the operators' page.

    ``closed``: the message to people while nothing may start at any factory; ``waiting``: the sessions that have waited
    longest, the longest first; ``more_waiting``: how many waiting sessions are left out; ``failures``: failed starts of
    the last ``hours``."""

    closed: str | None
    banner: str
    factories: tuple[FactoryOverview, ...]
    waiting: tuple[WaitingSession, ...]
    more_waiting: int
    failures: tuple[FailureCount, ...]
    hours: int
