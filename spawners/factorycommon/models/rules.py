"""The models of a site's rules for a gateway: logins, permitted automation, and the agreement of its operator."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from factorycommon.models.base import Model

# "ask": the site's rules are unclear; the answer of its operator is recorded in the agreement
Permission = Literal["yes", "no", "ask"]
Act = Literal["unattended_submit", "persistent_connection", "replacement"]
TeachingAct = Literal["pool_accounts", "wipe", "prestart"]
LoginMethod = Literal["key", "certificate", "password"]
Version = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
WebAddress = Annotated[str, StringConstraints(max_length=2000, pattern=r"^https://[^\s]+$")]


class Readable(Model):
    """Information of a site for people: its URL, its text, or both."""

    url: WebAddress | None = None
    text: str = Field("", max_length=20_000)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.url is None and not self.text.strip():
            raise ValueError("url, text: give at least one of them")
        return self


class SiteRules(Readable):
    """The rules of a site that people must accept before they start anything at the site.

    A new ``version`` must be accepted again.
    """

    version: Version


class AccountHelp(Readable):
    """How a person without an account at the site can get one."""


class LoginRules(Model):
    """How people log in at the login nodes. None: not known.

    ``one_time_code``: whether a one-time code is needed. ``source_bound``: whether people can log in only from IP
    addresses that were announced to the site. ``port``: None if it is SSH's default port, or not known. ``hours``: how
    long a certificate is valid.
    """

    ways: tuple[LoginMethod, ...] = ()
    one_time_code: bool | None = None
    source_bound: bool | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    hours: float | None = Field(default=None, gt=0)
    note: str = ""


class DoorHint(Model):
    """How the link can probably reach the door in a job at this site. The setting in ``link.yaml`` decides.

    ``carrier`` None: not known.
    """

    carrier: Literal["tcp", "stdio"] | None = None
    note: str = ""


class Policy(Model):
    """Which kinds of automation the site allows. ``ask``: its rules are unclear; None: no rule was found.

    ``unattended_submit``: submitting jobs without a person's action. ``persistent_connection``: a connection that stays
    open between two actions of a person. ``replacement``: replacing a Dask worker that ended. ``submits_per_minute``,
    ``logins_per_minute`` and ``max_connections``: the most that ``link.yaml`` may set for each.
    """

    unattended_submit: Permission | None = None
    persistent_connection: Permission | None = None
    replacement: Permission | None = None
    submits_per_minute: int | None = Field(default=None, ge=1)
    logins_per_minute: int | None = Field(default=None, ge=1)
    max_connections: int | None = Field(default=None, ge=1)  # for each site account
    note: str = ""

    def open_questions(self) -> tuple[Act, ...]:
        """Return the kinds of automation that need the agreement of the site's operator.

        These are the kinds that the site's rules forbid (``no``) or leave unclear (``ask``).
        """
        said: dict[Act, Permission | None] = {
            "unattended_submit": self.unattended_submit,
            "persistent_connection": self.persistent_connection,
            "replacement": self.replacement,
        }
        return tuple(act for act, answer in said.items() if answer in ("no", "ask"))


class Agreement(Model):
    """The agreement with a site's operator: who agreed, when, and the contact.

    ``allows``: kinds of automation that the operator allows though the site's rules forbid them or are unclear.
    ``teaching``: what the operator allows for workshops: lending accounts of a pool to identified people
    (``pool_accounts``), emptying an account before another person gets it (``wipe``), and starting jobs for people of a
    class before they come (``prestart``).
    """

    who: str = Field(min_length=1)
    when: date
    contact: str = Field(min_length=1)
    allows: tuple[Act, ...] = ()
    teaching: tuple[TeachingAct, ...] = ()
