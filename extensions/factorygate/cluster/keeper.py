"""Keeps a cluster as it is wanted: replaces jobs that are lost, and those whose time is over before it is."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from factorygate.link import LinkError

if TYPE_CHECKING:
    from factorygate.cluster.cluster import FactoryCluster

log = logging.getLogger("factorygate.cluster")

STEP = 2.0  # seconds between two looks at the time
QUICK = 60.0  # seconds: a job that ended sooner than this, without its workers having come, did not start well
CRASHES = 3  # of those in a row, then no more are asked for
LEAD = 30.0  # seconds beside the margin in which a replacement is to come: until waits were seen
WAITS = 20  # waits in the queue that are remembered


class Keeper:
    """Of one cluster, in its event loop."""

    def __init__(self, cluster: FactoryCluster) -> None:
        self._cluster = cluster
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._ended: set[str] = set()  # of which the end was dealt with
        self._came: set[str] = set()  # jobs whose workers were seen
        self._replaced: dict[str, str] = {}  # a job whose time is almost over -> the one that takes over
        self._waits: deque[float] = deque(maxlen=WAITS)
        self._waited: set[str] = set()
        self._crashes = 0

    def start(self) -> None:
        """From now on."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    def stop(self) -> None:
        """No longer."""
        if self._task is not None:
            self._task.cancel()

    def changed(self, names: list[str]) -> None:
        """The link said something new."""
        if names:
            self._wake.set()

    def worker_came_or_went(self, op: str) -> None:
        """The Dask scheduler said so. One that went may be a lost job: the factory is asked now."""
        self._wake.set()
        if op == "remove" and self._task is not None and not self._task.done():
            self._looking = asyncio.ensure_future(self._cluster.broker.look())

    async def _keep(self) -> None:
        while True:
            try:
                await self._look()
            except LinkError as error:
                log.info("Not replaced yet: %s", error)
            except Exception:
                log.exception("The cluster is looked at again")
            self._wake.clear()
            try:
                async with asyncio.timeout(STEP):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        cluster, changed = self._cluster, False
        connected = cluster.connected()
        self._came |= connected
        if connected:
            self._crashes = 0
        for name in list(cluster.worker_spec):
            told = cluster.broker.workers.get(name)
            if told is None:
                continue
            self._learn_wait(name, told)
            if told["state"] == "ended" and name not in self._ended:
                self._ended.add(name)
                changed |= self._lost(name, told)
            elif self._time_is_over_soon(told) and name not in self._replaced and name in connected:
                changed |= self._take_over(name)
        for old, new in list(self._replaced.items()):
            if new in connected or old not in cluster.worker_spec:
                del self._replaced[old]
                if old in cluster.worker_spec:
                    del cluster.worker_spec[old]
                    changed = True
        if changed:
            await cluster._correct_state()

    def _lost(self, name: str, told: dict[str, Any]) -> bool:
        """A job that was wanted is gone."""
        cluster = self._cluster
        words = (told.get("end") or {}).get("what", "")
        del cluster.worker_spec[name]
        cluster.workers.pop(name, None)
        if name in self._replaced:  # the one that takes over is on its way
            del self._replaced[name]
            return False
        began, ended = _moment(told["started"]), _moment(told["ended"])
        quick = began is None or ended is None or ended - began < timedelta(seconds=QUICK)
        if name not in self._came and quick:
            self._crashes += 1
        if self._crashes >= CRASHES or told.get("end_reason") == "refused":
            cluster.wanted = len(cluster.worker_spec)
            cluster.message = f"{self._crashes} jobs in a row ended before their workers came: {words}".strip()
            return False
        return self._ask_for_one_more()

    def _take_over(self, name: str) -> bool:
        before = set(self._cluster.worker_spec)
        if not self._ask_for_one_more():
            return False
        [new] = set(self._cluster.worker_spec) - before
        self._replaced[name] = new
        return True

    def _ask_for_one_more(self) -> bool:
        cluster = self._cluster
        try:
            cluster._within_cap(len(cluster.worker_spec) + 1)
        except ValueError as error:
            cluster.message = str(error)
            return False
        cluster.worker_spec.update(cluster.new_worker_spec())
        cluster._i += 1
        return True

    def _time_is_over_soon(self, told: dict[str, Any]) -> bool:
        ends, started = _moment(told["ends"]), _moment(told["started"])
        if told["state"] != "running" or ends is None or started is None:
            return False
        from factorygate.cluster.worker import margin

        whole = (ends - started).total_seconds()
        lead = min(margin(whole) + self._usual_wait(), 0.5 * whole)
        return (ends - datetime.now(UTC)).total_seconds() < lead

    def _learn_wait(self, name: str, told: dict[str, Any]) -> None:
        asked, started = _moment(told["asked"]), _moment(told["started"])
        if name not in self._waited and asked is not None and started is not None:
            self._waited.add(name)
            self._waits.append((started - asked).total_seconds())

    def _usual_wait(self) -> float:
        """Nine in ten waited no longer, with the time that workers take to come up."""
        if not self._waits:
            return LEAD
        return sorted(self._waits)[int(0.9 * (len(self._waits) - 1))] + LEAD / 2


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
