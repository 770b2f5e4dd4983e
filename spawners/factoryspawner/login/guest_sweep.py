"""Deletes from the hub's users the guests whose workshops are all deleted.

The workshops service may not delete users of the hub. So the hub regularly asks the service which guests it still
knows. If the service does not answer, nobody is deleted.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyterhub import orm

from factorycommon.link_errors import LinkError, LinkProblem
from factorycommon.models import GUEST
from factorycommon.service_address import ServiceAddress
from factoryspawner.pages.workshops.joining_client import joining

log = logging.getLogger("factoryspawner")

SWEEP_SECONDS = 3600.0  # between two sweeps
UNUSED = timedelta(days=1)  # how long a guest must have done nothing
_UNKNOWN = 404


class GuestSweep:
    """Deletes from the hub's users the guests whom the workshops service no longer knows.

    ``at``: where the workshops service listens for the hub; ``users``: the hub's users; ``authenticator``: the hub's
    authenticator, which is informed of each deletion.
    """

    def __init__(self, at: ServiceAddress, users: Any, authenticator: Any) -> None:
        self._at = at
        self._users = users
        self._authenticator = authenticator

    async def keep(self) -> None:
        """Call ``once`` every hour, without end, to delete the guests whom the workshops service no longer knows."""
        while True:
            try:
                await self.once()
            except Exception:  # any error: this loop must continue, since nothing else does its work
                log.exception("Users of guests are looked at again in an hour")
            await asyncio.sleep(SWEEP_SECONDS)

    async def once(self) -> list[str]:
        """Delete from the hub's users the guests whom the workshops service no longer knows; return their names.

        Guests who did something within the last day, or whose server runs, starts or stops, are not deleted.
        """
        gone = []
        for name in self._unused(datetime.now(UTC)):
            try:
                await joining(self._at).guest(name)
            except LinkProblem as error:
                if error.status == _UNKNOWN and await self._delete(name):
                    gone.append(name)
            except (LinkError, ValueError) as error:
                log.info("Users of guests are not swept: %s", error)
                break
        return gone

    def _unused(self, now: datetime) -> list[str]:
        """Return the names of the guests who have done nothing for at least a day (``UNUSED``)."""
        before = (now - UNUSED).replace(tzinfo=None)  # JupyterHub stores UTC without a zone
        table = orm.User
        query = self._users.db.query(table).filter(table.name.startswith(GUEST, autoescape=True))
        return [one.name for one in query if (one.last_activity or one.created or before) <= before]

    async def _delete(self, name: str) -> bool:
        """Delete a user as JupyterHub's API does; return whether the user was deleted.

        Nothing is done if the hub has no user with this name, or if one of the user's servers is up, starting or
        stopping.
        """
        found = orm.User.find(self._users.db, name)
        if found is None:
            return False
        user = self._users[found]
        if user.active:
            return False
        deleting = self._authenticator.delete_user(user)
        if asyncio.iscoroutine(deleting):
            await deleting
        await user.delete_spawners()
        self._users.delete(user)
        log.info("The guest %s is deleted: no workshop knows them any more", name)
        return True
