"""The id of the request that is being worked on: in the logs of hub, link and door, and in error answers, so that a
person can quote it. Whoever asks may choose it, in the header ``X-Request-ID``; anything odd is replaced."""

from __future__ import annotations

import re
import secrets
from contextvars import Context, ContextVar

HEADER = "X-Request-ID"
DOOR_VARIABLE = "FACTORYGATE_REQUEST"  # carries the id to a session's door, beside a command
_FORM = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_current: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """Return the id of the request that this task works for; "" where there is none."""
    return _current.get()


def chosen(given: str | None) -> str:
    """Return ``given`` if it has the form of an id, else a new id."""
    return given if given is not None and _FORM.fullmatch(given) else secrets.token_hex(8)


def begin(given: str | None) -> str:
    """Work for a request from now on, in this task and all that it begins; return the request's id."""
    found = chosen(given)
    _current.set(found)
    return found


def of_nobody() -> Context:
    """Return the context of a task that works for several requests: its lines in the log name none of them."""
    return Context()
