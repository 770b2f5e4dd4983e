"""The errors of a start, with texts that both the hub's API and its pages show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from jupyterhub.spawner import SpawnException
from markupsafe import Markup, escape

from factorycommon.language import N_
from factorycommon.messages import joined
from factorycommon.models import Problem, Session, Words

Kind = Literal[
    "invalid",
    "refused",
    "limit",
    "draining",
    "unreachable",
    "gone",
    "conflict",
    "forbidden",
    "too-many",
    "silent",
    "ended",
]

# A start answers 201, 202, or one of these.
STATUS: dict[Kind, int] = {
    "invalid": 400,
    "refused": 400,
    "limit": 403,
    "forbidden": 403,
    "gone": 503,
    "conflict": 503,  # another start of the same server has begun; in a moment there is a session to adopt
    "draining": 503,
    "unreachable": 503,
    "too-many": 503,
    "silent": 503,
    "ended": 500,
}

_FACTORY_SAID = N_("The factory said:")

LINK_SILENT = Words(
    code="link-silent",
    what=N_("The gateway cannot reach the factories at the moment."),
    do=N_("Running sessions continue. Try again in a moment."),
    whose="operator",
)


NOTHING_TO_ADOPT = Words(
    code="unknown",
    what=N_("This session has ended meanwhile."),
    do=N_("Start a new one; files in the notebook folder are still there."),
    whose="you",
)


STOPPED = Words(
    code="stopped-meanwhile",
    what=N_("Somebody stopped this session while it was starting."),
    do=N_("Start it again if you need it."),
    whose="you",
)

ROBOTS_NAME = Words(
    code="robots-name",
    what=N_("Names that begin with “robot.” are those of robots in rehearsals, so nothing starts for you."),
    do=N_("Ask this gateway's operators for another name."),
    whose="operator",
)

NOT_WRITTEN = Words(
    code="not-written",
    what=N_(
        "The stop could not be recorded: neither the link nor the hub's database answers. The hub keeps trying, but "
        "would forget the stop if it were restarted now."
    ),
    do=N_("Try again in a moment, and look whether it has stopped."),
    whose="operator",
)


class StartFailed(SpawnException):  # type: ignore[misc]  # jupyterhub is untyped
    """Raised if a start failed or was refused.

    ``kind``: the kind of error, which determines the HTTP status (``STATUS``); ``words``: what happened, what to do,
    the scheduler's own words; ``field``: the option at fault, if there is one; ``session``: the session that has ended,
    if there is one. JupyterHub's API answers ``{"status", "message"}`` with ``jupyterhub_message``. Pages show
    ``jupyterhub_html_message``, which also has the end of the session's log.
    """

    def __init__(self, kind: Kind, words: Words, *, field: str | None = None, session: Session | None = None) -> None:
        self.kind = kind
        self.words = words
        self.field = field
        self.session = session
        self.jupyterhub_message = joined(words.as_message("what"), words.as_message("do"), _said(beside(words)))
        self.jupyterhub_html_message = FailureHtml(words, session)
        super().__init__(self.jupyterhub_message, reason=kind, status_code=STATUS[kind])


class AskFirst(Exception):
    """Raised if a URL of the start page has options: these fill in the form, and never start a session by themselves.

    The person has to click *Start*.
    """

    jupyterhub_message = ""
    jupyterhub_html_message = ""


def problem_failed(problem: Problem) -> StartFailed:
    """Return the StartFailed to raise after the link has refused a request with ``problem``."""
    words = Words(
        code=problem.code or problem.kind,
        parameters=problem.parameters,
        what=problem.message,
        do=problem.do,
        whose=problem.whose or "you",
        scheduler=problem.scheduler,
    )
    return StartFailed(problem.kind, words, field=problem.field)


def session_failed(session: Session) -> StartFailed:
    """Return the StartFailed for a session that ended before it could be used."""
    words = session.end or Words(
        code=str(session.end_reason or "ended"), what=N_("The session ended before it could be used."), whose="you"
    )
    return StartFailed("ended", words, session=session)


def beside(words: Words) -> str:
    """Return the scheduler's own words, to be shown next to ``words.what``; "" if ``what`` already contains them."""
    held = " ".join(words.scheduler.split()) in " ".join(words.what.split())
    return "" if held else words.scheduler


def _said(scheduler: str) -> str:
    return joined(_FACTORY_SAID, scheduler) if scheduler else ""


class FailureHtml(str):
    """The explanation of a failed start as HTML, in English; ``translated`` returns it in another language."""

    __slots__ = ("_session", "_words")

    _words: Words
    _session: Session | None

    def __new__(cls, words: Words, session: Session | None) -> FailureHtml:
        """Return the HTML with the texts of ``words``, escaped.

        ``session``: the session that has ended; the HTML also shows the last lines of this session's log. None: no log.
        """
        html = super().__new__(cls, _html(words, session, str))
        html._words, html._session = words, session
        return html

    def translated(self, said: Callable[[str], str]) -> Markup:
        """Return the HTML with its texts translated by ``said`` (``Language.said``)."""
        return _html(self._words, self._session, said)


def _html(words: Words, session: Session | None, said: Callable[[str], str]) -> Markup:
    texts = (said(words.as_message(name)) for name in words.TEXTS)
    parts = [Markup("<p>{}</p>").format(text) for text in texts if text]
    if scheduler := beside(words):
        parts.append(Markup("<p>{}</p><p><code>{}</code></p>").format(said(_FACTORY_SAID), scheduler))
    if session is not None and session.log_tail:
        parts.append(Markup("<pre>{}</pre>").format(escape("\n".join(session.log_tail))))
    return Markup("").join(parts)
