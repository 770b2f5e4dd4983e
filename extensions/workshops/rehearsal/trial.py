"""A rehearsal with three real seats of one person: makes the requests, applies the answers, decides the end. Pure.

The seats run on servers of their own (``rehearsal-1`` to ``-3``) of the person who rehearses. The ids of their sessions
are stored before the link gets a request, so a service that is killed begins no seat twice. The seats end by
themselves: their walltime and the window of the rehearsal are short, and the project belongs to the person only in that
window.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import SessionState
from factorycommon.models.sessions import Words
from factorycommon.models.workshops import REHEARSAL
from factorycommon.models.workshops.seats import SeatAnswer, SeatBody, SeatsBody
from workshops.models.rehearsal import REHEARSED_SEATS, RehearsalLine, RehearsedSeat
from workshops.models.seats import SeatProgress
from workshops.seats import waves
from workshops.seats.waves import Rate
from workshops.store.schema import PlaceRecord

WINDOW = timedelta(minutes=20)  # in which the seats may begin and run
SEAT_HOURS = 0.25  # walltime of a seat
LAST_START = timedelta(minutes=10)  # a seat that cannot be opened by then has failed
STAY = timedelta(minutes=2)  # after the last one could be opened, in which they must stay
# refusals by a link that has not read the service's last table of projects yet
_NOT_YET = frozenset(
    {"project-not-begun", "projects-unknown", "project-not-yours", "project-elsewhere", "not-in-workshop"}
)
_LATE = Words(
    code="rehearsal-late",
    what=Message("rehearsal-late", "It could not be opened within {minutes} minutes.").format(
        minutes=int(LAST_START / timedelta(minutes=1))
    ),
    do=N_("The class needs a reservation, or must warm up earlier."),
    whose="operator",
)


def begun(person: str) -> tuple[RehearsedSeat, ...]:
    """Return the three seats of a rehearsal that begins, with new session ids; no seat is requested yet."""
    numbers = range(1, REHEARSED_SEATS + 1)
    return tuple(
        RehearsedSeat(person=person, server=f"{REHEARSAL}{number}", session=uuid.uuid4().hex) for number in numbers
    )


def asked_for(seats: Sequence[RehearsedSeat], place: PlaceRecord, hours: float, until: datetime) -> SeatsBody:
    """Return the request that asks the link to start these seats, or to report seats that it has started already.

    ``hours``: the walltime of each seat; ``until``: when a seat ends if nobody has opened it.
    """
    return SeatsBody(
        seats=tuple(
            SeatBody(
                session=seat.session,
                person=seat.person,
                server=seat.server,
                factory=place.factory,
                size=place.size,
                environment=place.environment,
                hours=hours,
            )
            for seat in seats
        ),
        unopened_until=until,
    )


def open_seats(seats: Sequence[RehearsedSeat]) -> tuple[RehearsedSeat, ...]:
    """Return the seats that have neither failed nor been refused: the link must still be asked about them."""
    return tuple(one for one in seats if one.state not in (SeatProgress.FAILED, SeatProgress.REFUSED))


def after(seat: RehearsedSeat, answer: SeatAnswer, now: datetime) -> RehearsedSeat:
    """Return the seat as it is after the link's answer: refused, failed, running or begun.

    ``now``: when the answer came. The seat is unchanged if the link refuses it with a code in ``_NOT_YET``, since the
    link may not have read the newest table of projects yet. A running seat stays running if it cannot be opened for a
    while, for example because its job is requeued.
    """
    problem = answer.problem
    if problem is not None:
        if problem.code in _NOT_YET:
            return seat  # it is asked for again
        why = Words(
            code=problem.code,
            parameters=problem.parameters,
            what=problem.message,
            do=problem.do or N_("Ask this gateway's operators."),
            whose=problem.whose or "operator",
            scheduler=problem.scheduler,
        )
        return seat.model_copy(update={"state": SeatProgress.REFUSED, "why": why})
    seat = seat.model_copy(update={"asked": seat.asked or now, "session": answer.live or seat.session})
    if answer.state == SessionState.ENDED:
        return seat.model_copy(update={"state": SeatProgress.FAILED, "why": answer.words})
    if answer.reachable:
        return seat.model_copy(update={"state": SeatProgress.RUNNING, "ran": seat.ran or now})
    if seat.ran is not None:
        return seat  # it could be opened, and its connection is being made again
    return seat.model_copy(update={"state": SeatProgress.BEGUN})


def is_over(seats: Sequence[RehearsedSeat], began: datetime, now: datetime) -> bool:
    """Return whether the rehearsal is over: each seat has failed, been refused or stayed long enough, or time is up.

    ``began``: when the rehearsal began; the time is up ``LAST_START`` later if a seat is still coming up then, else
    ``LAST_START`` plus ``STAY`` later.
    """
    if now >= began + LAST_START + STAY:
        return True
    if not all(one.ran is not None or one.state in (SeatProgress.FAILED, SeatProgress.REFUSED) for one in seats):
        return now >= began + LAST_START
    ran = [one.ran for one in seats if one.ran is not None and one.state == SeatProgress.RUNNING]
    return not ran or now >= max(ran) + STAY


def settled(seats: Sequence[RehearsedSeat]) -> tuple[RehearsedSeat, ...]:
    """Return the seats as they count when the rehearsal is over.

    A seat that is still asked for or begun becomes failed, because it could not be opened in time; all others stay as
    they are.
    """
    late = {"state": SeatProgress.FAILED, "why": _LATE}
    return tuple(
        one.model_copy(update=late) if one.state in (SeatProgress.ASKED, SeatProgress.BEGUN) else one for one in seats
    )


def lines(seats: Sequence[RehearsedSeat], *, unsettled: bool = True) -> tuple[RehearsalLine, ...]:
    """Return a line for each seat of a rehearsal that is over: how long the seat took to come up, or what went wrong.

    ``unsettled``: False leaves out the seats that were stopped while they were still coming up.
    """
    on_their_way = () if unsettled else (SeatProgress.ASKED, SeatProgress.BEGUN)
    return tuple(_line(number, seat) for number, seat in enumerate(seats, 1) if seat.state not in on_their_way)


def rate(seats: Sequence[RehearsedSeat], per_minute: int) -> Rate | None:
    """Return how fast the seats came up, but at most ``per_minute``, the site's pace; None unless all seats came up."""
    times = [(one.asked, one.ran) for one in seats if one.asked is not None and one.ran is not None]
    found = waves.measured(times) if len(times) == len(seats) else None
    return None if found is None else Rate(min(found.per_minute, per_minute), found.cold)


def _line(number: int, seat: RehearsedSeat) -> RehearsalLine:
    if seat.state == SeatProgress.RUNNING and seat.seconds is not None:
        said = Message("rehearsal-seat", "Seat {number} could be opened after {seconds} seconds.")
        text = said.format(number=number, seconds=round(seat.seconds))
        return RehearsalLine(check="seat", colour="green", text=text)
    if seat.ran is not None:
        said = Message("rehearsal-seat-broke", "Seat {number} could be opened, and then ended: {why}")
    elif seat.state == SeatProgress.REFUSED:
        said = Message("rehearsal-seat-refused", "Seat {number} was refused: {why}")
    else:
        said = Message("rehearsal-seat-failed", "Seat {number} did not come up: {why}")
    why = seat.why
    text = said.format(number=number, why="–" if why is None else why.as_message("what"))
    return RehearsalLine(check="seat", colour="red", text=text, do="" if why is None else why.do)
