"""The objects that all spawners and handlers of a hub process share: the link's client, its table, background tasks."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any
from weakref import WeakKeyDictionary

from factorycommon.models import HubRules, NetworkView
from factorycommon.time_slice import TimeSlice
from factorylink.client import LinkAddress, LinkClient, LinkProblem, LinkSilent
from factoryspawner.event_stream import PageStreams
from factoryspawner.link_table import LinkTable
from factoryspawner.retry_pauses import pauses
from factoryspawner.stop_requests import StopRequests, StopStore

_NETWORK_KEPT = 5.0  # seconds
_STOPS_KEPT = 600.0  # seconds

log = logging.getLogger("factoryspawner")

_gateways: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[LinkAddress, HubGateway]] = WeakKeyDictionary()


class StopTimes:
    """Keeps the time of the last stop request for each server, so that starts requested before this time are given up.

    A time is kept for at least ``_STOPS_KEPT`` seconds.
    """

    def __init__(self) -> None:
        self._at: dict[tuple[str, str], float] = {}  # by person and server, in seconds of the event loop's clock

    def note(self, user: str, server: str) -> None:
        """Record that a stop of the server was requested now."""
        now = asyncio.get_running_loop().time()
        self._at.pop((user, server), None)  # removed, so that the newest entry is the last one
        self._at[user, server] = now
        while self._at and (oldest := next(iter(self._at.items())))[1] < now - _STOPS_KEPT:
            del self._at[oldest[0]]

    def since(self, user: str, server: str, asked: float) -> bool:
        """Return whether a stop of the server was requested after ``asked``, a time of the event loop's clock."""
        return self._at.get((user, server), -math.inf) > asked


class HubGateway:
    """The objects that one hub process has for one link, such as the client, stop requests and background tasks.

    ``table``: the hub's copy of the link's table of sessions and clusters; a new HubGateway subscribes to the link's
    table at once. Call ``gateway()`` to get the HubGateway for a link.
    """

    def __init__(self, at: LinkAddress) -> None:
        self.link = LinkClient(at)
        self.table = LinkTable(self.link)
        self.stop_requests = StopRequests(self.link)
        self.stop_times = StopTimes()
        self.streams = PageStreams()
        self.starts = TimeSlice()
        # time of the answer, in the loop's time; None: no answer
        self._network: tuple[float, NetworkView | None] | None = None
        self._asking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rules: HubRules | None = None
        self._telling: Callable[[], object] = lambda: None
        self.table.on_snapshot = self._tell_rules
        self.background(self.table.follow())

    def background(self, work: Coroutine[Any, Any, None]) -> Callable[[], object]:
        """Run ``work`` in the background, and log its errors. Return a function that cancels it."""
        return self.task(work).cancel

    def task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` in a task, log its error, and return the task.

        The task also raises the error if the caller awaits it.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def tell_rules(self, rules: HubRules) -> None:
        """Send ``rules`` to the link, now and at each new subscription to the link's table.

        ``rules``: this hub's rules for all people, as ``link_rules.of`` returns them.
        """
        self._rules = rules
        self._tell_rules()

    def _tell_rules(self) -> None:
        if self._rules is not None:
            self._telling()
            self._telling = self.background(self._told_rules(self._rules))

    async def _told_rules(self, rules: HubRules) -> None:
        for pause in pauses():
            try:
                await self.link.put_rules(rules)
            except (LinkSilent, LinkProblem) as error:
                log.info("The link is told this hub's rules again: %s", error)
                await asyncio.sleep(pause)
            else:
                return

    async def network(self) -> NetworkView:
        """Return the public view of all factories and antennas, at most 5 s old.

        Visitors without a login cause at most one request to the link in 5 s. Raises LinkSilent if the link does not
        answer, or refuses the request.
        """
        await self.table.wait_for_link()
        if self.table.silent:
            raise LinkSilent("it does not answer")
        now = asyncio.get_running_loop().time
        async with self._asking:
            if self._network is None or now() - self._network[0] > _NETWORK_KEPT:
                try:
                    found = await self.link.network()
                except (LinkSilent, LinkProblem) as error:
                    log.warning("The link does not tell of the network: %s", error)
                    found = None
                self._network = (now(), found)
            if self._network[1] is None:
                raise LinkSilent("it did not answer just now")
            return self._network[1]

    async def close(self) -> None:
        """End all background tasks, and close the connections to the link.

        Stops that the link has not accepted are written to the hub's database.
        """
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.stop_requests.close()
        await self.link.close()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Work in the background failed", exc_info=error)


def gateway(at: LinkAddress) -> HubGateway:
    """Return this process's HubGateway for the link at the address ``at``; call this in the event loop."""
    mine = _gateways.setdefault(asyncio.get_running_loop(), {})
    if at not in mine:
        mine[at] = HubGateway(at)
    return mine[at]


def banner_of(at: LinkAddress) -> Callable[[], str]:
    """Return a function that returns the operators' text for all pages, as last received; "" if there is none."""
    return lambda: gateway(at).table.banner


def subscribe(at: LinkAddress, database: str, rules: HubRules) -> None:
    """Subscribe to the link's table when the hub starts, even if no server needs the table.

    After each subscription, the link makes the hub start the servers that live sessions need and the hub does not have.
    The hub also sends ``rules`` (the hub's rules for all people) to the link, and carries out the stop requests that an
    earlier hub process left in ``database`` (an SQLAlchemy URL). Does nothing outside of an event loop, for example in
    the command ``jupyterhub token``.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    gateway(at).stop_requests.keep_in(StopStore(database))
    gateway(at).tell_rules(rules)
