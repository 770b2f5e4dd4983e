"""Makes the seats of a room from the workshop's people and their sessions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from factorycommon.material.steps import KnownStep
from factorycommon.messages import Message, joined
from factorycommon.models import SessionState, Words
from factorycommon.models.messages import Phrase
from factorycommon.models.workshops.sessions import WorkshopSession
from workshops.models.helping import SeatHelp
from workshops.models.room import ClassMessageView, RoomChange, RoomHead, RoomView, SeatActView, SeatView, StepView
from workshops.models.seats import HaltView
from workshops.models.views import Action
from workshops.store.schema import MembershipRecord, WorkshopRecord

_RANK = {  # of several sessions of a person, the room shows the one that comes first here
    SessionState.RUNNING: 0,
    SessionState.STARTING: 1,
    SessionState.UNREACHABLE: 2,
    SessionState.PENDING: 3,
    SessionState.ENDING: 4,
    SessionState.ENDED: 5,
}


@dataclass(frozen=True)
class _Known:
    """What a room shows of the people with seats, by person.

    ``sessions``: the session that the room shows; ``acts``: a start, restart or reset of the seat; ``helped``: the
    raised hand and the notebook that the caller sees; ``not_begun``: why the seat could not be begun.
    """

    sessions: Mapping[str, WorkshopSession]
    acts: Mapping[str, SeatActView]
    helped: Mapping[str, SeatHelp]
    not_begun: Mapping[str, Words]


def room_of(
    workshop: WorkshopRecord,
    people: Sequence[MembershipRecord],
    sessions: Iterable[WorkshopSession],
    *,
    may: tuple[Action, ...] = (),
    names: bool = True,
    trouble: Message | None = None,
    messages: tuple[ClassMessageView, ...] = (),
    halted: HaltView | None = None,
    helped: Mapping[str, SeatHelp] | None = None,
    acts: Mapping[str, SeatActView] | None = None,
    steps: Sequence[KnownStep] = (),
    not_begun: Mapping[str, Words] | None = None,
) -> RoomView:
    """Return a workshop's room: what the page for the people who run the class shows.

    ``people``: the people of the workshop; ``sessions``: the sessions of its project; ``may``: what the caller may do;
    ``names``: whether the caller sees who sits where; ``trouble``: why the sessions may be outdated, or why no seats
    begin; ``messages``: the last messages to the class; ``halted``: why no further seats begin after too many failures;
    ``helped``: by person, what the caller may see of their raised hand, and of the notebook that they let helpers see;
    ``acts``: by person, a start, restart or reset of their seat; ``steps``: the steps of the material; ``not_begun``:
    by person, why their seat could not be begun.
    """
    mine = shown_sessions(sessions)
    holders = {one.seat: one for one in people if one.seat is not None and one.state == "seated"}
    known = _Known(mine, acts or {}, helped or {}, not_begun or {})
    seats = tuple(
        with_steps(_seat(number, holders.get(number), known, names), holders.get(number), mine, len(steps), names)
        for number in range(1, workshop.seats + 1)
    )
    at_steps = [mine[one.person].steps for one in holders.values() if one.person in mine]
    return RoomView(
        slug=workshop.slug,
        title=workshop.title,
        state=workshop.state,
        total=workshop.seats,
        taken=sum(one.taken for one in seats),
        ready=sum(one.ready for one in seats),
        names=names,
        may=may,
        trouble=None if trouble is None else Phrase(text=trouble),
        messages=messages,
        halted=halted,
        steps=tuple(
            StepView(notebook=one.notebook, name=one.name, done=sum(number in done for done in at_steps))
            for number, one in enumerate(steps)
        ),
        seats=seats,
    )


def with_steps(
    seat: SeatView,
    holder: MembershipRecord | None,
    sessions: Mapping[str, WorkshopSession],
    count: int,
    names: bool,
) -> SeatView:
    """Return a seat with the steps that its person has done in the session that the room shows.

    The seat is unchanged if there is no such session, if the material has no steps, or if the caller sees no names.
    ``holder``: the membership of the seat's person, None: nobody has the seat; ``sessions``: the shown session of each
    person; ``count``: the number of steps of the material; ``names``: whether the caller sees names.
    """
    session = None if holder is None else sessions.get(holder.person)
    if session is None or not names or not count:
        return seat
    done = [one for one in session.steps if one < count]
    return seat.model_copy(update={"step": len(done), "step_last": max(done, default=None)})


def shown_sessions(sessions: Iterable[WorkshopSession]) -> dict[str, WorkshopSession]:
    """Return by person the session that the room shows.

    This is the session whose state comes first in ``_RANK``; of several with the same state, the newest.
    """
    found: dict[str, WorkshopSession] = {}
    for one in sessions:
        known = found.get(one.person)
        if known is None or _order(one) < _order(known):
            found[one.person] = one
    return found


def changes(before: RoomView, after: RoomView) -> RoomChange | None:
    """Return what differs between two views of one room; None if nothing does."""
    head_before, head = _head(before), _head(after)
    known = {one.seat: one for one in before.seats}
    seats = tuple(one for one in after.seats if known.get(one.seat) != one)
    if head_before == head and not seats:
        return None
    return RoomChange(head=None if head_before == head else head, seats=seats)


def in_words(words: Words | None) -> str | None:
    """Return an explanation as one English text, with what to do; None if there is no explanation."""
    return None if words is None else str(joined(words.what, words.do))


def _head(room: RoomView) -> RoomHead:
    return RoomHead(**{name: getattr(room, name) for name in RoomHead.model_fields})


def _order(session: WorkshopSession) -> tuple[int, float, str]:
    return _RANK[session.state], -session.created.timestamp(), session.id


def _seat(number: int, holder: MembershipRecord | None, known: _Known, names: bool) -> SeatView:
    if holder is None:
        return SeatView(seat=number)
    session = known.sessions.get(holder.person)
    person = holder.person if names else None
    name = (holder.name or "") if names else ""
    helps = known.helped.get(holder.person, SeatHelp())
    act = known.acts.get(holder.person)
    if session is None:
        why = known.not_begun.get(holder.person) if names else None  # its words may name the person
        return SeatView(
            seat=number,
            taken=True,
            person=person,
            name=name,
            reason=in_words(why),
            words=why,
            act=act,
            hand=helps.hand,
            look=helps.look,
        )
    return SeatView(
        seat=number,
        taken=True,
        person=person,
        name=name,
        server=session.server if names else None,
        session=session.id,
        state=session.state,
        before=session.before,
        ready=session.state == SessionState.RUNNING and session.ready is not None,
        stopping=session.stopping,
        factory=session.factory,
        size=session.size,
        reason=in_words(session.reason),
        words=session.reason,
        end_reason=session.end_reason,
        position=session.position,
        expected_start=session.expected_start,
        started=session.started,
        ends=session.ends,
        ended=session.ended,
        last_activity=session.last_activity,
        busy=session.busy,
        gpu_percent=session.gpu_percent,
        hand=helps.hand,
        look=helps.look,
        act=act,
    )
