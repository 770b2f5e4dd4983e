"""Passes requests for help from sessions of workshops on to the workshops service, and the service's answers back.

A session can reach only the link, and the link cannot open a connection to the service. So a session's request (an
*ask*) waits here until the service fetches it, and the session waits for the answer. Nothing is stored: if the service
does not answer in time, or the link or the service ends, the session gets an error and asks again. Every ask may be
repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from factorycommon.messages import Message
from factorycommon.models import SessionId
from factorycommon.models.workshops import PREFIX
from factorycommon.models.workshops.help import (
    ASK_SECONDS,
    MOST_ASKS,
    HandBody,
    HelpAct,
    HelpAnswer,
    HelpAsk,
    HelpAsks,
    HelpState,
    LookBody,
    NotebookSnapshot,
)
from factorylink.problems import ProblemError, conflict, too_many, unreachable
from factorylink.state.live_session import LiveSession

ANSWER_SECONDS = 8.0  # seconds that a session waits for the service's answer
GONE_SECONDS = 10.0  # seconds without a request of the service, after which the service counts as away
MOST_WAITING = 400  # asks of all sessions together
MOST_NOTEBOOKS = 40  # asks of all sessions that carry a notebook, which may have almost a megabyte
MOST_OF_SESSION = 4  # asks of one session at the same time
MOST_A_MINUTE = 60  # asks of one session; a session with a raised hand asks every five seconds
_WITH_NOTEBOOK = ("look", "snapshot")
_NO_WORKSHOP = Message("help-no-workshop", "This session is not for a workshop, so there is nobody to help.")
_TOO_MANY = Message("help-too-many", "This session asks the people who teach the class too often.")
_AWAY = Message("help-away", "The gateway’s service for workshops does not answer just now.")


@dataclass
class _Waiting:
    ask: HelpAsk
    answer: asyncio.Future[HelpAnswer]


class HelpRelay:
    """Holds the sessions' requests for help (*asks*) until the workshops service has answered them."""

    def __init__(self) -> None:
        self._queue: deque[HelpAsk] = deque()
        self._waiting: dict[str, _Waiting] = {}
        self._times: dict[SessionId, deque[float]] = {}
        self._woken = asyncio.Event()
        self._readers = 0
        self._read_at = float("-inf")
        self._closed = False

    def admit(self, session_id: SessionId) -> None:
        """Count a request for help against the session's limit, before the request's body is validated.

        Raises ProblemError if the session has made too many requests in the last minute.
        """
        now = asyncio.get_running_loop().time()
        times = self._times.setdefault(session_id, deque())
        while times and now - times[0] > 60:
            times.popleft()
        if len(times) >= MOST_A_MINUTE:
            raise too_many(_TOO_MANY)
        times.append(now)
        if len(self._times) > 2 * MOST_WAITING:  # sessions that are over leave their times behind
            self._times = {one: kept for one, kept in self._times.items() if kept and now - kept[-1] <= 60}

    async def ask(
        self,
        live_session: LiveSession,
        act: HelpAct,
        *,
        hand: HandBody | None = None,
        look: LookBody | None = None,
        snapshot: NotebookSnapshot | None = None,
    ) -> HelpState:
        """Pass a request for help to the workshops service; return the state that the service answers.

        ``act``: the kind of the request. ``hand`` is the content of a request of the kind "raise"; ``look`` and
        ``snapshot`` are the contents of the kinds with these names. Requests of other kinds have no content. Raises
        ProblemError if the session is not for a workshop, if too many requests wait, or if the service refuses the
        request or does not answer.
        """
        record = live_session.record
        project = record.choice.project
        if project is None or not project.startswith(PREFIX):
            raise conflict(_NO_WORKSHOP)
        self._check(record.id, act in _WITH_NOTEBOOK)
        ask = HelpAsk(
            id=secrets.token_hex(16),
            project=project,
            person=record.user,
            session=record.id,
            act=act,
            hand=hand,
            look=look,
            snapshot=snapshot,
        )
        waiting = _Waiting(ask, asyncio.get_running_loop().create_future())
        self._waiting[ask.id] = waiting
        self._queue.append(ask)
        self._woken.set()
        try:
            answer = await asyncio.wait_for(waiting.answer, ANSWER_SECONDS)
        except TimeoutError as error:
            raise unreachable(_AWAY) from error
        finally:
            self._waiting.pop(ask.id, None)
        if answer.problem is not None:
            raise ProblemError(answer.problem)
        return answer.state or HelpState()

    async def take(self, left: Callable[[], Awaitable[bool]], seconds: float = ASK_SECONDS) -> HelpAsks:
        """Return the requests for help that wait for the workshops service; wait up to ``seconds`` for the first one.

        At most ``MOST_ASKS`` are returned. ``left``: called after the wait; returns whether the service has closed its
        connection. If it has, no request is returned, and all requests stay in the queue.
        """
        self._readers += 1
        try:
            if not self._open():
                self._woken.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), 0 if self._closed else seconds)
        finally:
            self._readers -= 1
            self._read_at = asyncio.get_running_loop().time()
        if await left():
            return HelpAsks()
        return HelpAsks(asks=tuple(self._queue.popleft() for _ in range(min(self._open(), MOST_ASKS))))

    def answer(self, project: str, ask_id: str, answer: HelpAnswer) -> None:
        """Pass the workshops service's answer to the session that waits for the request with the id ``ask_id``.

        Do nothing if no session waits for this request any more, or if the request is not from a session of
        ``project``.
        """
        waiting = self._waiting.get(ask_id)
        if waiting is not None and waiting.ask.project == project and not waiting.answer.done():
            waiting.answer.set_result(answer)

    def close(self) -> None:
        """Let a waiting ``take`` return now, so that the workshops service's connection can be closed.

        Later calls of ``take`` do not wait.
        """
        self._closed = True
        self._woken.set()

    def _open(self) -> int:
        """Drop the asks for which no session waits any more; return how many are left."""
        self._queue = deque(one for one in self._queue if one.id in self._waiting)
        return len(self._queue)

    def _check(self, session_id: SessionId, with_notebook: bool) -> None:
        now = asyncio.get_running_loop().time()
        if self._readers == 0 and now - self._read_at > GONE_SECONDS:
            raise unreachable(_AWAY)
        mine = sum(one.ask.session == session_id for one in self._waiting.values())
        large = sum(one.ask.act in _WITH_NOTEBOOK for one in self._waiting.values()) if with_notebook else 0
        full = len(self._waiting) >= MOST_WAITING or large >= MOST_NOTEBOOKS
        if full or mine >= MOST_OF_SESSION:
            raise too_many(_TOO_MANY)
