"""A rehearsal with robots on all seats of a class: picks the next seats, applies the link's answers, sums up. Pure.

The seats begin in the same waves as before a class, except that no seat that failed or was refused is asked for again.
Each robot has one seat. All ids are stored before the link is asked, so a service that is killed begins no seat twice.
The seats end by themselves: their walltime and the window of the rehearsal are short, and the project belongs to the
robots only in that window.
"""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import robot_names
from factorycommon.models.sessions import Words
from factorycommon.models.workshops import LONGEST_REHEARSAL, WorkshopPool
from factorycommon.models.workshops.rehearsal import RehearsalColour, RehearsalFacts, RehearsalPlace
from factorycommon.models.workshops.seats import SeatAnswer, SeatPlace
from factorycommon.service.problems import conflict, limit
from workshops.ending.report import percentile
from workshops.models.rehearsal import (
    MOST_REASONS,
    RehearsalCheck,
    RehearsalLine,
    RehearsedSeat,
    WaveCost,
    WaveReason,
    WaveSummary,
)
from workshops.models.seats import SeatProgress
from workshops.rehearsal import trial
from workshops.seats import waves
from workshops.seats.runner import PERSONAL, room
from workshops.seats.waves import ATTEMPTS, HALT_SHARE, MINUTE, NextWave, Pace, Rate, SeatFacts
from workshops.states import WorkshopState
from workshops.store.schema import WorkshopRecord

HOUR = timedelta(hours=1)
SLACK = timedelta(minutes=3)  # for the link to read that it begins, and for all to end
LEAST_OF_RATE = 1 - HALT_SHARE  # of the seats must have come up, for their rate to count
_NOT_YET = "not-in-workshop"  # the refusal of a robot by a link that has not read the service's last table of projects
_ENDED = (SeatProgress.FAILED, SeatProgress.REFUSED)
_SETTLED = (SeatProgress.RUNNING, *_ENDED)
_OPERATORS = N_("Ask this gateway's operators.")
_LONGER = N_("Warm it up by hand earlier, or ask this gateway’s operators to let classes warm up for longer.")
_AS_ON_THE_DAY = N_("On the day, they are asked for again.")


@dataclass(frozen=True)
class WaveEnd:
    """Why a rehearsal was ended early; with the default values, it was not ended early.

    ``stopped``: the person who stopped the rehearsal, if somebody did. ``state``: the workshop's state; every state
    except scheduled ends the rehearsal. ``left``: the person who has the seats of a rehearsal without robots, if this
    person does not lead or teach the workshop any more.
    """

    stopped: str | None = None
    state: WorkshopState = WorkshopState.SCHEDULED
    left: str | None = None


# --- before it begins


def window(seats: int, per_minute: int) -> timedelta:
    """Return how long a rehearsal with robots takes at most: all seats are requested, come up, and stay for a while.

    ``per_minute``: how many seats may be requested in a minute.
    """
    return math.ceil(seats / per_minute) * MINUTE + trial.LAST_START + trial.STAY + SLACK


def cost(workshop: WorkshopRecord, here: RehearsalPlace) -> WaveCost | None:
    """Return how many seats, minutes and GPU-hours a rehearsal with robots takes at most at a factory.

    Return None if the node size is not in the catalogue any more. ``here``: what the link reports of the factory.
    """
    if here.size is None:
        return None
    lasts = window(workshop.seats, here.seat.per_minute)
    hours = workshop.seats * here.size.gpus * (lasts / HOUR)
    return WaveCost(seats=workshop.seats, minutes=math.ceil(lasts / MINUTE), gpu_hours=hours)


def check(
    workshop: WorkshopRecord, facts: RehearsalFacts, here: RehearsalPlace, pool: WorkshopPool, taken: int
) -> None:
    """Raise ProblemError unless time, seats, connections, accounts, nodes and GPU-hours allow a rehearsal with robots.

    If too little of something is left, the message says how much is missing. ``facts``: what the link reports of the
    workshop; ``here``: what the link reports of the factory; ``taken``: how many seats of the pool other classes, and
    other rehearsals with robots, have during the rehearsal.
    """
    seats, place = workshop.seats, {"machine": here.machine}
    if window(seats, here.seat.per_minute) > LONGEST_REHEARSAL:
        said = Message("wave-long", "At the pace of {machine}, {seats} seats take longer than {hours} hours.")
        hours = f"{LONGEST_REHEARSAL / HOUR:g}"
        raise conflict(said.format(**place, seats=seats, hours=hours))
    if taken + seats > pool.seats:
        said = Message(
            "wave-seats",
            "Other classes have {taken} of the {all} seats at {machine} meanwhile: {missing} are missing.",
        )
        missing = taken + seats - pool.seats
        raise conflict(said.format(**place, taken=taken, all=pool.seats, missing=missing))
    if here.seat.room is not None and here.seat.room < seats:
        said = Message("wave-doors", "The gateway keeps too few connections to {machine}: {missing} are missing.")
        raise limit(said.format(**place, missing=seats - here.seat.room), _OPERATORS)
    _check_accounts(seats, here)
    _check_nodes(seats, here)
    _check_budget(workshop, facts, here)


def _check_accounts(seats: int, here: RehearsalPlace) -> None:
    if not here.robots:
        said = Message("wave-own-accounts", "At {machine} people have accounts of their own, so robots have none.")
        raise conflict(said.format(machine=here.machine))
    if not here.lends:
        return
    if not here.wipes or "wipe" not in here.agreed:
        said = Message("wave-no-wipe", "{machine} lends accounts that cannot be emptied, so robots must not use them.")
        raise conflict(said.format(machine=here.machine))
    if here.lendable is not None and here.lendable < seats:
        said = Message("wave-accounts", "{there} accounts of {machine} are free now: {missing} are missing.")
        raise limit(said.format(machine=here.machine, there=here.lendable, missing=seats - here.lendable), _OPERATORS)


def _check_nodes(seats: int, here: RehearsalPlace) -> None:
    if here.size is None:
        return
    needed, booked = math.ceil(seats / here.size.per_node), here.reservation
    if booked is not None and 0 < booked.nodes < needed:
        said = Message("wave-reserved", "The reservation {name} has {nodes} nodes: {missing} are missing.")
        raise conflict(said.format(name=booked.name, nodes=booked.nodes, missing=needed - booked.nodes))
    if here.size.nodes is not None and here.size.nodes < needed:
        said = Message("wave-nodes", "{machine} has {nodes} nodes of this kind: {missing} are missing.")
        raise conflict(said.format(machine=here.machine, nodes=here.size.nodes, missing=needed - here.size.nodes))


def _check_budget(workshop: WorkshopRecord, facts: RehearsalFacts, here: RehearsalPlace) -> None:
    costs = cost(workshop, here)
    if costs is None or facts.gpu_hours is None:
        return
    left = max(0.0, facts.gpu_hours - facts.spent - facts.reserved)
    if left < costs.gpu_hours:
        said = Message(
            "wave-budget", "It may use {needed} GPU-hours, and {left} of the budget are left: {missing} are missing."
        )
        parts = {"needed": costs.gpu_hours, "left": left, "missing": costs.gpu_hours - left}
        raise conflict(said.format(**{name: f"{value:.4g}" for name, value in parts.items()}))


# --- while it goes on


def begun(slug: str, count: int) -> tuple[RehearsedSeat, ...]:
    """Return the seats of a new rehearsal with robots, with new session ids; no seat is requested yet.

    ``slug``: the workshop's slug; ``count``: the number of seats.
    """
    return tuple(RehearsedSeat(person=name, server="", session=uuid.uuid4().hex) for name in robot_names(slug, count))


def unanswered(seats: Sequence[RehearsedSeat]) -> tuple[RehearsedSeat, ...]:
    """Return the requested seats about which the link must be asked.

    These are the seats that have neither come up nor failed nor been refused.
    """
    return tuple(one for one in seats if one.wave and one.state not in _SETTLED)


def running(seats: Sequence[RehearsedSeat]) -> tuple[RehearsedSeat, ...]:
    """Return the seats that could be opened, and have not ended as far as is known."""
    return tuple(one for one in seats if one.state == SeatProgress.RUNNING)


def next_seats(seats: Sequence[RehearsedSeat], here: SeatPlace, now: datetime) -> tuple[NextWave, list[RehearsedSeat]]:
    """Return which seats of a rehearsal to request now: the decision, and these seats with the number of their wave.

    ``waves.next_wave`` decides, as for a class. Store the seats before the link is asked for them. ``here``: what the
    link reports of the factory.
    """
    pace = Pace(here.per_minute, room(here, ()), here.problem is None)
    decided = waves.next_wave(_facts(seats, now), pace, None, now)
    wanted = set(decided.ask)
    return decided, [one.model_copy(update={"wave": decided.number}) for one in seats if one.person in wanted]


def is_halted(seats: Sequence[RehearsedSeat], now: datetime) -> bool:
    """Return whether so many seats of a wave have failed that no more are asked for."""
    return waves.failed_wave(_facts(seats, now), None) is not None


def after(seat: RehearsedSeat, answer: SeatAnswer, now: datetime) -> RehearsedSeat:
    """Return the seat as it is after the link's answer: refused, failed, running or begun.

    ``now``: when the answer came. A refusal that concerns the robot itself makes the seat refused; any other refusal
    makes the seat failed. But the seat is unchanged if the link may have refused it only because the link has not read
    the newest table of projects yet. A running seat stays running if it cannot be opened for a while.
    """
    if answer.problem is not None and answer.problem.code == _NOT_YET:
        return seat  # it is asked for again
    found = trial.after(seat, answer, now)
    if found.state == SeatProgress.REFUSED and answer.problem is not None and answer.problem.kind not in PERSONAL:
        return found.model_copy(update={"state": SeatProgress.FAILED})
    return found


def has_stayed(seats: Sequence[RehearsedSeat], now: datetime) -> bool:
    """Return whether all seats have come up, failed or been refused, and those that run have stayed for long enough."""
    if not all(one.wave and one.state in _SETTLED for one in seats):
        return False
    return all(one.ran is None or now >= one.ran + trial.STAY for one in running(seats))


def is_late(until: datetime, now: datetime) -> bool:
    """Return whether it is too late for seats to come up and stay. ``until``: the end of the rehearsal's window."""
    return now >= until - trial.STAY - SLACK


def _facts(seats: Sequence[RehearsedSeat], now: datetime) -> list[SeatFacts]:
    """Return the seats as ``waves`` needs them; ``attempts`` is set so that no seat that failed is asked for again."""
    return [
        SeatFacts(
            person=one.person,
            number=number,
            state=_progress(one),
            wave=one.wave,
            asked=(one.asked or now) if one.wave else None,
            attempts=ATTEMPTS,
        )
        for number, one in enumerate(seats, 1)
    ]


def _progress(seat: RehearsedSeat) -> SeatProgress | None:
    """Return the progress of a robot's seat in the form that ``waves`` needs; None: the seat was not requested yet.

    A seat that came up counts as running, whatever happens later. A refused seat counts as over.
    """
    if not seat.wave:
        return None
    if seat.ran is not None:
        return SeatProgress.RUNNING
    return SeatProgress.OVER if seat.state == SeatProgress.REFUSED else seat.state


# --- what it says


def summary(seats: Sequence[RehearsedSeat], *, halted: bool) -> WaveSummary:
    """Return how the seats came up so far. ``halted``: whether too many seats of a wave failed."""
    took = [one.seconds for one in seats if one.seconds is not None]
    asked = [one.asked for one in seats if one.asked is not None]
    last = max((one.ran for one in seats if one.ran is not None), default=None)
    found = rate(seats)
    needed = None if found is None else waves.warm_time(len(seats), found, timedelta(days=1))
    return WaveSummary(
        seats=len(seats),
        asked=sum(one.wave > 0 for one in seats),
        up=len(running(seats)),
        refused=sum(one.state == SeatProgress.REFUSED for one in seats),
        failed=sum(one.state == SeatProgress.FAILED for one in seats),
        p50=percentile(took, 50),
        p95=percentile(took, 95),
        slowest=max(took, default=None),
        seconds=None if last is None else max(0.0, (last - min(asked)).total_seconds()),
        per_minute=None if found is None else found.per_minute,
        warm_minutes=None if needed is None else math.ceil(round(needed / MINUTE, 6)),
        halted=halted,
        reasons=_reasons(seats),
    )


def rate(seats: Sequence[RehearsedSeat]) -> Rate | None:
    """Return how fast the seats came up; None if fewer than three seats, or less than 90 % of the seats, came up."""
    times = [(one.asked, one.ran) for one in seats if one.asked is not None and one.ran is not None]
    return waves.measured(times) if len(times) >= LEAST_OF_RATE * len(seats) else None


def settled(seats: Sequence[RehearsedSeat], end: WaveEnd) -> tuple[RehearsedSeat, ...]:
    """Return the seats of a rehearsal with robots as they count when it is over.

    If the rehearsal was ended early, all seats stay as they are. Otherwise each requested seat that has neither come up
    nor been refused becomes failed.
    """
    return tuple(seats) if end != WaveEnd() else tuple(
        trial.settled([one])[0] if one.wave else one for one in seats
    )  # fmt: skip


def lines(found: WaveSummary, warm_minutes: int, until_minutes: int, end: WaveEnd) -> tuple[RehearsalLine, ...]:
    """Return the lines about the result of a rehearsal with robots.

    ``warm_minutes``: for how many minutes the workshop may warm up; ``until_minutes``: within how many minutes
    after the rehearsal began all seats had to come up; ``end``: why the rehearsal was ended early, if it was.
    """
    return tuple(_lines(found, warm_minutes, until_minutes, end))


def stopped(end: WaveEnd) -> RehearsalLine:
    """Return the line that says why a rehearsal was ended early."""
    match end.state:
        case WorkshopState.SCHEDULED if end.left is not None:
            said = Message(
                "rehearsal-left", "{name} does not lead or teach this workshop any more, so the rehearsal was ended."
            )
            said = said.format(name=end.left)
        case WorkshopState.SCHEDULED:
            said = Message("rehearsal-stopped", "{name} stopped the rehearsal before it was over.")
            said = said.format(name=end.stopped or "–")
        case WorkshopState.DRAFT | WorkshopState.APPROVED:
            said = Message("rehearsal-withdrawn", "The workshop was withdrawn, so the rehearsal was ended.")
        case WorkshopState.CANCELLED:
            said = Message("rehearsal-cancelled", "The workshop was cancelled, so the rehearsal was ended.")
        case _:
            said = Message("rehearsal-warms", "The workshop began to warm up, so the rehearsal was ended.")
    return _line("stopped", "yellow", said)


def _lines(found: WaveSummary, warm_minutes: int, until_minutes: int, end: WaveEnd) -> Iterator[RehearsalLine]:
    if is_early := end != WaveEnd():
        yield stopped(end)
    bad = found.failed + found.refused
    colour: RehearsalColour = "red" if bad > HALT_SHARE * found.seats else "yellow"
    parts = {"up": found.up, "seats": found.seats}
    if found.p50 is None or found.p95 is None or found.slowest is None or found.seconds is None:
        said = Message("wave-none", "None of {seats} seats could be opened.")
        yield _line("wave", "yellow" if is_early else "red", said.format(**parts))
    else:
        said = Message(
            "wave-up",
            "{up} of {seats} seats could be opened: half of them within {half} seconds, 95 % within {most}, the "
            "slowest after {slowest}. All of it took {all} seconds.",
        )
        times = {"half": found.p50, "most": found.p95, "slowest": found.slowest, "all": found.seconds}
        text = said.format(**parts, **{name: math.ceil(value) for name, value in times.items()})
        yield _line("wave", "green" if found.up == found.seats else "yellow" if is_early else colour, text)
    if found.halted:
        said = Message("wave-halted", "More than {percent} % of a wave failed, so no more seats were asked for.")
        yield _line("wave", "red", said.format(percent=round(100 * HALT_SHARE)), _OPERATORS)
    elif found.asked < found.seats and not is_early:
        said = Message("wave-unasked", "{count} seats could not be asked for within {minutes} minutes.")
        yield _line("wave", "red", said.format(count=found.seats - found.asked, minutes=until_minutes), _LONGER)
    if bad:
        said = Message("wave-bad", "{failed} seats did not come up or did not stay, and {refused} were refused.")
        yield _line("wave", colour, said.format(failed=found.failed, refused=found.refused), _AS_ON_THE_DAY)
    for reason in found.reasons:
        said = Message("wave-reason", "{count} seats: {why}")
        text = said.format(count=reason.count, why=reason.why.as_message("what"))
        yield _line("wave", colour, text, reason.why.do)
    if is_early or found.warm_minutes is None:
        return
    parts = {"needed": found.warm_minutes, "minutes": warm_minutes}
    if found.warm_minutes > warm_minutes:
        said = Message(
            "wave-warm-short",
            "So fast, the class must warm up for {needed} minutes, and it does for {minutes} at most.",
        )
        yield _line("warm", "yellow", said.format(**parts), _LONGER)
    else:
        said = Message("wave-warm", "So fast, the class must warm up for {needed} minutes; {minutes} are allowed.")
        yield _line("warm", "green", said.format(**parts))


def _reasons(seats: Sequence[RehearsedSeat]) -> tuple[WaveReason, ...]:
    """Return the most frequent reasons of failures and refusals with their numbers, at most ``MOST_REASONS``."""
    whys: dict[str, Words] = {}
    counted = Counter[str]()
    for one in seats:
        if one.state in _ENDED and one.why is not None:
            whys.setdefault(one.why.what, one.why)
            counted[one.why.what] += 1
    return tuple(WaveReason(count=count, why=whys[what]) for what, count in counted.most_common(MOST_REASONS))


def _line(check: RehearsalCheck, colour: RehearsalColour, text: str, do: str = "") -> RehearsalLine:
    return RehearsalLine(check=check, colour=colour, text=text, do=do)
