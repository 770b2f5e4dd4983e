"""The types of the tables of explanations, and the advice that several explanations share."""

from __future__ import annotations

from typing import NamedTuple

from factorycommon.language import N_
from factorycommon.models import EndReason, Whose, Words


class Move(NamedTuple):
    """Who has to act, and what they can do.

    ``whose``: ``you`` (the person), ``site``, ``operator`` (of the gateway), or ``wait`` if nobody has to act.
    """

    whose: Whose
    do: str


class Answer(NamedTuple):
    """One explanation for users, for example why a job waits. The texts are in English, for translation.

    ``code``: the explanation's id; ``what``: what the user is told; ``move``: who has to act.
    """

    code: str
    what: str
    move: Move

    def words(self, scheduler: str = "") -> Words:
        """Return the explanation as ``Words``; ``scheduler``: the scheduler's own words, which are shown beside it."""
        return Words(code=self.code, what=self.what, do=self.move.do, whose=self.move.whose, scheduler=scheduler)


class Case(NamedTuple):
    """A regular expression for another program's messages, with its explanation; in a table the first match counts."""

    pattern: str
    code: str
    what: str
    move: Move

    @property
    def answer(self) -> Answer:
        """Return the case's explanation, without the pattern."""
        return Answer(self.code, self.what, self.move)


class Ending(NamedTuple):
    """A way in which a session ends: the reason code, and its explanation."""

    reason: EndReason
    answer: Answer


ITSELF = Move("wait", N_("It starts by itself."))
LESS = Move("wait", N_("A smaller size or fewer hours may start earlier."))
GOES_ON = Move("wait", N_("It continues by itself."))
KEPT = Move("wait", N_("Sessions there continue; nothing is lost. The gateway keeps trying."))
ELSEWHERE = Move("you", N_("Choose another size or factory, or try later."))
FEWER_HOURS = Move("you", N_("Cancel it and start again with fewer hours."))
START_OVER = Move("you", N_("Cancel it and start again."))
OWN = Move("you", N_("Stop a session that you no longer need, or wait until one of yours ends."))
PROJECT = Move("you", N_("Ask whoever manages your project at this factory, or choose another project or factory."))
AGAIN = Move("you", N_("Your files are as you saved them. Start a new session to go on."))
ANY_TIME = Move("you", N_("Start again whenever you like."))
NEXT_JOB = Move("wait", N_("The cluster asks for another job if its work still needs one."))
NO_FAULT = Move("you", N_("It was not your doing. Start a new session; your saved files are still there."))
SMALLER = Move(
    "you",
    N_("Start again with a size that has more memory, or load less at once. Your saved files are still there."),
)
ROOM = Move("you", N_("Free some space in your folders at the factory, or ask its support for more. Then start again."))
SITE = Move("site", N_("If it stays like this, write to the factory's support."))
OPERATOR = Move(
    "operator", N_("This will not start as it is. Cancel it and choose another size; tell this gateway's operators.")
)
OTHER_SIZE = Move("operator", N_("Choose another size or factory for now, and tell this gateway's operators."))
TELL = Move("operator", N_("Choose another environment or factory for now, and tell this gateway's operators."))
LOG_TELLS = Move(
    "you", N_("The end of its log, below, may say why. If it happens again, send it to this gateway's operators.")
)
