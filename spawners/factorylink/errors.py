"""The four ways in which asking a factory can go wrong. Every caller handles all four."""

from __future__ import annotations

LONGEST = 2000  # characters; an account's shell may print a megabyte beside the scheduler's words


class LinkError(Exception):
    """Base of the four. ``message`` is fit for a person: the scheduler's own words wherever it said any."""

    def __init__(self, message: str) -> None:
        message = message if len(message) <= LONGEST else f"{message[:LONGEST]}…"
        super().__init__(message)
        self.message = message


class Unreachable(LinkError):
    """Nothing is known: no answer, or none in time. What was asked for may or may not have happened."""


class NotDone(Unreachable):
    """What was asked for has surely not happened: it was not even begun."""


class Unwanted(NotDone):
    """What was asked for is no longer wanted: somebody stopped it before it was begun."""


class Expired(NotDone):
    """The credential of that site account is no longer valid. The factory may be well; what runs there goes on."""


class NotLetIn(NotDone):
    """The site does not take a login that is valid as far as we know: surer than a connection that fails."""


class Distrusted(Unreachable):
    """A host there showed a key that is not pinned. It was not spoken to."""


class Refused(LinkError):
    """The scheduler (or the system there) said no. It did not happen."""


class Gone(LinkError):
    """Asked about something that is not there."""


class Misread(Unreachable):
    """An answer came that we do not understand. ``output`` is all of it, for the log."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output
