"""Starts the notebooks of robots, which take the seats of a class in a rehearsal.

The hub knows no robots, so it starts no server for a robot's session, and the proxy has no route to the session.
Instead of the hub, the link sends the notebook's environment variables to the session's door. They give no rights: the
token among them is random, and not even the hub knows the token.
"""

from __future__ import annotations

import json
import logging
import secrets

from factorycommon.models import SessionId, is_robot, notebook_base
from factorylink.errors import FactoryError
from factorylink.ledger.schema import SessionRecord
from factorylink.problems import ProblemError
from factorylink.sessions.service import Sessions
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util.background_tasks import BackgroundTasks

log = logging.getLogger("factorylink")

PROGRAM = "jupyterhub-singleuser"
_TOKEN_BYTES = 32


class RobotNotebooks:
    """Sends the notebook's environment variables to each robot's session as soon as the session's door waits for them.

    A robot takes a seat of a class in a rehearsal. ``base_url``: the hub's base path.
    """

    def __init__(self, table: SessionTable, sessions: Sessions, base_url: str, tasks: BackgroundTasks) -> None:
        self._sessions = sessions
        self._base_url = base_url
        self._tasks = tasks
        self._starting: set[SessionId] = set()
        table.on_change.append(self._changed)

    def _changed(self, live_session: LiveSession) -> None:
        record, door = live_session.record, live_session.door
        if not is_robot(record.user) or record.wish != "run" or record.id in self._starting:
            return
        if live_session.door_open and door is not None and door.phase == "waiting" and not door.environment:
            self._starting.add(record.id)
            self._tasks.begin(self._start(record), f"notebook of {record.user}")

    async def _start(self, record: SessionRecord) -> None:
        """Send the notebook's environment variables to a robot session's door; the door then starts the notebook.

        A failure is logged, and the door's next status starts another attempt.
        """
        try:
            await self._sessions.send_environment(record.id, environment(self._base_url, record), [PROGRAM])
        except (ProblemError, FactoryError) as error:
            log.info("The notebook of %s is not started yet: %s", record.user, error)
        finally:
            self._starting.discard(record.id)


def environment(base_url: str, record: SessionRecord) -> dict[str, str]:
    """Return the environment variables of a robot's single-user server, which nobody may enter.

    ``base_url``: the hub's base path. ``JUPYTERHUB_ACTIVITY_URL`` is left out, so that the server reports no activity
    to the hub: the hub does not know the server's token.
    """
    prefix = notebook_base(base_url, record.user, record.server)
    scopes = json.dumps([f"access:servers!server={record.user}/{record.server}"])
    return {
        "JUPYTERHUB_API_TOKEN": secrets.token_hex(_TOKEN_BYTES),
        "JUPYTERHUB_API_URL": f"http://hub{base_url}hub/api",  # the door puts its own socket in place of the host
        "JUPYTERHUB_BASE_URL": base_url,
        "JUPYTERHUB_CLIENT_ID": f"robot-{record.id}",
        "JUPYTERHUB_DEFAULT_URL": "/lab",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": scopes,
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
        "JUPYTERHUB_OAUTH_SCOPES": scopes,
        "JUPYTERHUB_SERVER_NAME": record.server,
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_USER": record.user,
    }
