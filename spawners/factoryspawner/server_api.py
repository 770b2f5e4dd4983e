"""Replaces JupyterHub's handlers that start and stop servers and delete users.

The answer to a start by the API describes the session. A request to stop or delete a server is answered only when the
stop is recorded, in the link's ledger or in the hub's database, whatever the server is doing.

If a start is under way at a request to stop, JupyterHub's own handler cancels the start, waits one second, and answers
500 if the start has not ended by then; the server is not stopped. With this module, JupyterHub's own clean-up runs
after the request, once no start, poll or earlier stop of the server is running. Until then the server counts as
stopping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from jupyterhub import apihandlers, handlers, orm
from jupyterhub.apihandlers.users import UserAPIHandler, UserServerAPIHandler
from jupyterhub.handlers.pages import SpawnHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.user import User
from jupyterhub.utils import maybe_future
from sqlalchemy import bindparam, select
from tornado import web

from factorycommon.models import ADOPT, SessionState, notebook_base
from factorycommon.time_slice import TimeSlice
from factorylink.client import By
from factoryspawner.errors import NOT_WRITTEN, STOPPED
from factoryspawner.retry_pauses import pauses
from factoryspawner.spawner import FactorySpawner
from factoryspawner.stop_requests import NotKept

_USERS = orm.User.__table__
_ID_OF_USER = select(_USERS.c.id).where(_USERS.c.name == bindparam("name"))
_LOOK_SECONDS = 0.05  # seconds between two checks of a server for which JupyterHub has no future to wait for


class StartsServers:
    """Mixin for JupyterHub's handlers that start servers.

    If somebody stops a start whose request is not answered yet, the answer is 400 with an explanation. A start that
    only adopts a live session, that is, uses it as the server, needs no new check of the login, because nothing is
    started.
    """

    _adopts = False
    _starts: Any = None  # the person whose server this request has started

    async def refresh_auth(self, user: Any, force: bool = False) -> Any:
        """Check a person's login again if that is due, and return the user; None: they must log in.

        ``force``: check now, even if the last check is recent. If the request only adopts a live session (uses it as
        the server), a call with ``force`` checks nothing, and returns the user.
        """
        if force and self._adopts:
            return user
        return await super().refresh_auth(user, force)  # type: ignore[misc]

    async def spawn_single_user(
        self, user: Any, server_name: str = "", display_name: str = "", options: Any = None
    ) -> None:
        """Start a server as JupyterHub does.

        Raises HTTPError 400 if another action, such as a start or a stop of the server, is pending, or if somebody
        stopped the server meanwhile.
        """
        self._adopts, self._starts = isinstance(options, dict) and ADOPT in options, user
        spawner = user.spawners.get(server_name)
        if spawner is not None and spawner.pending:
            raise web.HTTPError(400, f"{spawner._log_name} is pending {spawner.pending}")
        try:
            await super().spawn_single_user(user, server_name, display_name, options)  # type: ignore[misc]
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # the hub itself is ending
            raise web.HTTPError(400, f"{STOPPED.what} {STOPPED.do}") from None


class StopsServers:
    """Mixin for JupyterHub's handlers that stop servers: waits until stops are recorded, and ends servers."""

    async def recorded(self, *stops: Awaitable[None]) -> None:
        """Wait until these requests to stop are recorded, in the link's ledger or in the hub's database.

        ``stops``: what ``FactorySpawner.request_stop`` returns. Raises HTTPError 503 if one of them cannot be recorded.
        """
        try:
            await asyncio.gather(*stops)
        except NotKept as error:
            raise web.HTTPError(503, f"{NOT_WRITTEN.what} {NOT_WRITTEN.do}") from error

    def end(self, user: Any, spawner: FactorySpawner, remove: bool = False) -> asyncio.Task[None]:
        """Start the task that ends a server, unless this task is running already; return the task.

        The server's start, if there is one, is cancelled, and the task stops the server. ``remove``: the task then also
        deletes the server, unless somebody has started the server again. If the task is running already, a call with
        ``remove`` adds the deletion; a call without ``remove`` does not cancel the deletion.
        """
        spawner.remove_wanted |= remove
        if spawner.ending is None:
            stopped_by_others = spawner.pending == "stop"
            if spawner.active and not stopped_by_others:
                if spawner._spawn_future is not None:
                    spawner._spawn_future.cancel()
                # From now on, everybody who asks for the server learns that it is stopping.
                spawner._spawn_pending, spawner._stop_pending = False, True
            spawner.ending = spawner.gateway.task(self._end(user, spawner, stopped_by_others))
        return spawner.ending

    async def answered(self, work: asyncio.Task[None]) -> None:
        """Wait for ``work``, but not longer than JupyterHub's ``slow_stop_timeout``; set the status of the answer.

        The status is 204 if ``work`` has ended, else 202. Raises the error of ``work`` if ``work`` has failed.
        """
        await asyncio.wait([work], timeout=self.slow_stop_timeout)  # type: ignore[attr-defined]
        if work.done():
            work.result()
        self.set_header("Content-Type", "text/plain")  # type: ignore[attr-defined]
        self.set_status(204 if work.done() else 202)  # type: ignore[attr-defined]

    async def _end(self, user: Any, spawner: FactorySpawner, stopped_by_others: bool) -> None:
        try:
            await _let_go(spawner, stopped_by_others)
            for pause in pauses():
                spawner._stop_pending = False
                if user.spawners.get(spawner.name) is not spawner or not spawner.ready:
                    break
                await (await self.stop_single_user(user, spawner.name))  # type: ignore[attr-defined]
                if spawner.ready:  # its route could not be deleted, which JupyterHub does not report
                    spawner._stop_pending = True
                    await asyncio.sleep(pause)
        finally:
            remove, spawner.remove_wanted, spawner.ending = spawner.remove_wanted, False, None
        if remove:
            await self._remove(user, spawner)

    async def _remove(self, user: Any, spawner: FactorySpawner) -> None:
        """Delete the server, unless somebody has started it again."""
        now = user.spawners.get(spawner.name)
        if (now is not None and now.active) or spawner.name not in user.orm_spawners:
            return
        await maybe_future(user._delete_spawner(spawner))
        self.db.delete(spawner.orm_spawner)  # type: ignore[attr-defined]
        user.spawners.pop(spawner.name, None)
        self.db.commit()  # type: ignore[attr-defined]


class ServerHandler(StartsServers, StopsServers, UserServerAPIHandler):  # type: ignore[misc]  # jupyterhub is untyped
    """JupyterHub's handler for a server, with the gateway's DELETE, and with the session in the answer to a start."""

    def find_user(self, name: str) -> Any:
        """Return the user with this name; None if there is none.

        JupyterHub's own method takes longer: it reads the user's whole row again, and looks for new roles, groups and
        shares.
        """
        user_id = self.db.execute(_ID_OF_USER, {"name": name}).scalar()
        return None if user_id is None else self.users[user_id]

    @needs_scope("start:servers")  # type: ignore[untyped-decorator]
    async def post(self, user_name: str, server_name: str = "") -> None:
        """Start a server as JupyterHub does.

        The body of the 201 or 202, which is empty in JupyterHub, describes the session.
        """
        await self.settings.setdefault("factorygate_starts", TimeSlice()).wait()  # a class may start at once
        await super().post(user_name, server_name)
        user = self._starts or self.find_user(user_name)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.write(started(user.spawners[server_name], self.base_url))

    @needs_scope("delete:servers")  # type: ignore[untyped-decorator]
    async def delete(self, user_name: str, server_name: str = "") -> None:
        """Stop a server; with ``{"remove": true}`` in the body, delete the server as well.

        Answer 204 if this is done within JupyterHub's ``slow_stop_timeout``, else 202, and the work continues. Raises
        HTTPError 404 for an unknown user or server; 400 if the server is being renamed, if the unnamed server is to be
        deleted, or if the server has a name but named servers are not enabled; 503 if the stop cannot be recorded.
        """
        user = self.find_user(user_name)
        if user is None:
            raise web.HTTPError(404)
        body = self.get_json_body()
        remove = bool(body.get("remove", False)) if isinstance(body, dict) else False
        if server_name and not self.allow_named_servers:
            raise web.HTTPError(400, "Named servers are not enabled.")
        if server_name and server_name not in user.orm_spawners:
            raise web.HTTPError(404, f"{user_name} has no server named '{server_name}'")
        if remove and not server_name:
            raise web.HTTPError(400, "Cannot delete the default server")
        spawner = user.spawners[server_name]
        if spawner.pending == "rename":
            raise web.HTTPError(400, "Cannot stop a server while it is being renamed")
        stop = spawner.request_stop(_requested_by(self.current_user, user))
        work = self.end(user, spawner, remove)
        await self.recorded(stop)
        await self.answered(work)


class PersonHandler(StopsServers, UserAPIHandler):  # type: ignore[misc]  # jupyterhub is untyped
    """JupyterHub's handler for a user; its DELETE first stops all of the user's servers, in any state."""

    @needs_scope("delete:users")  # type: ignore[untyped-decorator]
    async def delete(self, user_name: str) -> None:
        """Stop all servers of a user, and delete the user once the servers have stopped.

        Answer 204 if this is done within JupyterHub's ``slow_stop_timeout``, else 202, and the work continues. Raises
        HTTPError 404 for an unknown user, 400 for one's own user, 503 if the stops cannot be recorded.
        """
        user = self.find_user(user_name)
        if user is None:
            raise web.HTTPError(404)
        if user.name == self.current_user.name:
            raise web.HTTPError(400, "Cannot delete yourself!")
        stops = [user.spawners[name].request_stop("operator") for name in list(user.orm_spawners)]
        if getattr(user, "deleting", None) is None:
            user.deleting = user.spawner.gateway.task(self._delete(user))
        work = user.deleting
        await self.recorded(*stops)
        await self.answered(work)

    async def _delete(self, user: Any) -> None:
        try:
            while active := [spawner for spawner in user.spawners.values() if spawner.active]:
                await asyncio.gather(*(self.end(user, spawner) for spawner in active))
            await maybe_future(self.authenticator.delete_user(user))
            await user.delete_spawners()
            self.users.delete(user)
        finally:
            user.deleting = None


class StartPage(StartsServers, SpawnHandler):  # type: ignore[misc]  # jupyterhub is untyped
    """JupyterHub's start page; a posted form does not fail if the server starts or runs already.

    JupyterHub refuses the form if the server starts or runs already. Here the answer redirects to the server, as for a
    GET: the gateway may have started the session of a person's seat while the person filled in the form.
    """

    @needs_scope("servers")  # type: ignore[untyped-decorator]
    async def _post(self, user_name: str, server_name: str, display_name: str) -> None:
        user = self.find_user(user_name)
        spawner = user.spawners.get(server_name) if user is not None else None
        if spawner is not None and spawner.ready:
            self.redirect(self.get_next_url(user, default=user.server_url(server_name)))
        elif spawner is not None and spawner.active:
            self.redirect(self._get_pending_url(user, server_name))
        else:
            await super()._post(user_name, server_name, display_name)


def started(spawner: FactorySpawner, base_url: str) -> dict[str, Any]:
    """Return the session of a server that is starting, as the link's user API describes it.

    Before the link has answered, return only the session's person and server, its id, its state and its URL. The id is
    None if the start has not chosen one yet, for example because an earlier session must end first.
    """
    own = spawner.user.host if spawner.user.settings.get("subdomain_host") else spawner.gateway_url
    root = f"{own}{base_url}"
    session = spawner.handle.session
    if session is not None:
        return session.addressed(root).model_dump(mode="json")
    return {
        "id": spawner.handle.session_id or None,
        "user": spawner.user.name,
        "server": spawner.name,
        "state": SessionState.PENDING.value,
        "url": notebook_base(root, spawner.user.name, spawner.name),
    }


_OURS = {UserServerAPIHandler: ServerHandler, UserAPIHandler: PersonHandler, SpawnHandler: StartPage}


def replace_handlers() -> None:
    """Replace JupyterHub's handlers that start and stop servers and delete users, for all hubs in this process."""
    for routes in (apihandlers.default_handlers, handlers.default_handlers):
        routes[:] = [(route[0], _OURS.get(route[1], route[1]), *route[2:]) for route in routes]


def _requested_by(caller: Any, owner: Any) -> By:
    """Return who requests a stop: "person" for the server's owner, "operator" for another user, "hub" for a service.

    ``caller``: JupyterHub's user or service; ``owner``: the server's user.
    """
    if not isinstance(caller, User):
        return "hub"
    return "person" if caller.name == owner.name else "operator"


async def _let_go(spawner: FactorySpawner, stopped_by_others: bool) -> None:
    """Return when no start, poll or stop of the server is running any more.

    ``stopped_by_others``: JupyterHub was stopping the server before this request, so wait for that stop, too.
    """
    while True:
        under_way = [f for f in (spawner._spawn_future, spawner._stop_future) if f is not None and not f.done()]
        if under_way:
            await asyncio.wait(under_way)
        elif spawner._spawn_pending or spawner._check_pending or (stopped_by_others and spawner._stop_pending):
            await asyncio.sleep(_LOOK_SECONDS)
        else:
            return
