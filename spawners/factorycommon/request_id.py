"""Keeps the id of the request that a task works for.

The logs of hub, link and door and all responses with a Problem contain the id, so that a person can quote it. A client
may choose the id in the header ``X-Request-ID``; an invalid id is replaced.
"""

from __future__ import annotations

import re
import secrets
from contextvars import Context, ContextVar

HEADER = "X-Request-ID"
DOOR_VARIABLE = "FACTORYGATE_REQUEST"  # the header that carries the id to a session's door, beside a command
_FORM = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_current: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """Return the id of the request that this task works for; "" if there is none."""
    return _current.get()


def chosen(given: str | None) -> str:
    """Return ``given`` if it is a valid id, otherwise a new id."""
    return given if given is not None and _FORM.fullmatch(given) else secrets.token_hex(8)


def begin(given: str | None) -> str:
    """Set the id of the request that this task works for, also for tasks that it starts later; return the id.

    ``given``: the id that the client has chosen. If it is None or invalid, a new id is made.
    """
    found = chosen(given)
    _current.set(found)
    return found


def of_nobody() -> Context:
    """Return a context without a request, for a task that works for several requests: its log lines have no id."""
    return Context()
