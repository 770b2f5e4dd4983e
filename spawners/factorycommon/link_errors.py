"""Errors of requests to the link, for the hub's client and the notebook's client."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import ValidationError

from factorycommon.messages import joined
from factorycommon.models.bodies import Problem, ProblemKind

_TRANSIENT = ("unreachable", "draining", "too-many")


class LinkError(Exception):
    """Base class of errors of a request to the link; the text is for a person.

    ``kind``: the kind of the error, ``unreachable`` also if the link did not answer; ``do``: what the person can do, ""
    if nothing; ``scheduler``: the scheduler's own message, or the original message of another error, "" if there is
    none; ``fits``: how many of the requested jobs may start now, None: the link does not say.
    """

    def __init__(
        self, kind: ProblemKind, message: str, do: str = "", scheduler: str = "", fits: int | None = None
    ) -> None:
        super().__init__(joined(message, do))
        self.kind = kind
        self.message = message
        self.do = do
        self.scheduler = scheduler
        self.fits = fits

    @property
    def transient(self) -> bool:
        """Return whether the same request may succeed a little later."""
        return self.kind in _TRANSIENT


class LinkSilent(LinkError):
    """Raised if the link did not answer, failed by a fault of its own (500), or gave an answer that cannot be parsed.

    The link may have done what was requested.
    """

    def __init__(self, message: str, do: str = "") -> None:
        super().__init__("unreachable", message, do)


class LinkProblem(LinkError):
    """Raised if the link refused the request, with a reason.

    ``status``: the HTTP status; ``problem``: the link's answer.
    """

    def __init__(self, status: int, problem: Problem) -> None:
        message, do = problem.as_message("message"), problem.as_message("do")
        super().__init__(problem.kind, message, do, problem.scheduler, problem.fits)
        self.status = status
        self.problem = problem


def read_problem(status: int, content: bytes) -> LinkError:
    """Return the error for a response with an error status.

    LinkSilent if its body is no Problem, or if the link failed by a fault of its own (500); otherwise LinkProblem.
    """
    try:
        error = LinkProblem(status, Problem.model_validate_json(content, extra="ignore"))
    except ValidationError:
        return LinkSilent(f"The gateway answered {status} without words.")
    return LinkSilent(error.message, error.do) if status == HTTPStatus.INTERNAL_SERVER_ERROR else error
