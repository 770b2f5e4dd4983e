"""The handle of a server's session: finds or requests the session, waits for it, stops it.

The handle also sends the notebook's environment variables and argv through the door. This module calls the link, and
reads and updates the hub's copy of the link's table; it calls nothing of JupyterHub.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable

from factorycommon.language import N_
from factorycommon.models import EndReason, Problem, Session, SessionId, SessionRequest, Words
from factorylink.client import LinkProblem, LinkSilent
from factoryspawner.errors import LINK_SILENT, StartFailed, problem_failed, session_failed
from factoryspawner.gateway import HubGateway
from factoryspawner.retry_pauses import pauses

log = logging.getLogger("factoryspawner")

_SUCCESSOR_SECONDS = 20.0  # from the end of a session that was moved until the new one begins, at most

Environment = Callable[[], tuple[dict[str, str], list[str]]]  # returns the variables, and the notebook's argv

_UNKNOWN = Words(
    code="unknown",
    what=N_("The gateway no longer knows this session."),
    do=N_("Start it again; files in the notebook folder are still there."),
    whose="you",
)


class SessionHandle:
    """Finds, requests, follows and stops the session of one server.

    ``session_id``: "" while there is no session; ``token``: the hub token of the session's notebook, "" if it is not
    known; ``asked_to_stop``: whether this hub has requested the end of the session; ``was_certain``: True if this
    process began the session, or if a report of the link said that the session is certainly live (``certain``);
    ``predecessor``: the id of an earlier session of the server, for whose end ``find`` waits now; None: there is none.
    """

    def __init__(self, gateway: HubGateway, user: str, server: str) -> None:
        self._gateway = gateway
        self._link = gateway.link
        self._table = gateway.table
        self._user = user
        self._server = server
        self._put: asyncio.Task[Problem | None] | None = None
        self.session_id: SessionId = ""
        self.token = ""  # nosec B105
        self.asked_to_stop = False
        self.was_certain = False
        self.predecessor: SessionId | None = None

    @property
    def session(self) -> Session | None:
        """Return the session as the hub's copy of the link's table has it; None if the table does not have it."""
        return self._table.session(self.session_id)

    def names(self) -> dict[str, str]:
        """Return the environment variables that describe the session to the notebook's code.

        {} if the hub's copy of the link's table does not have the session.
        """
        session = self.session
        if session is None:
            return {}
        choice = session.choice
        return {
            "FACTORYGATE_SESSION": session.id,
            "FACTORYGATE_FACTORY": choice.factory,
            "FACTORYGATE_SIZE": choice.size,
            "FACTORYGATE_ENVIRONMENT": choice.environment,
            **({"FACTORYGATE_URL_TOKENS": "1"} if choice.url_tokens else {}),
        }

    def over(self) -> bool:
        """Return whether the session has ended or does not exist, or whether this hub has requested its end.

        While the link does not answer, a session that the hub's copy of the table does not have counts as existing. So
        does a session that was requested, until the link answers the request.
        """
        if not self.session_id or self.asked_to_stop:
            return True
        if self._put is not None and not self._put.done():
            return False
        return self._table.over(self.session_id)

    @property
    def moved(self) -> bool:
        """Return whether the session has ended because its seat in a workshop moves to another place.

        A place is a factory with a node size; a new session begins there. False if this hub has requested the end of
        the session.
        """
        session = self.session
        return session is not None and session.end_reason == EndReason.MOVED and not self.asked_to_stop

    async def successor(self) -> Session | None:
        """Return the new session that replaces this session, whose seat in a workshop was moved to another place.

        A place is a factory with a node size. Waits for the new session; None if none begins within
        ``_SUCCESSOR_SECONDS``. Raises StartFailed if the link does not answer or refuses.
        """
        with self._table.watch_person(self._user) as changed, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SUCCESSOR_SECONDS):
                while True:
                    changed.clear()
                    found = await self.find(wait=False, ask=False)  # a whole class moves at once: read the table
                    if found is not None:
                        return found
                    await changed.wait()
        return None

    def reset(self) -> None:
        """Forget the session, its token, and whether this hub has requested its end."""
        self.session_id = ""
        self.token = ""  # nosec B105
        self.asked_to_stop = False

    async def find(self, wait: bool = True, ask: bool = True) -> Session | None:
        """Return the live session of this server that nobody has asked to stop, or None.

        ``wait``: whether to wait for the end of a session that is stopping, before None is returned. ``ask`` True:
        always ask the link; False: return None without a request if the table is up to date and has no session of this
        server. This is safe, because the link refuses to begin a second session of a server. Raises StartFailed if the
        link does not answer or refuses.
        """
        while True:
            if not (ask or self._table.silent or self._table.of(self._user, self._server)):
                return None
            known = {session.id: session for session in self._table.of(self._user, self._server)}
            try:
                live = await self._link.sessions(user=self._user, server=self._server, live=True)
            except LinkSilent as error:
                raise StartFailed("silent", LINK_SILENT) from error
            except LinkProblem as error:
                raise problem_failed(error.problem) from error
            for session in live:
                self._table.answered(session, known.get(session.id))
            requests = self._gateway.stop_requests
            wanted = [session for session in live if session.wish == "run" and not requests.unwanted(session.id)]
            if wanted:
                return wanted[0]
            if not live or not wait:
                return None
            self.predecessor = live[0].id
            try:
                await self.until_over(live[0].id)
            finally:
                self.predecessor = None

    def adopt(self, session: Session, spare: str) -> None:
        """Make a live session the session of this server.

        ``spare``: the token to use if this handle has no token of the session, and the notebook has not received one.
        """
        if session.id != self.session_id:
            self.token = ""  # nosec B105
        self.session_id = session.id
        self.asked_to_stop = False
        self.was_certain = session.certain
        if not self.token and not session.environment_sent:
            self.token = spare

    def begin(self, token: str) -> None:
        """Choose the id of a new session, without requesting the session yet. ``token``: its notebook's hub token."""
        self.session_id = uuid.uuid4().hex
        self.token = token
        self.asked_to_stop = False
        self.was_certain = True

    async def put(self, request: SessionRequest) -> None:
        """Request the new session from the link, again and again until the link answers.

        Return, too, once a stop of the session is requested. Repeating the PUT starts no second job, so a lost answer
        does no harm. Raises StartFailed if the link refuses; then there is no session. Cancelling this call does not
        cancel the request: a job may exist already, which ``stop`` must end.
        """
        self._put = asyncio.get_running_loop().create_task(self._put_until_answered(self.session_id, request))
        problem = await asyncio.shield(self._put)
        if problem is not None:
            raise problem_failed(problem)

    async def reachable(self, environment: Environment, spare: str) -> str:
        """Wait until the session's notebook can be reached; return the session's URL.

        Sends the notebook's environment variables and argv, which ``environment`` returns, when the door is connected.
        There is no limit on the time in the queue. ``spare``: the token to use if the door does not know the notebook's
        own token. Raises StartFailed if the session ends first.
        """
        delays = pauses()
        with self._table.watch_session(self.session_id) as changed:
            while True:
                changed.clear()
                session = self.session
                if self._table.over(self.session_id):
                    raise session_failed(session) if session else StartFailed("gone", _UNKNOWN)
                self.was_certain |= session is not None and session.certain
                if session is None or self._table.silent:
                    await changed.wait()
                elif session.environment_sent and not self.token:
                    await self._ask_token(spare)
                    if not self.token:
                        await _wait(changed, next(delays))
                elif session.reachable and session.url:
                    return session.url
                elif session.door_open and not session.environment_sent:
                    if not await self._send(environment):
                        await _wait(changed, next(delays))
                else:
                    await changed.wait()

    async def attend(self, environment: Environment) -> None:
        """Follow a session that was reachable; return once it has ended, or once this hub has requested its end.

        If the scheduler requeues the job, send the new job the environment variables and argv that ``environment``
        returns.
        """
        delays = pauses()
        with self._table.watch_session(self.session_id) as changed:
            while not self.over():
                changed.clear()
                session = self.session
                needs = session is not None and session.door_open and not session.environment_sent
                if needs and not self._table.silent and not await self._send(environment):
                    await _wait(changed, next(delays))
                else:
                    await changed.wait()

    async def stop(self) -> None:
        """Request the end of the session; return when the ledger holds this request. Never raises.

        If ``put`` is still running, the session never starts, or ends at once. The link accepts this request even
        before it knows the session.
        """
        self.asked_to_stop = True
        if self.session_id:
            await self._gateway.stop_requests.held(self.session_id)

    async def until_over(self, session_id: SessionId) -> None:
        """Return when the link reports that this session has ended, or no longer knows the session."""
        with self._table.watch_session(session_id) as changed:
            while not self._table.over(session_id):
                changed.clear()
                await changed.wait()

    async def _put_until_answered(self, session_id: SessionId, request: SessionRequest) -> Problem | None:
        for pause in pauses():
            if self._unwanted(session_id):
                return None
            try:
                known = self._table.session(session_id)
                self._table.answered(await self._link.put_session(session_id, request), known)
            except LinkProblem as error:
                if self.session_id == session_id:
                    self.reset()
                return error.problem
            except LinkSilent as error:
                log.warning("Session %s is asked for again: %s", session_id, error)
            else:
                return None
            await asyncio.sleep(pause)
        raise AssertionError("pauses() has no end")

    def _unwanted(self, session_id: SessionId) -> bool:
        """Return whether the session must not be requested any more.

        True if a stop was requested, or if the handle has forgotten this session or has another one.
        """
        return self.asked_to_stop or self.session_id != session_id or self._gateway.stop_requests.unwanted(session_id)

    async def _send(self, environment: Environment) -> bool:
        """Send the environment variables and argv that ``environment`` returns through the door.

        Return whether the link confirms that they have arrived.
        """
        variables, argv = environment()
        known = self.session
        try:
            self._table.answered(await self._link.send_environment(self.session_id, variables, argv), known)
        except LinkSilent as error:
            log.warning("The environment of session %s is sent again: %s", self.session_id, error)
            return False
        except LinkProblem as error:  # the door closed meanwhile, or has an environment already
            log.info("The door of session %s took no environment: %s", self.session_id, error)
            if not await self._refresh():
                return False
        return self.session is not None and self.session.environment_sent

    async def _refresh(self) -> bool:
        try:
            known = self.session
            self._table.answered(await self._link.session(self.session_id), known)
        except (LinkSilent, LinkProblem) as error:
            log.info("Session %s: %s", self.session_id, error)
            return False
        return True

    async def _ask_token(self, spare: str) -> None:
        """Set ``token`` to the notebook's own token, which the door knows and the hub's database has lost.

        ``spare``: the token to use if the door does not know the notebook's own token. If the door cannot be asked now,
        ``token`` stays as it is.
        """
        if self.session is None or not self.session.door_open:
            return
        try:
            self.token = await self._link.token(self.session_id) or spare
        except (LinkSilent, LinkProblem) as error:
            log.info("The door of session %s does not tell its token yet: %s", self.session_id, error)


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    """Return at a change, or after ``seconds``, so that the caller can repeat what failed."""
    try:
        await asyncio.wait_for(changed.wait(), seconds)
    except TimeoutError:
        return
