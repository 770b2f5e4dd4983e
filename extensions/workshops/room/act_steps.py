"""Decides the next step when a trainer starts, restarts or resets a seat. Pure: no I/O and no clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from workshops.models.room import SeatActKind, SeatActState

PATIENCE = timedelta(minutes=15)  # for a session to end, and for the link to take the new one
NO_SESSION = timedelta(minutes=1)  # until a new session that is nowhere to be seen counts as ended


class NextAct(StrEnum):
    """The next step of an act (start, restart or reset of a seat)."""

    STOP = "stop"  # ask for the end of the old sessions that nobody has asked for yet
    WAIT = "wait"
    BEGIN = "begin"  # ask for the new session
    DELIVER = "deliver"  # bring the material
    DONE = "done"
    LATE = "late"  # the old session has not ended, or the link has not taken the new one: give up
    SILENT = "silent"  # the factory does not answer, so the old session cannot end now: give up
    LOST = "lost"  # the new session ended before it got the material: give up


@dataclass(frozen=True)
class LiveSeat:
    """A session of the seat's person that has not ended.

    ``stopping``: its stop was requested; ``open``: it takes material now; ``silent``: its factory does not answer the
    link.
    """

    id: str
    stopping: bool
    open: bool
    silent: bool = False


def next_act(
    act: SeatActKind,
    state: SeatActState,
    ends: Collection[str],
    moved: datetime,
    live: Collection[LiveSeat],
    now: datetime,
) -> NextAct:
    """Return the next step of an act, which starts, restarts or resets a seat.

    ``act``: which of these three it is; ``state``: how far the act is; ``ends``: the ids of the sessions that must end
    first; ``moved``: when the act came into ``state``; ``live``: the person's sessions that have not ended.
    """
    old = [one for one in live if one.id in ends]
    new = [one for one in live if one.id not in ends and not one.stopping]
    if state == "failed":  # a session that came otherwise is what was wanted
        return NextAct.DONE if new and act != "reset" else NextAct.WAIT
    if state == "delivering":
        if any(one.open for one in new):
            return NextAct.DELIVER
        return NextAct.LOST if not new and now - moved > NO_SESSION else NextAct.WAIT
    if any(one.silent for one in old):
        return NextAct.SILENT
    if now - moved > PATIENCE:
        return NextAct.LATE
    if any(not one.stopping for one in old):
        return NextAct.STOP
    if new and act != "reset":
        return NextAct.DONE  # the person was faster
    return NextAct.WAIT if any(one.stopping for one in live) else NextAct.BEGIN
