"""A site's rules for a gateway: logins, permitted automation, and the agreement of the site's operator."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from factorycommon.models.base import Model

Permission = Literal["yes", "no", "ask"]  # ask: its rules are not clear; its operator's answer goes into the agreement
Act = Literal["unattended_submit", "persistent_connection", "replacement"]
LoginMethod = Literal["key", "certificate", "password"]
Version = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
WebAddress = Annotated[str, StringConstraints(max_length=2000, pattern=r"^https://[^\s]+$")]


class Readable(Model):
    """What a site tells people: where it stands, or what it says, or both."""

    url: WebAddress | None = None
    text: str = Field("", max_length=20_000)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.url is None and not self.text.strip():
            raise ValueError("url, text: give at least one of them")
        return self


class SiteRules(Readable):
    """What people accept before anything of theirs starts there. A new ``version`` asks all of them again."""

    version: Version


class AccountHelp(Readable):
    """How somebody gets an account there who has none."""


class LoginRules(Model):
    """How a person gets to the login side. ``source_bound``: from announced addresses only; ``port``: None: ssh's own,
    or not known; ``hours``: how long a certificate is good."""

    ways: tuple[LoginMethod, ...] = ()
    one_time_code: bool | None = None
    source_bound: bool | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    hours: float | None = Field(default=None, gt=0)
    note: str = ""


class DoorHint(Model):
    """How the door can be reached there, as far as is known; ``link.yaml`` says how it is."""

    carrier: Literal["tcp", "stdio"] | None = None
    note: str = ""


class Policy(Model):
    """The automation a site allows. None: nothing was found.

    ``unattended_submit``: jobs that no person submits by hand. ``persistent_connection``: one that stays open between
    two acts of a person. ``replacement``: a worker that ended is replaced by itself. ``link.yaml`` may not
    ask for more than the rates."""

    unattended_submit: Permission | None = None
    persistent_connection: Permission | None = None
    replacement: Permission | None = None
    submits_per_minute: int | None = Field(default=None, ge=1)
    logins_per_minute: int | None = Field(default=None, ge=1)
    max_connections: int | None = Field(default=None, ge=1)  # per site account
    note: str = ""

    def open_questions(self) -> tuple[Act, ...]:
        """Return the acts that the site's rules forbid or leave open, and that an agreement must therefore allow."""
        said: dict[Act, Permission | None] = {
            "unattended_submit": self.unattended_submit,
            "persistent_connection": self.persistent_connection,
            "replacement": self.replacement,
        }
        return tuple(act for act, answer in said.items() if answer in ("no", "ask"))


class Agreement(Model):
    """The agreement of a site's operator: who agreed, when, and whom to ask. ``allows``: acts that the operator allows
    although the site's rules forbid them or leave them open."""

    who: str = Field(min_length=1)
    when: date
    contact: str = Field(min_length=1)
    allows: tuple[Act, ...] = ()
