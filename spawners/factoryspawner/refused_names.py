"""Removes servers whose start was refused, so that they do not count towards a person's limit of named servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_NEW = 60.0  # maximum seconds between JupyterHub's creation of a name and the start of its server


def limit(most: int) -> Callable[[Any], int]:
    """Return a function for JupyterHub's ``named_server_limit_per_user``.

    The function returns ``most``, the limit. During a POST, which starts a named server, the function first removes the
    person's named servers whose start was refused: those that never had a session and that nobody is starting. They are
    not removed right after the refusal, so that their page can explain the refusal. If ``most`` is 0 (no limit),
    nothing is removed.
    """

    def of(handler: Any) -> int:
        if most and handler.request.method == "POST":  # pages also call this, but only to show the limit
            user = handler.find_user(handler.path_args[0]) if handler.path_args else handler.current_user
            if user is not None:
                forget(user)
        return most

    return of


def forget(user: Any) -> None:
    """Delete from the hub's database a user's named servers that never had a session and that nobody is starting.

    ``user``: JupyterHub's user object. The deletions are committed.
    """
    for name, row in list(user.orm_user.orm_spawners.items()):
        state = row.state or {}  # ``options`` are stored only after a session of the server
        had_session = bool(state.get("session_id") or state.get("options"))
        if name and row.server is None and not had_session and not _starts(user.spawners.get(name)):
            user.spawners.pop(name, None)
            user.db.delete(row)
    user.db.commit()


def _starts(spawner: Any) -> bool:
    """Return whether the server is up, starting or stopping, or is so new that its start may be about to begin.

    JupyterHub creates a server's name before it starts the server. ``spawner``: None if nobody has used the server
    since the hub's start; then the result is False.
    """
    if spawner is None:  # the server is from before the hub's restart
        return False
    start = spawner._spawn_future
    if start is None:  # it never started, so its options were refused, unless the name is new
        return bool(spawner.active) or time.monotonic() - spawner.made < _NEW
    return bool(spawner.active) or not start.done()
