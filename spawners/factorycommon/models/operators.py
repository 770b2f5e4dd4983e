"""The data of the operators' page, and the body of the order that sets the banner."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, StrictBool

from factorycommon.models.base import Model, Moment, Occupant, ServerName, SessionId, Slug
from factorycommon.models.bodies import DrainBody
from factorycommon.models.sessions import EndReason, SessionState, Words
from factorycommon.models.views import Health


class BannerBody(DrainBody):
    """The body of ``PUT /banner``: the message that all pages show.

    ``sessions``: whether the sessions that run now also show the message, once; ``until``: when the banner ends by
    itself, None if it stays until an operator removes it.
    """

    sessions: StrictBool = False
    until: Moment | None = None


class BannerView(Model):
    """The event ``banner`` of ``GET /table``: the message that all pages show; "" means no message.

    ``until``: when pages stop showing the message, None: never.
    """

    text: str = Field("", max_length=500)
    until: Moment | None = None

    def shown(self, now: datetime) -> str:
        """Return the message that pages show at the time ``now``; "" means none."""
        return self.text if self.until is None or now < self.until else ""


class ReasonCount(Model):
    """The number of sessions that wait for the same reason.

    ``words``: the reason, as the page of one of these sessions shows it; None if no reason is known.
    """

    words: Words | None
    count: int


class FactoryOverview(Model):
    """The present numbers of a factory.

    ``drained``: the operator's message while this factory itself is drained, else None. A drain of the whole gateway is
    in ``OperatorView.closed`` only. ``paused``: the operator's message while this factory is paused, else None. During
    a drain, the link refuses new sessions, clusters and workers. During a pause, the link also submits nothing, makes
    no session longer and connects to no further door. ``waits``: the most frequent reasons why sessions wait there or
    do not answer; ``other_waits``: the number of sessions that wait or do not answer for other reasons.
    """

    id: Slug
    machine: str
    health: Health
    drained: str | None
    paused: str | None
    sessions: dict[SessionState, int]
    waits: tuple[ReasonCount, ...] = ()
    other_waits: int = 0


class WaitingSession(Model):
    """A session that waits, with the reason.

    ``state``: ``pending``, ``starting`` or ``unreachable`` (see ``SessionState``); an ``unreachable`` session may have
    been running before; ``since``: when the session was requested; ``position``: its job's place in the queue, 1 is
    next, None if it is not known; ``words``: the reason; None if it is not known.
    """

    id: SessionId
    user: Occupant
    server: ServerName
    factory: Slug
    size: Slug
    state: SessionState
    since: datetime
    position: int | None
    expected_start: datetime | None
    words: Words | None


class FailureCount(Model):
    """How many starts of sessions at a factory failed for the same reason, in the last ``OperatorView.hours`` hours.

    A start has failed if the session ended before its notebook or Dask scheduler answered. Ends with the reasons
    ``stopped``, ``gave-up`` and ``moved`` do not count. If a job was requeued, answers before the requeue do not count.
    ``last``: when the newest of the counted sessions ended; ``words``: the explanation of its end, None if there is
    none.
    """

    factory: Slug
    reason: EndReason
    count: int
    last: datetime
    words: Words | None


class OperatorView(Model):
    """The data of the operators' page.

    ``closed``: the message to people while the whole gateway is drained, so that nothing may start at any factory, else
    None; ``banner``: the message that all pages show, "" if there is none; ``waiting``: the waiting sessions, in the
    order in which they were requested; ``more_waiting``: how many newer waiting sessions are left out; ``failures``:
    the failed starts of the last ``hours`` hours.
    """

    closed: str | None
    banner: str
    banner_until: Moment | None = None
    factories: tuple[FactoryOverview, ...]
    waiting: tuple[WaitingSession, ...]
    more_waiting: int
    failures: tuple[FailureCount, ...]
    hours: int
