"""What may go wrong when the link is asked: the errors of the hub's client and of the notebook's."""

from __future__ import annotations

from pydantic import ValidationError

from factorycommon.models.bodies import Problem, ProblemKind

_TRANSIENT = ("unreachable", "draining", "too-many")


class LinkError(Exception):
    """Something went wrong on the way to a factory, in words for a person.

    ``kind``: the link's word for what went wrong; ``do``: what can be done; ``scheduler``: what the scheduler said;
    ``fits``: how many of what was asked for may begin now, None where that is not known."""

    def __init__(
        self, kind: ProblemKind, message: str, do: str = "", scheduler: str = "", fits: int | None = None
    ) -> None:
        super().__init__(" ".join(part for part in (message, do) if part))
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
    """The link did not answer, or not in a way that we understand: it may have done what was asked."""

    def __init__(self, message: str, do: str = "") -> None:
        super().__init__("unreachable", message, do)


class LinkProblem(LinkError):
    """The link said no, with words. ``status``: the HTTP status; ``problem``: what the link said."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(problem.kind, problem.message, problem.do, problem.scheduler, problem.fits)
        self.status = status
        self.problem = problem


def read_problem(status: int, content: bytes) -> LinkError:
    """Return the error of an answer that is none of success."""
    try:
        return LinkProblem(status, Problem.model_validate_json(content, extra="ignore"))
    except ValidationError:
        return LinkSilent(f"The gateway answered {status} without words.")
