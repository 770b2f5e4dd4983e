"""A workshops service with the part for joining only: a database, its socket for the hub, and a folder of mails."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from factorycommon.connections import IDLE_SECONDS
from factorycommon.service.database import Database
from workshops.api.routes import workshops_app
from workshops.joining import codes, hub_routes
from workshops.joining.service import Joining
from workshops.models.joining import JoiningSettings
from workshops.states import WorkshopState
from workshops.store.schema import CodeRecord, EventRecord, MembershipRecord, PlaceRecord, WorkshopRecord
from workshops.store.store import Store

SECRET = b"s" * 32
BROWSER = "0" * 32
CODE = "K7QD-XW3M-9RTA"


class JoiningWorld:
    """The service, with a clock that a test may move (``ahead``)."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.socket = folder / "workshops.sock"
        self.mailbox = folder / "mails"
        self.store = Store(Database.file(folder / "workshops.sqlite", "workshops"))
        goes = {} if "smtp" in settings else {"folder": self.mailbox}
        self.settings = JoiningSettings(sender="workshops@gateway.example", **goes, **settings)
        self.ahead = timedelta()
        self.ticks = 0.0
        self.changes = 0
        self.joining: Joining
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the database; nothing listens."""
        await self.store.open()
        self.joining = Joining(
            self.store, self.settings, SECRET, "https://hub.example/", self._changed, self.now, lambda: self.ticks
        )

    async def up(self) -> None:
        """Listen on the socket."""
        app = workshops_app("test")
        hub_routes.add(app, self.joining)
        self._server = uvicorn.Server(uvicorn.Config(app, uds=str(self.socket), log_level="error", lifespan="off"))
        self._serving = asyncio.create_task(self._server._serve())
        while not self._server.started:
            await asyncio.sleep(0.01)

    async def down(self) -> None:
        """Stop listening, as by SIGKILL."""
        assert self._server is not None and self._serving is not None
        self.socket.unlink(missing_ok=True)
        for listening in self._server.servers:
            listening.close()
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        self._server.force_exit = self._server.should_exit = True
        await self._serving

    async def close(self) -> None:
        """Close the sender of mails and the database."""
        await self.joining.mails.close()
        await self.store.close()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def _changed(self) -> None:
        self.changes += 1

    def client(self) -> httpx.AsyncClient:
        """Return a client of the socket."""
        limits = httpx.Limits(max_connections=None, keepalive_expiry=IDLE_SECONDS)
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket), limits=limits)
        return httpx.AsyncClient(transport=transport, base_url="http://workshops", trust_env=False)

    async def workshop(
        self,
        slug: str = "gpu-day",
        code: str = CODE,
        seats: int = 2,
        code_values: dict[str, Any] | None = None,
        **values: Any,
    ) -> WorkshopRecord:
        """Store an open workshop, which the person ``teach`` leads; return it.

        ``code``: its join code; ``code_values``: more fields of the code; ``values``: other values of the workshop's
        fields.
        """
        now = self.now()
        given: dict[str, Any] = {
            "title": "GPU day", "zone": "Europe/Helsinki", "opens": now - timedelta(hours=1), "starts": now,
            "ends": now + timedelta(hours=6), "closes": now + timedelta(hours=8), "hours": 2.0, "gpu_hours": None,
            "person_gpu_hours": None, "terms": "", "languages": ("en",), "material": None, "retention_days": 30,
            "warm_minutes": 30, "seat_on_join": False, "state": WorkshopState.OPEN, "version": 1, "made": now,
            "made_by": "teach",
            "places": (PlaceRecord(1, "one", "small", None, "pool"),),
        } | values  # fmt: skip
        record = WorkshopRecord(slug=slug, seats=seats, **given)
        lead = MembershipRecord(slug, "teach", "lead", "staff", None, now)
        made = EventRecord(slug, now, "", "made")
        await self.store.create(record, lead, self.code(slug, code, **code_values or {}), made)
        return record

    def code(self, slug: str, code: str, **values: Any) -> CodeRecord:
        salt = codes.make_salt()
        return CodeRecord(slug, salt, codes.hash_of(code, salt, SECRET), self.now(), "teach", **values)

    async def mails(self) -> list[EmailMessage]:
        """Return all mails, the oldest first."""
        await self.joining.mails.settle()
        found = []
        for path in sorted(self.mailbox.glob("*.eml")):
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            found.append(message)
        return found

    async def digits(self, to: str) -> str:
        """Return the last one-time code that was sent to an address."""
        mine = [one for one in await self.mails() if one["To"] == to.lower()]
        found = [digits[0] for one in mine if (digits := re.match(r"\d{8}\b", one["Subject"]))]
        return found[-1]
