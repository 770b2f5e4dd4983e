"""Exceptions with which a process that serves HTTP refuses a request, and functions that make them."""

from __future__ import annotations

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import Problem

STATUS = {
    "invalid": 400,
    "refused": 400,
    "limit": 403,
    "forbidden": 403,
    "gone": 404,
    "conflict": 409,
    "too-many": 429,
    "draining": 503,
    "unreachable": 503,
}


class ProblemError(Exception):
    """Raised to refuse a request: the app answers with the Problem, and with the HTTP status of the problem's kind."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem

    @property
    def status(self) -> int:
        """Return the HTTP status of the problem's kind."""
        return STATUS[self.problem.kind]


class NoTokenError(ProblemError):
    """Raised with status 401 if a request has no token, or a token that belongs to nobody."""

    status = 401


def too_many(message: str) -> ProblemError:
    """Return the ProblemError for a person who sends too many requests of a kind."""
    return ProblemError(Problem(kind="too-many", message=message, do=N_("Wait a minute, then ask again.")))


def invalid(message: str, field: str | None = None) -> ProblemError:
    """Return the ProblemError for a request with a value that is malformed, unknown or not allowed.

    ``field``: the name of the request's field with this value; None: no single field.
    """
    return ProblemError(Problem(kind="invalid", message=message, field=field))


def gone(what: str) -> ProblemError:
    """Return the ProblemError for something that is not known here. ``what`` names it, such as "The factory lumi"."""
    return ProblemError(
        Problem(kind="gone", message=Message("not-known", "{what} is not known here.").format(what=what))
    )


def forbidden(message: str) -> ProblemError:
    """Return the ProblemError for a request that this person may not make."""
    return ProblemError(Problem(kind="forbidden", message=message))


def limit(message: str, do: str, fits: int | None = None) -> ProblemError:
    """Return the ProblemError for a request that a limit does not allow.

    ``do``: what the person can do; ``fits``: how many of the requested jobs may start now, None: not known.
    """
    return ProblemError(Problem(kind="limit", message=message, do=do, fits=fits))


def conflict(message: str) -> ProblemError:
    """Return the ProblemError for a request that cannot be carried out in the present state."""
    return ProblemError(Problem(kind="conflict", message=message))


def unreachable(message: str, do: str = N_("Try again in a minute."), scheduler: str = "") -> ProblemError:
    """Return the ProblemError for something that cannot be reached or used now, such as a factory or a database.

    ``do``: what the person can do; ``scheduler``: the original error message, "" for none.
    """
    return ProblemError(Problem(kind="unreachable", message=message, do=do, scheduler=scheduler))
