"""Who may start something: the authenticator says, and the link is told, before each start."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pydantic import TypeAdapter, ValidationError

from factorylink.client import LinkClient, LinkProblem, LinkSilent
from factorylink.models import Group, Words
from factoryspawner.errors import LINK_SILENT, StartFailed, problem_failed
from factoryspawner.login.settings import Terms

_GROUP: TypeAdapter[str] = TypeAdapter(Group)


class Refusal(NamedTuple):
    """Why nothing may start. ``out``: they are shut out altogether, so that what runs ends, too."""

    words: Words
    out: bool


@runtime_checkable
class Standing(Protocol):
    """An authenticator that knows more than the hub of whom it let in."""

    async def standing(self, user: Any) -> Refusal | None:
        """Why nothing may start for them; None: it may."""


class TermsOf(NamedTuple):
    """The gateway's terms, as one person has them. ``accepted_at``: when they accepted this version; None: not yet."""

    terms: Terms
    accepted_at: datetime | None


@runtime_checkable
class KeepsTerms(Protocol):
    """An authenticator that asks people to accept the gateway's terms."""

    def terms_of(self, name: str) -> TermsOf | None:
        """Where that person stands with the terms; None: there are none."""

    def accept_terms(self, name: str, version: str) -> None:
        """Keep that they accept the terms of that version."""


async def check(link: LinkClient, authenticator: object, user: Any) -> None:
    """Let the link know who this is now. Raises StartFailed if nothing may start for them, or the link is silent."""
    refusal = await authenticator.standing(user) if isinstance(authenticator, Standing) else None
    try:
        if refusal is None:
            await link.put_person(user.name, [group.name for group in user.groups if _can_be_told(group.name)])
        elif refusal.out:
            await link.put_person(user.name, (), blocked=True)
    except LinkSilent as error:
        raise StartFailed("silent", LINK_SILENT) from error
    except LinkProblem as error:
        raise problem_failed(error.problem) from error
    if refusal is not None:
        raise StartFailed("forbidden", refusal.words)


def _can_be_told(group: str) -> bool:
    """The hub's database takes names that are no group's to the link; no project asks for one."""
    try:
        _GROUP.validate_python(group)
    except ValidationError:
        return False
    return True
