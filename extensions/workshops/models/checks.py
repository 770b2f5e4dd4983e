"""Results of the connection check (``/hub/check``) that people send to their workshop: a verdict for each test."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from factorycommon.models import Model, Person
from factorycommon.models.plain import PlainText

CheckVerdict = Literal["good", "limited", "bad", "unknown"]


class CheckTests(Model):
    """The verdict of each test. ``unknown``: it could not be done."""

    browser: CheckVerdict
    cookies: CheckVerdict
    trip: CheckVerdict
    download: CheckVerdict
    upload: CheckVerdict
    stream: CheckVerdict
    socket: CheckVerdict

    @property
    def overall(self) -> CheckVerdict:
        """Return the worst verdict."""
        found = {verdict for _, verdict in self}
        worst: tuple[CheckVerdict, ...] = ("bad", "unknown", "limited")
        return next((one for one in worst if one in found), "good")


class CheckBody(Model):
    """Body of ``PUT workshops/SLUG/check``: replaces what the person sent before."""

    tests: CheckTests


class PersonCheckView(Model):
    """What one person sent. ``name``: as a guest gave it; ``at``: when they sent it."""

    person: Person
    name: PlainText
    verdict: CheckVerdict
    tests: CheckTests
    at: datetime


class ChecksView(Model):
    """How many of the ``people`` who have a seat or wait for one have ``checked``, for how many of these something does
    not work (``problems``) or works with limits (``limited``), and what each sent, the worst ones first."""

    people: int
    checked: int
    problems: int
    limited: int
    each: tuple[PersonCheckView, ...]
