"""Follows the gateway's catalogue while a widget is shown, and asks when sessions of chosen lengths would start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager

from factorycommon.language import N_
from factorycommon.models import Estimate, FactoryView
from factorygate.link import Link, LinkError, LinkRoute, NoLinkError
from factorygate.widgets.background import INTERVAL

_log = logging.getLogger(__name__)

_FIRST_WAIT, _LAST_WAIT = 1.0, 30.0  # seconds before the next try, doubled each time


class _Stream:
    """The event stream of the catalogue that all widgets of this kernel share; for the background thread only.

    The stream is open while at least one ``reading`` block runs. ``news``: the last catalogue, or the error of the last
    request; None: there was neither yet.
    """

    def __init__(self) -> None:
        self.news: list[FactoryView] | LinkError | None = None
        self._changed = asyncio.Event()
        self._readers = 0
        self._route: LinkRoute | None = None
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep the stream open during the block. Raises NoLinkError if this program has no link.

        If the route to the link has changed since the stream was opened, for example because the person has called
        ``use_token``, the stream is first opened again by the new route.
        """
        route = LinkRoute.here()
        if self._task is None or self._task.done() or route != self._route:
            self._close()
            self._route = route
            self._task = asyncio.create_task(self._read())
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            if self._readers == 0:
                self._close()

    def _close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = self.news = None

    async def after(self, seen: list[FactoryView] | LinkError | None) -> list[FactoryView] | LinkError:
        """Wait until ``news`` is neither None nor the object ``seen``; return ``news``."""
        while self.news is None or self.news is seen:
            await self._changed.wait()
        return self.news

    def _tell(self, news: list[FactoryView] | LinkError) -> None:
        self.news = news
        self._changed.set()
        self._changed = asyncio.Event()

    async def _read(self) -> None:
        """Read the stream without end.

        When the stream ends or fails, open it again, by the route to the link that ``LinkRoute.here`` returns then.
        """
        wait = _FIRST_WAIT
        while True:
            try:
                self._route = LinkRoute.here()
                link = Link(self._route)
                try:
                    async with aclosing(link.events("/factories/events", list[FactoryView])) as events:
                        async for name, factories in events:
                            if name == "factories":
                                self._tell(factories)
                            wait = _FIRST_WAIT
                            await asyncio.sleep(INTERVAL)  # later events wait on the connection
                finally:
                    await link.close()
            except LinkError as error:
                self._tell(error)
            except Exception:  # noqa: BLE001  (the readers would wait without end)
                _log.exception("The catalogue is requested again")
                self._tell(LinkError("unreachable", N_("The gateway does not answer now.")))
            await asyncio.sleep(wait)
            wait = min(_LAST_WAIT, wait * 2)


_stream = _Stream()


async def follow(hear: Callable[[list[FactoryView]], bool], trouble: Callable[[LinkError], bool]) -> None:
    """Call ``hear`` with the catalogue when it is received, and whenever it changes.

    Changes are passed at most about once in ``INTERVAL`` seconds. If a request for the catalogue fails, the function
    calls ``trouble`` with the error, and the request is repeated. If there is no route to the link at the start
    (NoLinkError), the function calls ``trouble`` once and ends. If ``hear`` or ``trouble`` returns False, the function
    ends, too. Any number of calls may run at once in the background thread; they share one event stream.
    """
    try:
        with _stream.reading():
            seen = None
            while True:
                seen = await _stream.after(seen)
                if not (trouble(seen) if isinstance(seen, LinkError) else hear(seen)):
                    return
    except NoLinkError as error:
        trouble(error)


async def estimates(
    make: Callable[[], Link], factory: str, size: str, hours: Iterable[float]
) -> dict[float, str | None]:
    """Return when sessions of the lengths ``hours`` would start (RFC 3339), by length.

    None: the link does not know the start, or the request for this length failed. All lengths are requested
    concurrently. ``make``: returns a client of the link, or raises LinkError, which this function then raises.
    """

    async def ask(each: float) -> str | None:
        try:
            found = await link.get(f"/factories/{factory}/estimate", Estimate, size=size, hours=each)
        except LinkError:
            return None  # estimates are optional; the factory's health shows whether it answers
        return None if found.start is None else found.model_dump(mode="json")["start"]

    link = make()
    try:
        asked = list(hours)
        return dict(zip(asked, await asyncio.gather(*map(ask, asked)), strict=True))
    finally:
        await link.close()
