"""Makes the errors with which the link refuses requests; re-exports those that all HTTP services share."""

from __future__ import annotations

from factorycommon.models import Problem, ProblemKind, Words
from factorycommon.service.problems import (
    STATUS,
    ProblemError,
    conflict,
    forbidden,
    gone,
    invalid,
    limit,
    too_many,
    unreachable,
)
from factorylink.errors import FactoryError, Gone, Refused
from factorylink.explain import explain

__all__ = [
    "STATUS",
    "ProblemError",
    "conflict",
    "draining",
    "forbidden",
    "from_link_error",
    "gone",
    "invalid",
    "limit",
    "of_words",
    "refused",
    "too_many",
    "unreachable",
    "words_of",
]


def of_words(kind: ProblemKind, words: Words, field: str | None = None, fits: int | None = None) -> ProblemError:
    """Return a ProblemError with the texts, code and parameters of ``words``.

    ``field``: the form's field at fault, if there is one; ``fits``: how many of the requested jobs may start, None: the
    problem says nothing about this.
    """
    return ProblemError(
        Problem(
            kind=kind,
            message=words.what,
            field=field,
            do=words.do,
            scheduler=words.scheduler,
            code=words.code,
            parameters=words.parameters,
            whose=words.whose,
            fits=fits,
        )
    )


def words_of(problem: Problem) -> Words:
    """Return a problem's code, parameters and texts as Words, without the scheduler's message.

    If the problem does not say who has to act, the Words say that the person has to.
    """
    return Words(
        code=problem.code,
        parameters=problem.parameters,
        what=problem.message,
        do=problem.do,
        whose=problem.whose or "you",
    )


def draining(message: str) -> ProblemError:
    """Return the ProblemError for a request to a drained factory, with the operator's message."""
    return of_words("draining", explain.own("draining").saying(what=message))


def refused(words: Words) -> ProblemError:
    """Return the ProblemError for a job that the scheduler refused."""
    return of_words("refused", words)


def from_link_error(error: FactoryError) -> ProblemError:
    """Return the ProblemError (refused, gone or unreachable) for an error of a request to a factory."""
    if isinstance(error, Refused):
        return ProblemError(Problem(kind="refused", message=error.message))
    if isinstance(error, Gone):
        return ProblemError(Problem(kind="gone", message=error.message))
    return unreachable(error.message)
