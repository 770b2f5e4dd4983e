"""Follows the gateway's catalogue while a widget is shown, and asks when sessions of chosen lengths would start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing

from factorycommon.models import Estimate, FactoryView
from factorygate.link import Link, LinkError
from factorygate.widgets.background import INTERVAL

_FIRST_WAIT, _LAST_WAIT = 1.0, 30.0  # seconds before the next try, doubled each time


async def follow(
    make: Callable[[], Link], hear: Callable[[list[FactoryView]], bool], trouble: Callable[[LinkError], bool]
) -> None:
    """Call ``hear`` with the catalogue, now and whenever it changes, at most every ``INTERVAL`` seconds.

    ``make``: returns a client of the link; if ``make`` raises LinkError, ``trouble`` is called with the error, and this
    function ends. ``trouble`` is also called with each error of a request, which is then repeated. If ``hear`` or
    ``trouble`` returns False, this function ends, too.
    """
    wait = _FIRST_WAIT
    while True:
        try:
            link = make()
        except LinkError as error:
            trouble(error)
            return
        try:
            async with aclosing(link.events("/factories/events", list[FactoryView])) as events:
                async for name, factories in events:
                    if name == "factories" and not hear(factories):
                        return
                    wait = _FIRST_WAIT
                    await asyncio.sleep(INTERVAL)  # later events wait on the connection
        except LinkError as error:
            if not trouble(error):
                return
        finally:
            await link.close()
        await asyncio.sleep(wait)
        wait = min(_LAST_WAIT, wait * 2)


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
