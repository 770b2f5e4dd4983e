"""The four errors of a request to a factory. Every caller handles all four."""

from __future__ import annotations

from factorycommon.models.plain import plain_lines

EXCERPT = 4000  # characters of an answer that is not understood


class FactoryError(Exception):
    """Base class of the link's errors. ``message`` is plain text for a person. It contains the scheduler's own words,
    if any, cut and cleaned: an account's shell may print a megabyte, or control characters, beside them."""

    def __init__(self, message: str) -> None:
        message = plain_lines(message)
        super().__init__(message)
        self.message = message


class Unreachable(FactoryError):
    """Nothing is known: there was no answer, or not in time. What was requested may or may not have happened."""


class NotDone(Unreachable):
    """What was requested has certainly not happened: it was not even begun."""


class Unwanted(NotDone):
    """What was requested is no longer wanted: somebody stopped it before it was begun."""


class Expired(NotDone):
    """The credential of that site account is no longer valid. The factory may be fine; running sessions there
    continue."""


class NotLetIn(NotDone):
    """The site refuses a login that is valid as far as the link knows; unlike with a failed connection, this is
    certain."""


class Distrusted(Unreachable):
    """A host of the factory showed a key that is not pinned, so the link sent that host nothing."""


class Refused(FactoryError):
    """The scheduler (or the system there) refused. Nothing has happened."""


class Gone(FactoryError):
    """The object of the request does not exist."""


class Misread(Unreachable):
    """An answer was not understood. ``output``: its beginning and its end, for the log."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = excerpt(output)


def excerpt(output: str) -> str:
    """Return an answer in the form for a log: whole, or its beginning and its end if it is long."""
    if len(output) <= EXCERPT:
        return output
    half = EXCERPT // 2
    return f"{output[:half]} … {len(output) - 2 * half} characters … {output[-half:]}"
