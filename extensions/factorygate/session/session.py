"""Keeps the state of one session in its job, does the operations of the door's commands, and ends the session."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from factorycommon.language import VARIABLE as LANGUAGE
from factorygate.material import program
from factorygate.session import processes
from factorygate.session.deadlines import Activity, Facts, SessionLimits, decide
from factorygate.session.messages import Messages, read_message
from factorygate.session.notebook import Notebook, check_environment
from factorygate.session.status import DoorStatusLine, Reason, StatusNotice, moment

log = logging.getLogger(__name__)

GRACE = 20.0  # seconds for the notebook to end by itself
# seconds if the scheduler is about to kill the job (Slurm's KillWait is 30 s; some sites shorten it)
GRACE_SIGNALLED = 6.0
_TIDY = 60.0  # seconds between two checks for adopted processes that have ended
_AGREES = 300.0  # seconds; the scheduler's signal comes some minutes before its limit, which our own clock shows, too
_LOOK = 60.0  # maximum seconds between two checks of the clock, which may be set in the meantime

EXIT_CODES: dict[Reason, int] = {"failed": 1, "no-environment": 3}  # all other reasons are a clean end: 0


class SessionConflict(Exception):
    """Raised if the session's state does not allow an operation; the text says why."""


class JobSession:
    """One session in its job: its state, its operations and its end. Call the methods in one event loop only.

    ``started``: when the door began; ``ends``: the end of the job's walltime, None: not known; both in seconds since
    the epoch; ``node``: the door's own folder on the node; ``root``: the folder of the notebook's files; ``umask``:
    that of the notebook's processes; ``write_end``: writes its argument to ``end.json`` in the session's folder, raises
    OSError.
    """

    def __init__(
        self,
        status: DoorStatusLine,
        *,
        started: float,
        ends: float | None,
        limits: SessionLimits,
        node: Path,
        root: Path,
        umask: int,
        write_end: Callable[[Mapping[str, object]], None],
    ) -> None:
        self.status = status
        self._limits = limits
        self._facts = Facts(started=started, ends=ends)
        self._root = root
        self._clock = node / "clock.json"
        self._write_end = write_end
        self._notebook = Notebook(node, umask, self._on_activity)
        self._given: tuple[dict[str, str], list[str]] | None = None
        self._last_content = ""  # the last content of the clock's file
        self._messages = Messages()
        self._umask = umask
        self._delivering = asyncio.Lock()
        self._handed = asyncio.Event()
        self._look = asyncio.Event()
        self._end: asyncio.Future[tuple[Reason, str, float]] = asyncio.get_running_loop().create_future()
        self._change: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # --- the state

    def _publish(self, **changes: Any) -> None:
        new = replace(self.status, **changes)
        if new == self.status:
            return
        self.status = new
        change, self._change = self._change, asyncio.get_running_loop().create_future()
        change.set_result(None)

    async def changed(self, seen: DoorStatusLine) -> DoorStatusLine:
        """Wait until the status differs from ``seen``; return the new status."""
        while self.status == seen:
            await asyncio.shield(self._change)
        return self.status

    def _learn(self, **facts: Any) -> None:
        self._facts = replace(self._facts, **facts)
        self._look.set()

    def _on_activity(self, activity: Activity) -> None:
        self._learn(activity=activity)
        self._publish(
            last_activity=moment(activity.last),
            busy=activity.busy,
            busy_with=activity.busy_with,
            opened=activity.opened,
            gpu_percent=activity.gpu_percent,
            memory_bytes=activity.memory_bytes,
            steps=activity.steps,
        )

    # --- operations

    async def take_environment(self, body: object) -> DoorStatusLine:
        """Start the notebook with the environment variables and the command in ``body``; return the status.

        A second call with the same body changes nothing. Raises SessionConflict if the notebook was started with a
        different body, or if the session is ending; ValueError if ``body`` is invalid.
        """
        given = check_environment(body)
        if self._given is not None and self._given != given:
            raise SessionConflict("the notebook of this session was started with another environment")
        if self._end.done():
            raise SessionConflict("the session is ending")
        if self._given is None:
            self._given = given
            self._learn(environment=True)
            await self._notebook.give(*given, self._root)
            self._publish(environment=True, phase="launching", notebook_pid=self._notebook.pid)
            self._handed.set()
        return self.status

    def new_end(self, body: object) -> DoorStatusLine:
        """Store the session's new end, after the batch scheduler has moved it; return the status.

        ``body``: ``{"ends": RFC 3339}`` with a time zone. Raises ValueError if ``body`` has another form.
        """
        text = body.get("ends") if isinstance(body, dict) else None
        ends = datetime.fromisoformat(text) if isinstance(text, str) else None
        if ends is None or ends.tzinfo is None:
            raise ValueError("an object with `ends`, a moment with its time zone, is needed")
        log.info("the session's time now ends at %s", ends)
        self._learn(ends=ends.timestamp())
        self._publish(ends=moment(ends.timestamp()))
        return self.status

    def tell(self, body: object) -> DoorStatusLine:
        """Show a message to the person in the session; return the status.

        The message is ignored if one of the last ``messages.KEPT`` messages has the same id. Raises ValueError with an
        explanation if ``body`` is not a valid message (see ``messages.read_message``).
        """
        languages = "" if self._given is None else self._given[0].get(LANGUAGE, "")
        self._messages.add(read_message(body, time.time(), languages.split(":")))
        self._tell_notebook()
        return self.status

    async def deliver(self, order: object, archive: IO[bytes]) -> dict[str, object]:
        """Bring a workshop's material into the folder of the notebook's files; return the report of what was done.

        ``archive``: a tar.gz of the material's files. ``order``: an object with ``name``: the workshop's folder;
        ``commit``: the material's version; ``digest``: the SHA-256 of ``archive``; ``restore``: whether to write again
        what the person deleted; and perhaps ``aside``: a time such as ``2026-05-04-093000``. With ``aside``, the
        person's present folder is renamed to ``NAME-ASIDE`` before the delivery, unless ``NAME-ASIDE`` exists already.
        Raises SessionConflict if the session is ending, or if another delivery is under way; ValueError with an
        explanation if the material was not delivered, or not completely.
        """
        if self._end.done():
            raise SessionConflict("the session is ending")
        if self._delivering.locked():
            raise SessionConflict("The session gets material just now.")
        async with self._delivering:
            report = await program.run(program.argv_of(order, self._root, self._umask), archive)
        log.info("material: %s", report.get("counts"))
        return report

    def scheduler_warned(self) -> None:
        """Handle the batch scheduler's signal that the job's time limit is near: end the session.

        The signal is ignored if the door knows that the walltime ends in less than ``_AGREES`` seconds, since the
        session then ends in time by itself.
        """
        ends = self._facts.ends
        if ends is None or not 0 < ends - time.time() < _AGREES:
            self.end("walltime", "The scheduler said that the session's time is over.", GRACE_SIGNALLED)

    def token(self) -> str | None:
        """Return the notebook's hub token, for a hub that has lost it.

        None: the notebook's environment variables are not received yet, or have no token.
        """
        return self._given[0].get("JUPYTERHUB_API_TOKEN") if self._given is not None else None

    def end(self, reason: Reason, message: str, grace: float = GRACE) -> None:
        """Request the end of the session, which ``live`` then carries out; only the first call counts.

        ``message``: a text for people that says why; ``grace``: seconds in which the notebook may end by itself before
        it is killed.
        """
        if not self._end.done():
            log.info("ending: %s: %s", reason, message)
            self._end.set_result((reason, message, grace))

    # --- from start to end

    async def start(self) -> None:
        """Start the notebook's launcher, which does not need the notebook's environment variables yet."""
        await self._notebook.start()

    async def live(self) -> int:
        """Run the session until its end; return the job's exit code. Call ``start`` first."""
        keeping = (self._keep_time(), self._keep_notebook(), self._keep_tidy())
        tasks = [asyncio.create_task(task) for task in keeping]
        waited: list[asyncio.Future[Any]] = [self._end, *tasks]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                log.error("the session cannot go on", exc_info=error)
                self.end("failed", f"The door of the session failed: {error}")
            task.cancel()
        reason, message, grace = self._end.result()
        self._publish(
            phase="ending", end_reason=reason, message=message, busy=False, busy_with=(), ends_idle=None, notice=None
        )
        try:  # save now, since the scheduler may leave no time later
            self._write_end({"reason": reason, "message": message, "at": moment(time.time())})
        except OSError:
            log.exception("end.json cannot be written")
        code = await self._notebook.stop(grace)
        self._publish(phase="ended", exit_code=code)
        return EXIT_CODES.get(reason, 0)

    async def _keep_time(self) -> None:
        while not self._end.done():
            self._look.clear()
            now = time.time()
            verdict = decide(now, self._facts, self._limits)
            found = verdict.notice
            notice = StatusNotice(found.reason, moment(found.at) or "", found.minutes) if found is not None else None
            if notice is not None and notice != self.status.notice:
                log.info("ends by itself at %s: %s", notice.at, notice.kind)
            self._publish(ends_idle=moment(verdict.ends_idle), notice=notice)
            self._tell_notebook()
            if verdict.reason is not None:
                self.end(verdict.reason, verdict.message)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), min(_LOOK, max(0.05, verdict.wake - now)))

    def _tell_notebook(self) -> None:
        """Write ``clock.json`` in the door's folder if its content has changed; a failure is only logged.

        The notebook server sends the content to the browser (see ``clock``).
        """
        status = self.status
        content: dict[str, object] = {"session": status.session, "ends": status.ends, "ends_idle": status.ends_idle}
        content["notice"] = asdict(status.notice) if status.notice is not None else None
        content["messages"] = self._messages.listed()
        text = json.dumps(content)
        if text == self._last_content:
            return
        new = self._clock.with_suffix(".new")
        try:
            new.write_text(text, encoding="utf-8")
            new.replace(self._clock)
        except OSError:
            log.exception("%s cannot be written", self._clock)
        else:
            self._last_content = text

    async def _keep_tidy(self) -> None:
        """Every ``_TIDY`` seconds, without end, collect the exit status of the notebook's processes that have ended.

        These are processes that the door has adopted. A round is left out while material is delivered.
        """
        while True:
            await asyncio.sleep(_TIDY)
            if self._delivering.locked():  # the exit status of its program is not to be taken away
                continue
            keep = () if self._notebook.pid is None else (self._notebook.pid,)
            await asyncio.to_thread(processes.reap_orphans, keep)

    async def _keep_notebook(self) -> None:
        up = asyncio.create_task(self._notice_up())
        code = await self._notebook.wait()
        up.cancel()
        self._publish(exit_code=code)
        if code == 0 and self._given is not None:
            self.end("finished", "The notebook server was shut down from inside.")
        elif code < 0:
            why = " That is often because it needed more memory than the session has." if code == -9 else ""
            self.end("failed", f"The notebook server was ended by signal {-code}.{why}")
        else:
            self.end("failed", f"The notebook server ended by itself with exit code {code}; the job's log tells why.")

    async def _notice_up(self) -> None:
        await self._handed.wait()
        await self._notebook.listening()
        self._learn(up=time.time())
        self._publish(phase="up")
