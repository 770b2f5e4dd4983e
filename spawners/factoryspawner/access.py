"""Asks the authenticator whether a person may start anything, and sends the decision to the link.

The hub sends the decision before each start that may request a session, after each new check of the person at a login
provider, when the person accepts the terms, when the person joins a workshop, when a check shows that no workshop
admits a guest any more and, unless the operator uses an authenticator of their own, at each login.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pydantic import TypeAdapter, ValidationError

from factorycommon.models import AccessStatus, Group, JobOptions, PersonBody, Words
from factorylink.client import LinkClient, LinkProblem, LinkSilent
from factoryspawner.config.batch_settings import SettingsError
from factoryspawner.config.login_settings import LoginTerms
from factoryspawner.errors import LINK_SILENT, StartFailed, problem_failed
from factoryspawner.retry_pauses import pauses

log = logging.getLogger("factoryspawner")

_GROUP: TypeAdapter[str] = TypeAdapter(Group)


class Refusal(NamedTuple):
    """Why a person may start nothing.

    ``words``: the explanation for the person; ``out``: True if the person has lost access, so that running sessions
    end, too; ``known``: True if the person's groups in the hub are right, and only the acceptance of the terms is
    missing.
    """

    words: Words
    out: bool
    known: bool = False


@runtime_checkable
class LoginStatus(Protocol):
    """An authenticator that can decide at any time whether a person may start anything.

    Every authenticator with a method ``standing`` is an instance of this protocol, also one of an operator's own class.
    So the method must keep this name: after a renaming, an operator's own class would refuse nobody, and nobody would
    notice.
    """

    async def standing(self, user: Any) -> Refusal | None:
        """Return why the person may start nothing; None: they may start something."""


@runtime_checkable
class Expires(Protocol):
    """An authenticator whose decision whether a person may start anything expires after some time."""

    async def counts_until(self, user: Any) -> datetime | None:
        """Return until when the decision whether the person may start anything is valid; None: without end."""


class TermsOf(NamedTuple):
    """The gateway's terms, and when one person accepted them.

    ``accepted_at``: when the person accepted the present version of the terms; None: they have not.
    """

    terms: LoginTerms
    accepted_at: datetime | None

    @property
    def accepted(self) -> str | None:
        """Return the present version of the terms if the person has accepted it, else None."""
        return None if self.accepted_at is None else self.terms.version


@runtime_checkable
class KeepsTerms(Protocol):
    """An authenticator that makes people accept the gateway's terms."""

    def terms_of(self, name: str) -> TermsOf | None:
        """Return the terms, and when the person ``name`` accepted them; None if there are no terms."""

    def accept_terms(self, name: str, version: str) -> None:
        """Record that the person ``name`` accepts ``version`` of the terms."""


PersonUpdate = PersonBody | AccessStatus  # a person's data with access status, or the status only


async def status(
    authenticator: object, user: Any, options: JobOptions | None = None
) -> tuple[PersonUpdate, Refusal | None]:
    """Return the update to send to the link about a person, and why they may start nothing (None: they may).

    If the person may start something, or if only the acceptance of the terms is missing, the update has the person's
    groups and access status. If the person has lost access, the update blocks them and has no groups. If they are
    refused for any other reason, the update has the access status only, so the link keeps the groups that it knows: the
    groups in the hub may be wrong.

    ``options``: the operator's options for the person's jobs; None: not known.
    """
    refusal = await authenticator.standing(user) if isinstance(authenticator, LoginStatus) else None
    until = await authenticator.counts_until(user) if isinstance(authenticator, Expires) else None
    terms = authenticator.terms_of(user.name) if isinstance(authenticator, KeepsTerms) else None
    access = AccessStatus(
        until=until,
        refusal=None if refusal is None else refusal.words,
        terms=None if terms is None else terms.accepted,
    )
    if refusal is None or refusal.known:
        mine = groups(group.name for group in user.groups)
        return PersonBody(groups=mine, access=access, options=options), refusal
    return (PersonBody(groups=frozenset(), blocked=True, access=access) if refusal.out else access), refusal


async def check(link: LinkClient, authenticator: object, user: Any, options: JobOptions | None = None) -> None:
    """Send the person's data and access status to the link. Raises StartFailed if they may start nothing.

    Raises StartFailed, too, if the link does not answer or refuses the update. ``options``: the operator's options for
    the person's jobs; None: not known.
    """
    update, refusal = await status(authenticator, user, options)
    try:
        await tell(link, user.name, update)
    except LinkSilent as error:
        raise StartFailed("silent", LINK_SILENT) from error
    except LinkProblem as error:
        raise problem_failed(error.problem) from error
    if refusal is not None:
        raise StartFailed("forbidden", refusal.words)


async def tell(link: LinkClient, name: str, update: PersonUpdate) -> None:
    """Send an update about the person ``name`` to the link.

    Raises LinkSilent if the link does not answer, LinkProblem if the link refuses the update.
    """
    if isinstance(update, AccessStatus):
        await link.put_access(name, update)
    else:
        await link.put_person(name, update)


async def tell_surely(link: LinkClient, name: str, update: PersonUpdate) -> None:
    """Send an update about the person ``name`` to the link, and repeat this with pauses until the link takes it."""
    for pause in pauses():
        try:
            await tell(link, name, update)
        except (LinkSilent, LinkProblem) as error:
            log.info("The link is told of %s again: %s", name, error)
            await asyncio.sleep(pause)
        else:
            return


def options_of(user: Any) -> JobOptions | None:
    """Return the operator's options for the jobs of a person's unnamed server.

    None if they are not known: a setting is wrong, or the hub uses another spawner.
    """
    try:
        options: JobOptions = user.spawner.job_options()
    except (SettingsError, AttributeError) as error:  # the start itself reports wrong settings
        log.warning("What is added to jobs of %s is not known: %s", user.name, error)
        return None
    return options


def groups(names: Iterable[str]) -> frozenset[str]:
    """Return those of ``names`` that are valid group names for the link.

    The hub's database accepts other names, too, but no project can name such a group.
    """
    return frozenset(name for name in names if _can_be_told(name))


def _can_be_told(group: str) -> bool:
    try:
        _GROUP.validate_python(group)
    except ValidationError:
        return False
    return True
