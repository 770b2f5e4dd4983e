"""FactorySpawner: a JupyterHub spawner whose server is a batch job at a factory, which the link manages.

Much of this module follows from how JupyterHub 6 works. ``User.spawn`` clears a spawner's state before ``start``, and
saves the state only after ``start``. When a hub starts, the result of ``poll`` decides: with None JupyterHub tries to
reach the server and *stops* the server if it does not answer; with a number JupyterHub forgets the server without
``stop``. ``User.stop`` calls ``stop`` only if ``poll`` is None, revokes the server's token unless ``will_resume``, and
clears the state whatever ``stop`` did.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from jupyterhub import orm
from sqlalchemy.exc import SQLAlchemyError
from tornado import web
from traitlets import Any as AnyTrait
from traitlets import Integer, Unicode, default

from factorycommon.language import VARIABLE as LANGUAGE
from factorycommon.models import ADOPT, Choice, Session, SessionRequest, SessionState, is_robot
from factorylink.client import By
from factoryspawner import access, progress
from factoryspawner.batchspawner_face import BatchspawnerFace
from factoryspawner.errors import NOTHING_TO_ADOPT, ROBOTS_NAME, STOPPED, AskFirst, StartFailed
from factoryspawner.gateway import HubGateway, gateway
from factoryspawner.language import wanted
from factoryspawner.options import choice_from_form, choice_from_options, plain
from factoryspawner.server_rows import write_row
from factoryspawner.session_handle import SessionHandle
from factoryspawner.stop_requests import NotKept

_NO_LIMIT = 10 * 365 * 86400  # seconds; time in the queue has no timeout
_ATTEMPTS = 3  # attempts to take a server whose session another start made at the same moment


class FactorySpawner(BatchspawnerFace):
    """Starts, adopts, watches and stops one session through the link."""

    user_options: Any  # JupyterHub's attribute: the options that were posted last
    # JupyterHub's attribute, which it sets at a stop only
    _stop_future: asyncio.Future[None] | asyncio.Task[None] | None = None
    link_at = AnyTrait(help="Where the link listens for the hub: a path, or a NetworkAddress").tag(config=True)
    gateway_url = Unicode(help="Where people get in, without base_url; empty: addresses are paths").tag(config=True)
    start_timeout = Integer(_NO_LIMIT, help="Counts the time in the queue, so there is no limit").tag(config=True)
    http_timeout = Integer(60).tag(config=True)
    poll_interval = Integer(120, help="The link tells of changes at once; this is for what is missed").tag(config=True)
    # must not be empty, otherwise a GET would start the server; the page itself makes the form
    options_form = Unicode("<!-- the page draws the form -->")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.made = time.monotonic()
        # True once this process has started the server, or found it answering at the hub's start
        self._confirmed = False
        self._starting = False
        self._asked = 0.0  # when the present start was requested, in the loop's time
        self._unfollow: Callable[[], object] | None = None
        self._good_options: dict[str, Any] = {}  # the options of the last accepted start
        self._languages = ""  # the languages of the person who started it, in the notebook's format
        self._handle_made: SessionHandle | None = None
        self.ending: asyncio.Task[None] | None = None  # the task of a running DELETE of this server
        self.remove_wanted = False  # True if that DELETE also removes the server

    # --- state ------------------------------------------------------------------------------------------------------

    @property
    def gateway(self) -> HubGateway:
        """Return the objects that all handlers and spawners of this hub process share."""
        return gateway(self.link_at)

    @property
    def handle(self) -> SessionHandle:
        """Return the handle of this server's session; the handle may have no session yet.

        The handle is created at its first use, because it needs the event loop.
        """
        if self._handle_made is None:
            self._handle_made = SessionHandle(self.gateway, self.user.name, self.name)
        return self._handle_made

    @property
    def will_resume(self) -> bool:
        """Return whether the session continues although JupyterHub forgets the server.

        In this case the server's token must stay valid.
        """
        return not self.handle.over()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state of an earlier hub process.

        If the end of the session was requested, it is requested again, in case the link's ledger does not hold the
        request.
        """
        super().load_state(state)
        self.handle.session_id = state.get("session_id", "")
        self.handle.token = self.api_token = state.get("api_token", "")
        self._good_options = state.get("options", {})
        self._languages = state.get("languages", "")
        session_id = self.handle.session_id
        if session_id and (state.get("wish") == "stop" or self.gateway.stop_requests.unwanted(session_id)):
            self.gateway.background(self.handle.stop())
            self.handle.asked_to_stop = True

    def get_state(self) -> dict[str, Any]:
        """Return the state for the hub's database.

        The state has the session's id and token, whether this hub requested its stop, the options of the last start
        that got a session, and the languages of the person who requested the last start.
        """
        state: dict[str, Any] = super().get_state()
        if self.handle.session_id:
            state.update(session_id=self.handle.session_id, api_token=self.handle.token)
            if self.handle.asked_to_stop:
                state["wish"] = "stop"
        if self._good_options:
            state["options"] = self._good_options
        if self._languages:
            state["languages"] = self._languages
        return state

    def clear_state(self) -> None:
        """Clear the state, but keep a live session; JupyterHub calls this before each start and after each stop.

        A session that has ended, or whose stop was requested, is forgotten.
        """
        over = self.handle.over()
        super().clear_state()
        if over:
            self.handle.reset()
        self.api_token = self.handle.token

    def _save(self, old_token: str | None = None, **values: Mapping[str, Any]) -> None:
        """Commit the state, and other ``values`` of the server's row.

        ``old_token``: a token of an earlier session, which is deleted unless it is still in use. Raises
        SQLAlchemyError; then nothing has changed.
        """
        db = self.user.db
        try:
            write_row(db, self.orm_spawner, state=self.get_state(), **values)
            if old_token and old_token not in (self.handle.token, self.api_token):
                found = orm.APIToken.find(db, old_token)
                if found is not None and found.user is self.user.orm_user:
                    db.delete(found)
            db.commit()
        except SQLAlchemyError:
            db.rollback()
            raise

    # --- start ------------------------------------------------------------------------------------------------------

    @default("apply_user_options")
    def _no_hook(self) -> Any:
        return lambda _spawner, _options: None  # start() reads the options

    def options_from_form(self, form_data: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Return the posted form as options. Raises StartFailed (400) for an unknown field or an invalid value."""
        return plain(choice_from_form(form_data))

    def options_from_query(self, query_data: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Raise AskFirst: options in a URL only fill in the form, and never start a session.

        Raises StartFailed (400) instead for an unknown option or an invalid value.
        """
        choice_from_form(query_data)
        raise AskFirst

    async def start(self) -> str:
        """Adopt the server's live session or request a new one; return its URL when the notebook answers.

        If the link requested this start (the option ``ADOPT``), no new session is requested. Raises StartFailed if the
        person may start nothing, the options are invalid, the link or the factory refused, the link does not answer,
        the session ended first, the link requested this start but no session is live, or somebody stopped the server
        after this start was requested. Raises SQLAlchemyError if the hub's database cannot store the session.
        Cancelling this call cancels no job.
        """
        if is_robot(self.user.name):  # an operator's own authenticator may have admitted such a name
            raise StartFailed("forbidden", ROBOTS_NAME)
        self._asked = self._asked_at()
        self._still_wanted()
        self._confirmed = True
        self._starting = True
        spare = self.api_token
        try:
            request = self._request()
            if request is not None:
                await access.check(self.gateway.link, self.authenticator, self.user, request.options)
            self._remember(await self._claim_session(request))
            try:
                url = await self._reachable(spare)
            except StartFailed:
                # It was not known whether the session was live. Since it is gone, the person gets a new one.
                if request is None or self.handle.was_certain or self.handle.asked_to_stop or self.handle.moved:
                    raise
                self.api_token = spare
                self._remember(await self._claim_session(request))
                url = await self._reachable(spare)
            self.api_token = self.handle.token or spare
            await self.gateway.starts.wait()  # JupyterHub works some milliseconds on each server that has started
        finally:
            self._starting = False
        return url

    async def _reachable(self, spare: str) -> str:
        """Return the session's URL when the notebook answers. Raises StartFailed.

        If the session's seat in a workshop is moved to another place (factory and node size) meanwhile, this start
        continues with the seat's new session. ``spare``: the token to use if the session's own token is not known.
        """
        while True:
            try:
                return await self.handle.reachable(self._environment, spare)
            except StartFailed:
                session = await self.handle.successor() if self.handle.moved else None
                if session is None:
                    raise
                self._still_wanted()
                old, self.api_token = self.handle.token, spare
                self.handle.adopt(session, spare)
                self._save(old)
                self._remember(session)

    def _request(self) -> SessionRequest | None:
        """Return the request for the link, and remember the languages of the person's browser. Raises StartFailed.

        None if the link itself starts this server, which the hub has forgotten: such a start only adopts the server's
        session.
        """
        if isinstance(self.user_options, Mapping) and ADOPT in self.user_options:
            self._take_back_options()
            self.user_options = self._good_options
            return None
        self._languages = ":".join(wanted(self.handler.request)) if self.handler is not None else ""
        return SessionRequest(user=self.user.name, server=self.name, choice=self._choice(), options=self.job_options())

    def _asked_at(self) -> float:
        """Return when this start was requested, as a time of the event loop's clock."""
        now = asyncio.get_running_loop().time()
        return now - self.handler.request.request_time() if self.handler is not None else now

    def _still_wanted(self) -> None:
        """Raise StartFailed if somebody stopped the server after this start was requested."""
        if self.gateway.stop_times.since(self.user.name, self.name, self._asked):
            raise StartFailed("refused", STOPPED)

    async def _claim_session(self, request: SessionRequest | None) -> Session | None:
        attempts = _ATTEMPTS
        while True:
            session = await self.handle.find(wait=request is not None, ask=request is None or attempts < _ATTEMPTS)
            self._still_wanted()
            old = self.handle.token
            if session is not None:
                self.handle.adopt(session, self.api_token)
                self._save(old)
                return session
            if request is None:
                raise StartFailed("gone", NOTHING_TO_ADOPT)
            self.handle.begin(self.api_token)
            self._save(old)
            try:
                await self.handle.put(request)
            except StartFailed as failed:
                attempts -= 1
                if failed.kind == "conflict" and attempts:
                    continue
                if failed.kind == "invalid":
                    self._take_back_options()
                raise
            return self.handle.session

    def _choice(self) -> Choice:
        try:
            return choice_from_options(self.user_options)
        except StartFailed:
            self._take_back_options()
            raise

    def _take_back_options(self) -> None:
        """Restore the options of the last start that got a session.

        JupyterHub stores new options before they are validated, and a start with an empty body repeats the stored ones.
        """
        self.orm_spawner.user_options = self._good_options
        self.user.db.commit()

    def _remember(self, session: Session | None) -> None:
        if session is None:
            self._save()
            return
        self._good_options = session.choice.model_dump(mode="json", exclude_none=True)
        self.user_options = self._good_options
        self._save(user_options=self._good_options)

    def _environment(self) -> tuple[dict[str, str], list[str]]:
        """Return the notebook's environment variables and argv, for the door.

        The token among the variables is passed nowhere else.
        """
        self.api_token = self.handle.token
        variables = {name: str(value) for name, value in self.get_env().items()}
        if self._languages:
            variables[LANGUAGE] = self._languages
        return variables | self.handle.names(), [*self.cmd, *self.get_args()]

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield a progress event at each change of the session, until the session can be used or has ended.

        The generator also ends once this hub has requested the end of the session. If the session's seat in a workshop
        is moved, the generator continues with the events of the seat's new session.
        """
        last: dict[str, Any] = {}
        table = self.gateway.table
        with table.watch_person(self.user.name) as changed:
            while True:
                changed.clear()
                session = self.handle.session
                event = progress.event(
                    session, silent=table.silent, waits_for_predecessor=self.handle.predecessor is not None
                )
                if event != last:
                    last = event
                    yield event
                if session is not None and (session.reachable or self.handle.over()) and not self.handle.moved:
                    return
                await changed.wait()

    # --- while it runs ------------------------------------------------------------------------------------------------

    async def poll(self) -> int | None:
        """Return None while the session is live, else its exit code, or 0 if the exit code is not known.

        The result comes from the hub's copy of the link's table. This call sends no request, but may wait up to 5 s for
        the first attempt to reach the link. The result is None, too, while a start has no session yet. A live session
        whose end this hub has requested counts as ended once the ledger holds the request.

        When a hub starts, the result is None only for a session that can be reached now, else 0. With 0, JupyterHub
        forgets the server without calling ``stop``. If the session continues, for example in the queue, the link then
        starts the server again, and ``start`` adopts the session.
        """
        handle = self.handle
        if not handle.session_id:
            return None if self._starting else 0
        table = self.gateway.table
        await table.wait_for_link()
        session = handle.session
        if not self._certain:
            up = session is not None and session.state == SessionState.RUNNING and session.reachable
            if up and not handle.asked_to_stop:
                return None
            if not handle.over():
                self.gateway.background(self._settle())
            return 0
        if not handle.over():
            return None
        if self.gateway.stop_requests.are_open(handle.session_id) and not table.over(handle.session_id):
            return None  # stop() waits for the ledger
        return session.exit_code or 0 if session is not None else 0

    @property
    def _certain(self) -> bool:
        """Return whether a call of ``stop`` is intended.

        If a hub starts and cannot reach a server, JupyterHub calls ``stop`` although nobody wants the session to end. A
        stop for a blocked user is intended.
        """
        return self._confirmed or self.user.name in self.authenticator.blocked_users

    async def get_url(self) -> str:
        """Return the session's present URL, followed by the server's base path.

        Without a session, or if the session has no URL, return the result of JupyterHub's own method.
        """
        session = self.handle.session
        if session is None or session.url is None:
            return str(await super().get_url())
        return f"{session.url}{self.server.base_url}"

    def start_polling(self) -> None:
        """Start following the server's session; JupyterHub calls this when the server answers.

        After this call, ``stop`` always requests the end of the session, even if an earlier hub process began the
        session.
        """
        super().start_polling()
        self._confirmed = True
        self._unfollow = self.gateway.background(self._follow())

    def stop_polling(self) -> None:
        """Stop following the server's session."""
        super().stop_polling()
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None

    async def _follow(self) -> None:
        await self.handle.attend(self._environment)
        self._unfollow = None  # the code below calls stop_polling, which must not cancel this task
        if self._spawn_future is not None:  # JupyterHub adds its callback only after the spawn has finished
            await asyncio.wait([self._spawn_future])
        if self.pending:  # the present start handles the end itself
            await self.poll_and_notify()
            return
        # JupyterHub would do this only after the proxy's answer, and it stops servers that start before that.
        self._stop_pending, self._stop_future = True, asyncio.current_task()
        try:
            await self.poll_and_notify()
        finally:
            self._stop_pending, self._stop_future = False, None

    async def _settle(self) -> None:
        """Wait for the end of a session whose server the starting hub has marked as not running.

        Then forget the session, and delete its token, unless the server was started again.
        """
        session_id, token = self.handle.session_id, self.handle.token
        await self.handle.until_over(session_id)
        if self.orm_spawner.server is None and (self.orm_spawner.state or {}).get("session_id") == session_id:
            self.handle.reset()
            self.api_token = ""  # nosec B105
            self._save(token)

    # --- stop -------------------------------------------------------------------------------------------------------

    def request_stop(self, by: By = "hub") -> Awaitable[None]:
        """Give up starts requested before this call, and return an awaitable that stops the server's sessions.

        The stops are requested only when the caller awaits it. The awaitable is done once the stops are recorded, and
        raises NotKept if they cannot be recorded. Sessions that a restarted hub has forgotten are stopped as well,
        since the link would start their server again. ``by``: who requests the stop, as the link records it: the
        person, an operator, or the hub itself.
        """
        self.gateway.stop_times.note(self.user.name, self.name)
        self._confirmed = True
        self.stop_polling()
        found = {session.id for session in self.gateway.table.of(self.user.name, self.name) if session.wish == "run"}
        if not self.handle.over():
            found.add(self.handle.session_id)
            self.handle.asked_to_stop = True
        return self.gateway.stop_requests.keep(found, by)

    async def stop(self, now: bool = False) -> None:  # noqa: ARG002  # JupyterHub's signature
        """Request the end of the session; return when the ledger holds this request.

        Does nothing if JupyterHub calls it only because the server did not answer when the hub started: then nobody
        wants the session to end. Never raises, because JupyterHub clears the state in any case.
        """
        if not self._certain:
            return
        await self.handle.stop()

    async def delete_forever(self) -> None:
        """Stop the session of a server that is deleted, or whose user is deleted.

        A session that a restarted hub has forgotten ends as well, because the link would start its server again. Never
        raises, because JupyterHub deletes the server in any case.
        """
        try:
            await self.request_stop()
        except NotKept:
            self.log.exception(
                "The stop of server %s of %s is recorded nowhere: it happens only if this hub process runs until the "
                "link answers",
                self.name,
                self.user.name,
            )

    async def rename(self, old_name: str, new_name: str) -> None:  # noqa: ARG002  # JupyterHub's signature
        """Raise HTTPError (400) while the link has a live session under the server's old name; else do nothing."""
        if self.gateway.table.of(self.user.name, old_name):
            raise web.HTTPError(400, "This server has a session; stop it first.")
