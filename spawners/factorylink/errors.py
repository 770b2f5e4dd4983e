"""The four ways in which asking a factory can go wrong. Every caller handles all four."""

from __future__ import annotations

from factorycommon.models.plain import plain_lines

EXCERPT = 4000  # characters of an answer that is not understood


class FactoryError(Exception):
    """Base class of the link's errors. ``message`` is plain text for a person, with the scheduler's own words where
    there are any, cut and cleaned: an account's shell may print a megabyte, or control characters, beside them."""

    def __init__(self, message: str) -> None:
        message = plain_lines(message)
        super().__init__(message)
        self.message = message


class Unreachable(FactoryError):
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
    """A host of the factory showed a key that is not pinned, so the link sent that host nothing."""


class Refused(FactoryError):
    """The scheduler (or the system there) said no. It did not happen."""


class Gone(FactoryError):
    """Asked about something that is not there."""


class Misread(Unreachable):
    """An answer came that we do not understand. ``output``: its beginning and its end, for the log."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = excerpt(output)


def excerpt(output: str) -> str:
    """Return an answer as a log may hold it: whole, or its beginning and its end where it is long."""
    if len(output) <= EXCERPT:
        return output
    half = EXCERPT // 2
    return f"{output[:half]} … {len(output) - 2 * half} characters … {output[-half:]}"
