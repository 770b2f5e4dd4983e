"""Results of the connection check (``/hub/check``) that people send to their workshop: a verdict for each test."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from factorycommon.models import Model, Person
from factorycommon.models.plain import PlainText

CheckVerdict = Literal["good", "limited", "bad", "unknown"]


class CheckTests(Model):
    """The verdict of each test of the connection check; ``unknown``: the test could not be done.

    ``browser``: whether the browser has what JupyterLab needs; ``cookies``: whether the browser sends cookies;
    ``trip``: how long the gateway's answers take; ``download``, ``upload``: how fast data are transferred;
    ``stream``: whether server-sent events arrive one by one; ``socket``: whether WebSockets work.
    """

    browser: CheckVerdict
    cookies: CheckVerdict
    trip: CheckVerdict
    download: CheckVerdict
    upload: CheckVerdict
    stream: CheckVerdict
    socket: CheckVerdict

    @property
    def overall(self) -> CheckVerdict:
        """Return the worst verdict of all tests: ``bad``, else ``unknown``, else ``limited``, else ``good``."""
        found = {verdict for _, verdict in self}
        worst: tuple[CheckVerdict, ...] = ("bad", "unknown", "limited")
        return next((one for one in worst if one in found), "good")


class CheckBody(Model):
    """Body of ``PUT workshops/SLUG/check``: a connection check, which replaces the person's earlier one."""

    tests: CheckTests


class PersonCheckView(Model):
    """The connection check that one person sent.

    ``name``: the name that a guest gave, "" for people with an account; ``verdict``: the worst verdict of all tests;
    ``at``: when the person sent the check.
    """

    person: Person
    name: PlainText
    verdict: CheckVerdict
    tests: CheckTests
    at: datetime


class ChecksView(Model):
    """The connection checks of a workshop's people, counted and one by one.

    ``people``: how many people have a seat or wait for one; ``checked``: how many of them have sent a check. Of these
    checks, ``problems`` have the overall verdict ``bad``, ``untested`` have ``unknown``, since a test could not run,
    and ``limited`` have ``limited``. ``each``: the checks, the worst verdicts first.
    """

    people: int
    checked: int
    problems: int
    untested: int = 0  # a service of an earlier release does not count these people
    limited: int
    each: tuple[PersonCheckView, ...]
