"""Decides which seats to ask for now, when to halt, and when warming up has to begin. Pure: no I/O and no clock.

Seats are asked for in waves, at one place (a factory with a node size). A wave has as many seats as the place accepts
in a minute, less the seats that were asked for in the last minute, but at most ``WAVE_MOST`` seats, and no more than
the place has room for. The next wave is asked for when the link has answered for all seats of the last one. If more
than a tenth of a wave, and at least two seats, fail, no more seats are asked for until a trainer or an operator says
to go on, or moves seats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from workshops.models.seats import SeatProgress

WAVE_MOST = 30  # seats of one wave, at the fastest place
MINUTE = timedelta(minutes=1)
AGAIN = timedelta(minutes=1)  # until a seat that failed or was refused is asked for again
ATTEMPTS = 3  # of a seat that fails, until somebody says to go on
HALT_SHARE, HALT_LEAST = 0.1, 2  # a wave with more failures than this share, and at least so many, halts
MARGIN, SPARE = timedelta(minutes=2), 1.25  # added to the time that was measured
LEAST_WARM = timedelta(minutes=5)
MOST_RATE = 600.0  # seats in a minute


@dataclass(frozen=True)
class SeatFacts:
    """What the decision about the next wave must know of one seat.

    ``number``: the seat's number, 0 if ``person`` has none; ``state``: None means that the seat was not requested yet;
    ``wave``: the last wave in which the seat was requested, 0: none; ``asked``: when the seat was last requested, None:
    never; ``attempts``: how many requests count towards ``ATTEMPTS``: the first one, and each one after a failure. This
    count begins again at 0 when a trainer or an operator ends a halt or moves seats.
    """

    person: str
    number: int
    state: SeatProgress | None = None
    wave: int = 0
    asked: datetime | None = None
    attempts: int = 0


@dataclass(frozen=True)
class Pace:
    """What a place (a factory with a node size) allows.

    ``per_minute``: seats that may begin in a minute; ``room``: how many more may begin at all, None: no limit;
    ``open``: whether anything may begin there now.
    """

    per_minute: int
    room: int | None = None
    open: bool = True


@dataclass(frozen=True)
class Halt:
    """A wave of which so many seats failed that no more seats are requested.

    ``wave``: the number of the wave; ``failed``: how many of the wave's seats failed; ``of``: how many seats the wave
    has.
    """

    wave: int
    failed: int
    of: int


@dataclass(frozen=True)
class NextWave:
    """Which seats to request now.

    ``ask``: the people whose seats to request; ``number``: the number of their wave, or if ``ask`` is empty, of the
    last wave (0: none); ``halt``: the wave with so many failures that no seats are requested, None: no halt.
    """

    number: int
    ask: tuple[str, ...] = ()
    halt: Halt | None = None


@dataclass(frozen=True)
class Rate:
    """How fast seats came up at a place.

    ``per_minute``: how many seats came up in a minute, after the first one; ``cold``: the time from the first request
    until the first seat came up.
    """

    per_minute: float
    cold: timedelta


def next_wave(seats: Sequence[SeatFacts], pace: Pace, go_on: datetime | None, now: datetime) -> NextWave:
    """Return which seats of one place to request now.

    ``go_on``: when a trainer or an operator last ended a halt or moved seats, None: never. Seats that were requested at
    this time or earlier, and failed, cause no halt.
    """
    number = max((seat.wave for seat in seats), default=0)
    if (halt := failed_wave(seats, go_on)) is not None:
        return NextWave(number, halt=halt)
    if not pace.open or any(seat.state == SeatProgress.ASKED for seat in seats):
        return NextWave(number)
    recent = sum(seat.asked is not None and now - seat.asked < MINUTE for seat in seats)
    most = min(WAVE_MOST, pace.per_minute - recent)
    if pace.room is not None:
        most = min(most, pace.room)
    waiting = sorted((seat for seat in seats if is_due(seat, now)), key=lambda seat: (seat.number, seat.person))
    ask = tuple(seat.person for seat in waiting[: max(0, most)])
    return NextWave(number + 1 if ask else number, ask)


def is_due(seat: SeatFacts, now: datetime) -> bool:
    """Return whether a seat may be requested now, by its own state and attempts, and the time of its last request.

    The place's pace and halts do not count here.
    """
    if seat.state is None:
        return True
    rested = seat.asked is None or now - seat.asked >= AGAIN
    if seat.state == SeatProgress.FAILED:
        return rested and seat.attempts < ATTEMPTS
    return seat.state == SeatProgress.REFUSED and rested


def failed_wave(seats: Iterable[SeatFacts], go_on: datetime | None) -> Halt | None:
    """Return the last wave of which too many seats failed; None if there is none.

    Only seats that were requested after ``go_on`` count; None: all seats count.
    """
    waves: dict[int, list[SeatFacts]] = {}
    for seat in seats:
        if seat.asked is not None and (go_on is None or seat.asked > go_on):
            waves.setdefault(seat.wave, []).append(seat)
    for number in sorted(waves, reverse=True):
        failed = sum(seat.state == SeatProgress.FAILED for seat in waves[number])
        if failed >= HALT_LEAST and failed > HALT_SHARE * len(waves[number]):
            return Halt(number, failed, len(waves[number]))
    return None


def is_settled(seats: Iterable[SeatFacts]) -> bool:
    """Return whether every seat was requested, and has come up, failed, been refused or ended."""
    return all(seat.state not in (None, SeatProgress.ASKED, SeatProgress.BEGUN) for seat in seats)


def measured(times: Iterable[tuple[datetime, datetime]]) -> Rate | None:
    """Return how fast seats came up; None if fewer than three seats came up.

    ``times``: for each seat that came up, when it was requested and when it could be opened.
    """
    found = sorted(times, key=lambda pair: pair[1])
    if len(found) < 3:
        return None
    span = (found[-1][1] - found[0][1]) / MINUTE
    per_minute = MOST_RATE if span <= 0 else min(MOST_RATE, (len(found) - 1) / span)
    return Rate(max(per_minute, 0.01), max(timedelta(), found[0][1] - min(asked for asked, _ in found)))


def warm_time(seats: int, rate: Rate | None, most: timedelta) -> timedelta:
    """Return the time from the start of the warm-up to the opening: at least ``LEAST_WARM``, but at most ``most``.

    ``rate``: None if nothing was measured yet; then the result is ``most``.
    """
    if rate is None:
        return most
    needed = SPARE * (rate.cold + seats / rate.per_minute * MINUTE) + MARGIN
    return min(most, max(LEAST_WARM, needed))
