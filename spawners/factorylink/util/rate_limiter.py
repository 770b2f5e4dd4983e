"""Limits how often a factory is asked, jobs are submitted, and people request something.

Pure: times are seconds of one clock, intervals are returned in seconds.

There are two opposing goals. The start of a session on an idle cluster must be noticed as fast as by a spawner that
asks for each session every 0.5 s, and 600 waiting sessions must not cost the controller more than 40 RPCs in 30 s. So
questions are frequent for a few seconds after something happened (such as a submission or a cancellation), and then the
interval grows in proportion to the time since that event. Before an expected start, the interval shrinks in proportion
to the time until that start, to 1 s at least. A budget limits the frequent questions, however often something happens.
The budget is larger while few sessions wait, because a spawner that asks every 0.5 s would need 180 RPCs in 30 s for
each of them.

After a burst of submissions, while more than ``FEW`` sessions wait, each answer that shows no job starting or ending
doubles the shortest interval, up to ``PENDING``: the cluster is probably full. An answer that shows such a change sets
the shortest interval back to ``QUICK``.

With more than ``FEW`` waiting sessions, the link asks in 30 s at most 14 questions about its own jobs
(``QuestionRateLimiter``: 8 at once, then one every 4.5 s), two about nodes, and three about the waiting jobs of other
users (two, and an early one because of a new job). Each question takes two RPCs, so these are at most 40 RPCs. Counted
with sdiag on Slurm 24.11: 20 RPCs in the 30 s after a class of 60 was submitted, 16 RPCs after a class of 600 was.
Submissions, estimates and cancellations are not included: a submission takes one RPC, an estimate two, and a
cancellation one for each job, after a question by id.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

QUICK = 0.5  # seconds: the shortest interval
# Seconds: the shortest interval while so many things happen at a time, as while a class is submitted. With ``QUICK``
# this would cost more than the submissions do, and use up the budget before the last jobs start.
EVEN = 2.0
MANY_EVENTS, AT_A_TIME = 8, 1.0  # number of events (each submission is two), seconds
FEW = 8  # sessions; more are many
DOUBLINGS = 4  # how often unchanged answers double ``QUICK`` at most; the result is longer than ``PENDING``
DENSE = 4.0  # seconds after an event in which the shortest interval is used
SLOPE = 0.3  # later: the interval as a share of the time since the event, and of the time until the next expected event
AWAITED = 2.0  # longest interval while somebody waits for the next answer
PENDING = 5.0  # longest interval while jobs wait
# longest interval while jobs have waited long and are not expected soon, while jobs only run, or while someone looks
FAR = 10.0
IDLE = 30.0  # longest interval without jobs, to know whether the factory answers
LONG = 600.0  # seconds after which a job has waited long
SHARE = 0.2  # largest share of time in which a scheduler is busy with our questions

SURVEY = 20.0  # interval for nodes and other people's waiting jobs
LOOKED = 60.0  # seconds for which a look at the factory counts

MINUTE = 61.0  # seconds; a submission reaches the site some moments after its turn, and a site counts 60


@dataclass(frozen=True)
class Awaited:
    """The facts from which ``interval`` decides when the link next asks a factory about this gateway's jobs.

    The comments explain the fields. Times are in seconds.
    """

    pending: int = 0  # number of this gateway's waiting jobs
    running: int = 0
    awaited: bool = False  # True if somebody waits for the next answer
    since_event: float = LONG  # time since a submission, a cancellation or another event
    burst: bool = False  # True if there were ``MANY_EVENTS`` in the last ``AT_A_TIME`` seconds
    # number of answers, each about all jobs, since a job started or ended, and since the latest burst, whose answers
    # count as one; 0 if the last events were not a burst
    unchanged: int = 0
    until_start: float | None = None  # time until the nearest expected start of a waiting job
    watched: bool = False  # True if someone looks at this factory's page
    answer_seconds: float = 0  # usual duration of the last answers
    failures: int = 0  # number of failed questions in a row
    questions: int = 1  # questions that are needed for all jobs: one, or one for each site account


def interval(awaited: Awaited) -> float:
    """Return the seconds from the end of one question about jobs to the start of the next, without jitter."""
    if awaited.failures:
        # People whose session runs there wait for the factory to come back, and only a question can show that.
        return min(FAR if awaited.pending or awaited.running else IDLE, 2.0 ** (awaited.failures - 1))
    wait = IDLE
    if awaited.running or awaited.watched:
        wait = FAR
    if awaited.pending:
        wait = FAR if awaited.since_event >= LONG else PENDING
        if awaited.until_start is not None:
            # A job whose expected start has passed may start at any moment. But plans are often wrong, so do not use
            # the shortest interval.
            wait = min(wait, max(1.0, SLOPE * awaited.until_start))
    if awaited.awaited:
        wait = min(wait, AWAITED)
    if awaited.burst:
        shortest = EVEN
    elif awaited.pending > FEW:
        shortest = QUICK * 2.0 ** min(awaited.unchanged, DOUBLINGS)
    else:
        shortest = QUICK
    wait = min(wait, max(shortest, SLOPE * (awaited.since_event - DENSE)))
    wait = max(QUICK, wait / awaited.questions)
    return min(IDLE, max(wait, awaited.answer_seconds * (1 / SHARE - 1)))


class QuestionRateLimiter:
    """A token bucket for questions to a factory: ``SIZE`` at once; it refills more slowly while many sessions wait."""

    SIZE = 8
    SECONDS_FEW = 1.0
    SECONDS_MANY = 4.5

    def __init__(self) -> None:
        self._left = float(self.SIZE)
        self._at = 0.0

    def wait(self, now: float, pending: int) -> float:
        """Return the seconds until a question may be asked; 0: now. ``pending``: the number of waiting sessions."""
        seconds = self.SECONDS_FEW if pending <= FEW else self.SECONDS_MANY
        self._left = min(self.SIZE, self._left + max(0.0, now - self._at) / seconds)
        self._at = now
        return max(0.0, (1 - self._left) * seconds)

    def take(self) -> None:
        """Count a question, even if the bucket is empty: a question that could not wait delays later ones."""
        self._left -= 1


class TurnRateLimiter:
    """A token bucket for turns, for example to submit a job: ``burst`` at once, then one every ``seconds``.

    ``seconds`` is 60 / ``per_minute``; ``burst`` is a third of ``per_minute``, at least 1. Turns keep the order in
    which they are taken. In any 61 s (``MINUTE``) there are at most ``per_minute`` turns, including those of a burst,
    so the turns after a burst may be delayed. For submissions, the gateway promises this limit to the sites.
    """

    def __init__(self, per_minute: int) -> None:
        self.seconds = 60 / per_minute
        self.burst = max(1, per_minute // 3)
        self._next = float("-inf")  # when the last turn may start; in the past if the bucket has tokens
        self._turns: deque[float] = deque(maxlen=per_minute)  # when the last turns start, the oldest first

    def take(self, now: float) -> float:
        """Take the next turn; return the seconds to wait until it begins. ``now``: the present time in seconds."""
        self._next = max(self._next, now - self.burst * self.seconds) + self.seconds
        at = max(self._next, now)
        if len(self._turns) == self._turns.maxlen:
            at = max(at, self._turns[0] + MINUTE)
            self._next = max(self._next, at)  # later turns keep their order
        self._turns.append(at)
        return at - now


class RateLimiter:
    """A token bucket for each key, such as a person: ``burst`` tokens at once, then ``per_minute`` tokens a minute."""

    def __init__(self, burst: int, per_minute: float) -> None:
        self._seconds = 60 / per_minute
        self._burst = burst
        self._full_at: dict[str, float] = {}

    def wait(self, key: str, now: float) -> float:
        """Take a token from the bucket of ``key`` and return 0.

        If the bucket is empty, take nothing, and return the seconds until it has a token.
        """
        if len(self._full_at) > 1000:
            self._full_at = {known: at for known, at in self._full_at.items() if at > now}
        full_at = max(now, self._full_at.get(key, now)) + self._seconds
        late = full_at - now - self._burst * self._seconds
        if late > 0:
            return late
        self._full_at[key] = full_at
        return 0.0
