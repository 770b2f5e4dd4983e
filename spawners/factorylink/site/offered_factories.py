"""Holds the factories that this hub offers, with the operator's drains and pauses, and the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from pydantic import ValidationError

from factorycommon.models import BannerView, Health, Slug
from factorylink.catalogue.catalogue import Catalogue
from factorylink.explain import explain
from factorylink.ledger.ledger import AuditEntry, Ledger
from factorylink.ledger.schema import BANNER, BANNER_UNTIL, WHOLE_GATEWAY
from factorylink.site.factory_connection import FactoryConnection
from factorylink.util import clock

OPERATOR = "operator"  # the name in the audit of orders by the command line, which does not know who types
GATEWAY = "gateway"  # in the audit: an order about the whole gateway


class OfferedFactories(Mapping[Slug, FactoryConnection]):
    """The offered factories by id.

    ``catalogue``: all factories, offered or not. ``drains``: the operator's message for each drained factory;
    ``closed``: the operator's message while the whole gateway is drained, else None; ``banner``: the message on all
    pages. ``on_change`` is called when a drain begins or ends, once for each factory that the drain concerns, with the
    factory's id; ``on_banner`` is called when the banner has changed. Call ``load`` before anything else.
    """

    def __init__(self, ledger: Ledger, offered: Mapping[Slug, FactoryConnection], catalogue: Catalogue) -> None:
        self._ledger = ledger
        self.offered = offered
        self.catalogue = catalogue
        self.drains: dict[Slug, str] = {}
        self.on_change: Callable[[Slug], None] = lambda _factory_id: None
        self.closed: str | None = None
        self.banner = BannerView(text="")
        self.on_banner: Callable[[], None] = lambda: None

    def __getitem__(self, factory_id: Slug) -> FactoryConnection:
        return self.offered[factory_id]

    def __iter__(self) -> Iterator[Slug]:
        return iter(self.offered)

    def __len__(self) -> int:
        return len(self.offered)

    async def load(self) -> None:
        """Load the drains, the pauses and the banner from the ledger. Raises LedgerError."""
        self.drains = await self._ledger.drains()
        self.closed = self.drains.pop(WHOLE_GATEWAY, None)
        self.banner = _banner(self.drains.pop(BANNER, ""), self.drains.pop(BANNER_UNTIL, ""))
        for factory_id, message in (await self._ledger.pauses()).items():
            if factory_id in self.offered:
                self.offered[factory_id].access_status.pause(message)

    async def close(self) -> None:
        """Stop asking the schedulers, and close the connections to the factories."""
        for connection in self.offered.values():
            await connection.site.stop()
            await connection.commands.close()

    def health(self, factory_id: Slug) -> Health:
        """Return the factory's health.

        If the factory is drained or paused, and is not known to be unreachable, the state is ``draining``, with the
        operator's message. For a factory that is not offered, the state is ``unreachable``, with an explanation.
        """
        if (connection := self.offered.get(factory_id)) is None:
            unknown = explain.own("not-offered", factory_id)
            return Health(state="unreachable", since=clock.now(), words=unknown)
        health, words = connection.site.health, connection.access_status.paused
        message = self.drained(factory_id)
        if words is None and message is not None:
            words = explain.own("draining").saying(what=message)
        if words is None or health.state == "unreachable":
            return health
        return health.model_copy(update={"state": "draining", "words": words})

    def drained(self, factory_id: Slug) -> str | None:
        """Return the operator's message if the factory or the whole gateway is drained, else None."""
        return self.drains.get(factory_id, self.closed)

    def not_offered(self, factory_id: str) -> str:
        """Return why nothing can be started at a factory that is not offered."""
        known = f"Unknown factory {factory_id!r}; there are: {', '.join(self.offered)}."
        return self.catalogue.refusal(factory_id) or known

    def key_id(self, factory_id: Slug, account: str) -> str:
        """Return the id of the key that the link last used to log in for a site account, for the audit.

        "" if the factory is not offered, or if the link has not logged in for the account yet; ``local`` if the factory
        needs no login.
        """
        connection = self.offered.get(factory_id)
        return "" if connection is None else connection.access_status.key_id(account)

    # --- orders of an operator (``by``); each is recorded in the audit

    async def drain(self, factory_id: Slug, message: str, by: str = OPERATOR) -> None:
        """Drain the factory: let nothing new start there. Raises LedgerError.

        ``message``: the operator's message for people; ``by``: the operator's name for the audit.
        """
        await self._ledger.drain(factory_id, message, AuditEntry(by, "", factory_id, "drain", detail=message))
        self.drains[factory_id] = message
        self.on_change(factory_id)

    async def undrain(self, factory_id: Slug, by: str = OPERATOR) -> None:
        """End the factory's drain. Raises LedgerError. ``by``: the operator's name for the audit."""
        await self._ledger.undrain(factory_id, AuditEntry(by, "", factory_id, "undrain"))
        self.drains.pop(factory_id, None)
        self.on_change(factory_id)

    async def close_all(self, message: str, by: str = OPERATOR) -> None:
        """Drain the whole gateway: let nothing new start at any factory. Raises LedgerError.

        ``message``: the operator's message for people; ``by``: the operator's name for the audit.
        """
        await self._ledger.drain(WHOLE_GATEWAY, message, AuditEntry(by, "", GATEWAY, "drain", detail=message))
        self._set_closed(message)

    async def open_all(self, by: str = OPERATOR) -> None:
        """End the drain that ``close_all`` began; factories that are drained one by one stay so. Raises LedgerError.

        ``by``: the operator's name for the audit.
        """
        await self._ledger.undrain(WHOLE_GATEWAY, AuditEntry(by, "", GATEWAY, "undrain"))
        self._set_closed(None)

    def _set_closed(self, message: str | None) -> None:
        self.closed = message
        for factory_id in self.offered:
            self.on_change(factory_id)

    async def show_banner(self, text: str, by: str = OPERATOR, until: datetime | None = None) -> None:
        """Show a text on all pages in place of the earlier one; "" removes the banner. Raises LedgerError.

        ``until``: when the banner ends; None: it has no end. ``by``: the operator's name for the audit.
        """
        detail = f"{text} (until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC)" if until else text
        await self._ledger.set_banner(text, until, AuditEntry(by, "", GATEWAY, "banner", detail=detail))
        self.banner = BannerView(text=text, until=until)
        self.on_banner()

    async def pause(self, factory_id: Slug, message: str, by: str = OPERATOR) -> None:
        """Pause the factory: submit and extend no job there, and open no connection to a door. Raises LedgerError.

        ``message``: the operator's message for people; ``by``: the operator's name for the audit.
        """
        await self._ledger.pause(factory_id, message, AuditEntry(by, "", factory_id, "pause", detail=message))
        self.offered[factory_id].access_status.pause(message)

    async def resume(self, factory_id: Slug, by: str = OPERATOR) -> None:
        """End the factory's pause. Raises LedgerError. ``by``: the operator's name for the audit."""
        await self._ledger.resume(factory_id, AuditEntry(by, "", factory_id, "resume"))
        self.offered[factory_id].access_status.pause(None)


def _banner(text: str, until: str) -> BannerView:
    """Return the banner with this text; its end is ``until``, or no end if ``until`` is "" or cannot be parsed."""
    try:
        return BannerView.model_validate({"text": text, "until": until or None})
    except ValidationError:
        return BannerView(text=text)
