"""One cluster's jobs at the link: what is asked for at the same moment is asked together, and what became of them."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Container
from datetime import UTC, datetime, timedelta
from typing import Any

from factorygate.link import Link, LinkError

log = logging.getLogger("factorygate.cluster")

GATHER = 0.02  # seconds in which what is asked for goes together
MOST = 1000  # jobs in one request
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)  # seconds before the same request is sent again

Told = dict[str, Any]  # a worker as the link tells it


class Broker:
    """``on_change`` is called with the names of workers of which something new is known. For one event loop."""

    def __init__(self, link: Link, on_change: Callable[[list[str]], None]) -> None:
        self.id = uuid.uuid4().hex
        self.cluster: dict[str, Any] = {}  # as the link tells it, without its workers
        self.workers: dict[str, Told] = {}
        self.request: dict[str, Any] = {}  # what the cluster was begun with
        self._link = link
        self._on_change = on_change
        self._asked: list[tuple[str, float | None, asyncio.Future[None]]] = []
        self._unwanted: list[tuple[str, asyncio.Future[None]]] = []
        self._waiters: list[asyncio.Future[None]] = []  # for what is told next
        self._told_at = datetime.now(UTC)
        self._cancelled: set[str] = set()
        self._making_known = asyncio.Lock()
        self._known = True
        self._flush: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None

    async def begin(self, request: dict[str, Any]) -> None:
        """Make the cluster known, and follow its jobs from now on. Raises LinkError."""
        self.request = request
        self._take(await self._again(lambda: self._link.put(f"/clusters/{self.id}", request)))
        if self._following is None:
            self._following = asyncio.create_task(self._follow())

    async def resume(self, cluster_id: str) -> None:
        """Follow a cluster that is there already. Raises LinkError."""
        self.id = cluster_id
        self._take(await self._again(lambda: self._link.get(f"/clusters/{cluster_id}")))
        self._following = asyncio.create_task(self._follow())

    async def scheduler(self) -> dict[str, Any]:
        """How the cluster's scheduler is found and trusted. Raises LinkError."""
        told: dict[str, Any] = await self._again(lambda: self._link.get(f"/clusters/{self.id}/scheduler"))
        return told

    async def changed(self) -> None:
        """Return when something new is told."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    async def submit(self, name: str, hours: float | None = None) -> None:
        """Ask for a job of that name; returns when the link has taken it. Raises LinkError."""
        await self._gather(self._asked, name, hours)

    async def cancel(self, name: str) -> None:
        """See that a job ends; returns when the link knows. Raises LinkError."""
        await self._gather(self._unwanted, name)

    def strays(self, known: Container[str]) -> list[str]:
        """Jobs that are there, and neither known nor cancelled: the answer that they were taken was lost."""
        return [
            name
            for name, told in self.workers.items()
            if told["state"] != "ended" and name not in known and name not in self._cancelled
        ]

    async def look(self) -> None:
        """Something happened: have the factory asked now."""
        try:
            self._take(await self._link.get(f"/clusters/{self.id}"))
        except LinkError as error:
            log.info("The gateway does not say how the cluster is: %s", error)

    async def end(self) -> None:
        """End the cluster with all its jobs. Raises LinkError."""
        try:
            if self.cluster:
                self._take(await self._again(lambda: self._link.delete(f"/clusters/{self.id}")))
        finally:
            await self.close()

    async def close(self) -> None:
        """Follow it no longer; its jobs go on."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None
        await self._link.close()

    # --- together

    async def _gather(self, waiting: list[Any], *what: Any) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append((*what, done))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._flush_soon())
        await done

    async def _flush_soon(self) -> None:
        while self._asked or self._unwanted:
            await asyncio.sleep(GATHER)
            asked, self._asked = self._asked, []
            unwanted, self._unwanted = self._unwanted, []
            async with self._making_known:
                if unwanted:
                    await self._cancel(unwanted)
                for hours in dict.fromkeys(hours for _, hours, _ in asked):
                    alike = [(name, done) for name, wanted, done in asked if wanted == hours]
                    for first in range(0, len(alike), MOST):
                        await self._submit(alike[first : first + MOST], hours)

    async def _submit(self, alike: list[tuple[str, asyncio.Future[None]]], hours: float | None) -> None:
        batch, names = uuid.uuid4().hex, [name for name, _ in alike]
        body = {"names": names, "hours": hours}
        await self._tell(alike, lambda: self._link.put(f"/clusters/{self.id}/batches/{batch}", body))

    async def _cancel(self, unwanted: list[tuple[str, asyncio.Future[None]]]) -> None:
        body = {"names": [name for name, _ in unwanted]}
        if await self._tell(unwanted, lambda: self._link.post(f"/clusters/{self.id}/cancel", body)):
            self._cancelled.update(name for name, _ in unwanted)

    async def _tell(self, who: list[tuple[str, asyncio.Future[None]]], ask: Callable[[], Any]) -> bool:
        """Whether it was taken; who waits is told. Some may wait no more."""
        try:
            self._take(await self._again(ask))
        except LinkError as error:
            for _, done in who:
                if not done.done():
                    done.set_exception(error)
            return False
        for _, done in who:
            if not done.done():
                done.set_result(None)
        return True

    async def _again(self, ask: Callable[[], Any]) -> Any:
        """Each of these requests may be sent twice; only what may pass by itself is sent again."""
        for pause in PAUSES:
            try:
                return await ask()
            except LinkError as error:
                if not error.transient:
                    raise
                log.info("Asked again in %g s: %s", pause, error)
                await asyncio.sleep(pause)
        return await ask()

    # --- what is told

    async def _follow(self) -> None:
        pause = 0.5
        while True:
            try:
                if not self._known:
                    await self._make_known_again()
                async for _, told in self._link.events(f"/clusters/{self.id}/events"):
                    pause = 0.5
                    self._take(told)
                    if told["state"] == "ended":
                        return
            except LinkError as error:
                log.info("The gateway is asked again in %g s: %s", pause, error)
                self._known = self._known and error.kind != "gone"
                if error.kind == "conflict":  # it has ended, and is known to have
                    return
            await asyncio.sleep(pause)
            pause = min(2 * pause, 10.0)

    async def _make_known_again(self) -> None:
        """The link lost its ledger: tell it of the cluster, and have it take over the jobs that are there. Raises
        LinkError."""
        batches: dict[str, list[str]] = {}
        for name, told in self.workers.items():  # in the order in which they were asked for
            batches.setdefault(told["batch"], []).append(name)
        alive = {name for name, told in self.workers.items() if told["state"] != "ended"}
        # Of those that run it will see itself how long they do.
        running = sum(_hours_until(self._told_at, told) for told in self.workers.values())
        spent = max(0.0, self.cluster["gpu_hours"]["spent"] - self.cluster["gpus"] * running)
        async with self._making_known:  # before anything else is asked for
            await self._link.put(f"/clusters/{self.id}", self.request | {"spent_gpu_hours": spent})
            for batch, names in batches.items():
                if not alive.isdisjoint(names):
                    await self._link.put(f"/clusters/{self.id}/batches/{batch}", {"names": names, "adopt": True})
            if unwanted := sorted(self._cancelled & alive):
                await self._link.post(f"/clusters/{self.id}/cancel", {"names": unwanted})
        self._known = True

    def _take(self, told: dict[str, Any]) -> None:
        workers = told.pop("workers")
        changed = [worker["name"] for worker in workers if self.workers.get(worker["name"]) != worker]
        self.workers.update({worker["name"]: worker for worker in workers})
        self.cluster, self._told_at = told, datetime.now(UTC)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._on_change(changed)


def _hours_until(moment: datetime, told: Told) -> float:
    """For which a job that is not over had run then."""
    if told["state"] == "ended" or not told["started"]:
        return 0.0
    return max(0.0, (moment - datetime.fromisoformat(told["started"])) / timedelta(hours=1))
