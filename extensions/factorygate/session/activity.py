"""Reports the notebook server's activity to the door.

A report says when the server was last used, whether it is busy, whether it was opened, what it uses of the node, and
which steps of a workshop were done. This module runs inside the single-user server and reads the server's own objects,
so that no tokens or requests are needed. Without ``attach`` nothing is reported.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable
from datetime import datetime
from weakref import WeakSet

from jupyter_server.auth import User
from jupyter_server.serverapp import ServerApp
from tornado.ioloop import PeriodicCallback
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from factorygate.session import processes
from factorygate.session.clock import Polled
from factorygate.session.deadlines import MOST_NAMES, NAME_LENGTH
from factorygate.session.resource_usage import Gauge
from factorygate.steps.book import StepBook

LOOK_MS = 2000  # milliseconds between two checks of kernels and terminals
TELL_SECONDS = 30.0  # seconds between two reports, unless the session was opened, or became busy or idle

_report_fd: int | None = None


def attach(descriptor: int) -> None:
    """Set the pipe to the door through which ``report`` sends lines of JSON. Call this before ``report``.

    ``descriptor``: the file descriptor of the pipe's end for writing.
    """
    global _report_fd
    _report_fd = descriptor
    os.set_blocking(descriptor, False)  # a door that does not read must not block the notebook


class Reporter:
    """Observes the notebook server and reports changes to the door.

    ``descriptor``: the pipe to the door; ``gauge``: measures what the session uses; ``book``: knows the steps that were
    done; None: no steps are reported.
    """

    def __init__(self, server: ServerApp, descriptor: int, gauge: Gauge, book: StepBook | None = None) -> None:
        self._server = server
        self._gauge = gauge
        self._book = book
        self._told_steps: tuple[int, ...] = ()
        self._descriptor = descriptor
        self._opened = False
        self._last_request = 0.0
        self._running: WeakSet[RequestHandler] = WeakSet()  # authenticated requests, also finished ones
        self._reported: tuple[float, tuple[str, ...] | None, bool, int | None, int | None] | None = None
        self._told_at = 0.0
        self._notebooks: dict[str, str] = {}  # names of notebooks by kernel
        self._callback = PeriodicCallback(self._look_again, LOOK_MS)

    def start(self) -> None:
        """Begin to watch requests, and to look at kernels and terminals."""
        self._watch_requests()
        if self._book is not None:
            self._book.on_change = self.look
        self._callback.start()
        self.look()

    def _watch_requests(self) -> None:
        provider = self._server.identity_provider
        identify = provider.get_user

        async def get_user(handler: RequestHandler) -> User | None:
            found = identify(handler)
            user = await found if isinstance(found, Awaitable) else found
            if user is not None:
                self._seen(handler)
            return user

        provider.get_user = get_user  # type: ignore[method-assign]

    def _seen(self, handler: RequestHandler) -> None:
        if isinstance(handler, Polled):
            return
        if "no_track_activity" not in handler.request.arguments:  # JupyterLab marks its polls with this argument
            self._last_request = time.time()
        # an open WebSocket alone does not mean that the session is in use
        if not isinstance(handler, WebSocketHandler):
            self._running.add(handler)
        if not self._opened:
            self._opened = True
            self.look()

    def _busy_kernels(self) -> set[str]:
        kernels = self._server.kernel_manager
        ids = kernels.list_kernel_ids()
        return {one for one in ids if getattr(kernels.get_kernel(one), "execution_state", None) == "busy"}

    def _busy(self) -> tuple[str, ...] | None:
        """Return the names of busy notebooks and terminals, at most ``MOST_NAMES``; None if nothing is busy.

        Kernels whose notebook's name is not known are busy without a name, so the tuple may be empty.
        """
        busy = self._busy_kernels()
        terminals = self._server.web_app.settings.get("terminal_manager")
        shells = terminals.terminals if terminals is not None else {}
        names = [f"Terminal {name}" for name, one in shells.items() if processes.have_children({one.ptyproc.pid})]
        if not busy and not names:
            return None
        notebooks = sorted({self._notebooks[one] for one in busy if one in self._notebooks})
        return tuple(name[:NAME_LENGTH] for name in [*notebooks, *names][:MOST_NAMES])

    async def _look_again(self) -> None:
        """Look up the names of busy notebooks, then send a report if needed."""
        if self._busy_kernels() - self._notebooks.keys():
            sessions = await self._server.session_manager.list_sessions()
            self._notebooks = {one["kernel"]["id"]: str(one["path"]).rpartition("/")[2] for one in sessions}
        self.look()

    def look(self) -> None:
        """Send the door a report if something has changed since the last report.

        The report is sent at once if the session was opened, something became busy or idle, or steps were done. Any
        other change is sent ``TELL_SECONDS`` after the last report at the earliest. If the pipe has no room, the report
        is left to the next call; if the door has closed the pipe, the regular checks end.
        """
        now = time.time()
        used: datetime = self._server.web_app.last_activity()  # type: ignore[no-untyped-call]
        last = max(used.timestamp(), self._last_request)
        busy = self._busy()
        for handler in list(self._running):
            if handler._finished:
                self._running.discard(handler)
            else:
                last = now  # a download or an upload is in progress
        if busy is not None:
            last = now
        state = (last, busy, self._opened, *self._gauge.coarse())
        steps = () if self._book is None else self._book.done
        new_steps = steps != self._told_steps
        same = self._reported is not None and self._reported[1:3] == state[1:3]
        if not new_steps and (state == self._reported or (same and now - self._told_at < TELL_SECONDS)):
            return
        names = ("last", "busy", "opened", "gpu_percent", "memory_bytes")
        report = dict(zip(names, (round(last, 1), busy is not None, *state[2:]), strict=True)) | {
            "busy_with": busy or (),
            "steps": steps,
        }
        line = json.dumps(report) + "\n"
        try:
            # shorter than PIPE_BUF, so it is written completely or not at all
            os.write(self._descriptor, line.encode())
        except BlockingIOError:
            return  # the next check sends the report
        except BrokenPipeError:
            self._callback.stop()
            return
        self._reported, self._told_at, self._told_steps = state, now, steps


def report(server: ServerApp, gauge: Gauge, book: StepBook) -> None:
    """Begin to report the activity of ``server`` to the door; do nothing if ``attach`` has not been called.

    ``gauge``: measures what the session uses; ``book``: knows the steps that were done.
    """
    if _report_fd is not None:
        server.io_loop.add_callback(Reporter(server, _report_fd, gauge, book).start)
