"""The errors of a request to a factory, to a door or to the hub, in four classes: Unreachable, Refused, Gone, Misread.

Callers handle all four.
"""

from __future__ import annotations

from factorycommon.models.plain import plain_lines

EXCERPT = 4000  # maximum number of characters of an unparsable answer


class FactoryError(Exception):
    """Base class of the errors of a request to a factory, a door or the hub. ``message`` is plain text for a person.

    The message contains the scheduler's own words, if any, shortened and cleaned: an account's shell may print a
    megabyte, or control characters, beside them.
    """

    def __init__(self, message: str) -> None:
        message = plain_lines(message)
        super().__init__(message)
        self.message = message


class Unreachable(FactoryError):
    """There was no usable answer in time, so the request may or may not have been carried out."""


class NotDone(Unreachable):
    """The request was certainly not carried out: it was never sent, or was not started."""


class Unwanted(NotDone):
    """The request was not carried out, because somebody cancelled the request before it was sent."""


class Expired(NotDone):
    """The link has no valid credential for a site account: it has expired, or the link never had one.

    The factory may be available; sessions that run there continue.
    """


class NotLetIn(NotDone):
    """The site refused the link's login, although the credential is valid as far as the link knows.

    This error is not raised if the link could not connect to the site: the site may still accept the login.
    """


class Distrusted(Unreachable):
    """A host of the factory showed a key that is not pinned, so the link did not log in at this host."""


class Refused(FactoryError):
    """The request was refused, and not carried out.

    Any of these may have refused the request: the scheduler, the system on the login host, a door, the hub, another
    server, or the link itself.
    """


class Gone(FactoryError):
    """The thing that the request needs does not exist: for example a file, a door, or accounting records."""


class Misread(Unreachable):
    """An answer could not be parsed. ``output``: the answer, which is shortened for the log if it is long."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = excerpt(output)


def excerpt(output: str) -> str:
    """Return an answer for the log: in full, or only its beginning and its end if it is long."""
    if len(output) <= EXCERPT:
        return output
    half = EXCERPT // 2
    return f"{output[:half]} … {len(output) - 2 * half} characters … {output[-half:]}"
