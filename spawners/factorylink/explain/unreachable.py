"""Has the explanations why a factory's state is unknown, by code, and patterns that find a message's code.

The patterns are for messages of connections and of commands. The dialects' own patterns (``schedulers/*/words.py``) are
tried first.
"""

from __future__ import annotations

from factorycommon.language import N_
from factorylink.explain.table import KEPT, Answer, Move

_OPERATOR = Move("operator", N_("Sessions there continue; nothing is lost. The gateway's operators have to mend this."))

UNREACHABLE: tuple[Answer, ...] = (
    Answer("silent", N_("The factory is not answering."), KEPT),
    Answer("rate-limit", N_("The factory's scheduler is asked too often at the moment."), KEPT),
    Answer("controller-busy", N_("The factory's scheduler is busy."), KEPT),
    Answer(
        "controller-down",
        N_("The factory's scheduler is not answering."),
        Move("site", N_("Sessions there continue; nothing is lost. The gateway keeps trying.")),
    ),
    Answer("cut", N_("The network between the gateway and the factory is interrupted."), KEPT),
    Answer("commands-missing", N_("The gateway cannot run the factory's scheduler commands."), _OPERATOR),
    Answer("authentication", N_("The factory does not accept the gateway's login."), _OPERATOR),
    Answer("misread", N_("The factory's answer was not understood."), _OPERATOR),
)
# Patterns that match anywhere in an error's text; the first match counts.
WORDS: tuple[tuple[str, str], ...] = (
    (r"does not let us in as", "authentication"),  # first, since other hosts may have failed in other ways
    (r"gave no answer within|timed? ?out|no connection within|not begun within", "silent"),
    # of a login host, by the full stop of ``transports/ssh/login.py``; a scheduler's command writes none
    (r": (connection refused|host is down)\.", "silent"),
    (r"rate limit", "rate-limit"),
    (r"standby|slow to|busy", "controller-busy"),
    (
        r"unable to contact|connection refused|connect failure|is DOWN|controller|Communication"
        r"|munge|protocol authentication",
        "controller-down",
    ),
    (
        r"network is unreachable|no route|name or service|name resolution|connection .*lost|reset by peer|broken pipe",
        "cut",
    ),
    (r"could not be run|command not found|no such file", "commands-missing"),
    (r"authenti|credential|permission denied", "authentication"),
    (r"not understood|not a row|unknown here|no job id|more than", "misread"),
)
