"""Texts for refused logins and starts: the reason, and what to do."""

from __future__ import annotations

from typing import Literal

from factorycommon.language import N_
from factorycommon.models import Words

Code = Literal[
    "identity",
    "assurance",
    "no-group",
    "away",
    "denied",
    "expired",
    "failed",
    "blocked",
    "never",
    "stale",
    "name",
    "terms",
    "guest-over",
]

# HTTP status by code; 403 for all others
STATUS: dict[Code, int] = {"away": 503, "expired": 400, "failed": 502, "name": 500}

_ASK = N_("Ask this gateway's operators.")
_TEXTS: dict[Code, tuple[str, str]] = {
    "identity": (N_("Your login service did not say who you are."), _ASK),
    "assurance": (
        N_("Your institution has not confirmed your identity well enough for this gateway."),
        N_("Ask its help desk to confirm who you are, in person or by document; then sign in again."),
    ),
    "no-group": (
        N_("You are not, or no longer, in a group that may use this gateway."),
        N_("Ask the manager of your project to add you to its group, then sign in again."),
    ),
    "away": (
        N_("The login service does not answer just now."),
        N_("Running sessions continue. Try again in a few minutes, or sign in through another service."),
    ),
    "denied": (
        N_("The login service did not let you in, or you cancelled."),
        N_("Try again. If it refuses again, ask your institution's help desk."),
    ),
    "expired": (
        N_("This sign-in took too long, or your browser does not keep cookies."),
        N_("Sign in again from this page."),
    ),
    "failed": (N_("The login service's answer was not understood."), N_("Sign in again from this page.")),
    "blocked": (N_("This account is blocked here."), _ASK),
    "never": (N_("This person has not signed in yet."), N_("Sign in once on the gateway's page, then start again.")),
    "stale": (
        N_("You last signed in too long ago."),
        N_("Sign in again on the gateway's page, then start again."),
    ),
    "terms": (
        N_("You have not accepted this gateway's terms of use yet."),
        N_("Open your checklist on the gateway's page in a browser and accept them, then start again."),
    ),
    "guest-over": (
        N_("No workshop admits you any more: yours are over, or somebody removed you."),
        N_("Ask the people who run your workshop."),
    ),
    "name": (N_("The name that is kept for you here belongs to somebody else."), _ASK),
}


class LoginRefused(Exception):
    """Raised if a login is refused, with the reason's code. ``name``: the person's name, if it is known."""

    def __init__(self, code: Code, name: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.name = name

    @property
    def status(self) -> int:
        """Return the HTTP status with which the hub answers the refused login."""
        return STATUS.get(self.code, 403)


def words(code: Code) -> Words:
    """Return what people read about a refused login or start: the reason, and what to do."""
    what, do = _TEXTS[code]
    return Words(code=f"login-{code}", what=what, do=do, whose="you")
