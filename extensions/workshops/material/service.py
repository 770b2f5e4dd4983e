"""Fetches the material that a workshop names, and fetches it again when a trainer asks for that."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime

from factorycommon.material.steps import KnownStep
from factorycommon.messages import Message
from factorycommon.service.problems import conflict
from workshops.material import rows
from workshops.material.fetcher import MaterialFetcher
from workshops.models.bodies import MaterialBody
from workshops.models.callers import WorkshopCaller
from workshops.models.material import FetchResult, MaterialStatus
from workshops.service import Workshops
from workshops.store.material_tables import MaterialRecord
from workshops.store.schema import EventRecord, WorkshopRecord
from workshops.store.store import Store, StoreError

log = logging.getLogger("workshops")

LOOK_SECONDS = 5.0
QUIET_SECONDS = 60.0  # between two looks while there is no workshop that is not over


class Materials:
    """Fetches the material that workshops name, and keeps the state of each workshop's material.

    Start ``run``; call ``wake`` after each change of a workshop. ``now``: the clock.
    """

    def __init__(self, store: Store, fetcher: MaterialFetcher, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self.fetcher = fetcher
        self._known: dict[str, MaterialRecord] = {}
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._loaded = False
        self._quiet = False  # True if the last look found only workshops that are over
        self._woken = asyncio.Event()
        self.on_ready: list[Callable[[], None]] = []  # called when a workshop's material is ready

    def wake(self) -> None:
        """Make ``run`` call ``look`` at once."""
        self._woken.set()

    def record(self, slug: str) -> MaterialRecord | None:
        """Return the record of a workshop's material.

        None: the workshop has no material or is over, or ``look`` has not found the material yet.
        """
        return self._known.get(slug)

    def is_ready(self, slug: str) -> bool:
        """Return whether a workshop has material that can be delivered."""
        record = self._known.get(slug)
        return record is not None and record.state == "ready"

    def steps(self, slug: str) -> tuple[KnownStep, ...]:
        """Return the steps in the notebooks of a workshop's material.

        () if the material is not ready, or if a release that did not store steps has fetched it.
        """
        record = self._known.get(slug)
        return () if record is None or record.steps is None else record.steps

    def status(self, slug: str) -> MaterialStatus | None:
        """Return the state of a workshop's material.

        None: the workshop has no material or is over, or ``look`` has not found the material yet.
        """
        record = self._known.get(slug)
        if record is None:
            return None
        return MaterialStatus(
            state=record.state,
            repository=record.repository,
            commit=record.commit_id,
            files=record.files,
            bytes=record.bytes,
            steps=len(record.steps or ()),
            digest=record.digest,
            problem=record.problem,
            refused=record.refused,
            at=record.at,
        )

    async def run(self) -> None:
        """Call ``look`` now, after each ``wake``, and every ``pause`` seconds, without end."""
        while True:
            try:
                await self.look()
            except Exception:  # any error: this loop must continue, since nothing else fetches
                log.exception("The material of workshops is looked at again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self.pause)
            self._woken.clear()

    @property
    def pause(self) -> float:
        """Return how many seconds ``run`` waits at most between two calls of ``look``."""
        return QUIET_SECONDS if self._quiet and not self._fetching else LOOK_SECONDS

    async def close(self) -> None:
        """Cancel all fetches that go on. After the next start of the service, ``look`` decides again what to fetch."""
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settle(self) -> None:
        """Wait until all fetches have ended."""
        while running := list(self._fetching.values()):
            await asyncio.wait(running)
            await asyncio.sleep(0)  # each task that has ended is taken out now

    async def look(self) -> None:
        """Begin to fetch missing material of workshops that are not over, except material whose last fetch failed.

        If no fetch goes on, unused archives are removed. Raises StoreError; OSError if an archive cannot be removed.
        """
        self._quiet = False  # an error does not delay the next look
        live = {one.slug: one for one in await self._store.all(over=False)}
        if not self._loaded:
            self._known = await self._store.transact(lambda db: rows.materials(db, list(live)))
            self._loaded = True
        for slug in self._known.keys() - live.keys():
            del self._known[slug]
        for workshop in live.values():
            await self._look_at(workshop)
        if not self._fetching:
            digests = {one.digest for one in self._known.values() if one.digest is not None}
            await asyncio.to_thread(self.fetcher.sweep, digests)
        self._quiet = not live

    async def again(self, workshop: WorkshopRecord, caller: WorkshopCaller) -> MaterialStatus:
        """Begin to fetch the material of a workshop again, and return its new state.

        Raises ProblemError if the workshop has no material, or a fetch goes on; StoreError.
        """
        if workshop.material is None:
            raise conflict(Message("material-none", "This workshop has no material."))
        if workshop.slug in self._fetching:
            raise conflict(Message("material-fetching", "The material is being fetched already."))
        self._begin(workshop.slug, workshop.material)
        status = self.status(workshop.slug)
        if status is None:
            raise AssertionError
        await self._store.note(EventRecord(workshop.slug, self._now(), caller.person, "material", "fetch"))
        return status

    async def _look_at(self, workshop: WorkshopRecord) -> None:
        slug, wanted, known = workshop.slug, workshop.material, self._known.get(workshop.slug)
        if wanted is None:
            if known is not None:
                await self._store.transact(lambda db: rows.drop(db, slug))
                self._known.pop(slug, None)
            return
        if slug in self._fetching:
            return
        same = known is not None and (known.repository, known.commit_id) == (wanted.repository, wanted.commit)
        if known is not None and same and known.state == "failed":
            return
        ready = known is not None and same and known.state == "ready" and known.digest is not None
        if ready and known is not None and await asyncio.to_thread(self.fetcher.has, known.digest or ""):
            return
        self._begin(slug, wanted)

    def _begin(self, slug: str, material: MaterialBody) -> None:
        before = self._known.get(slug)
        self._known[slug] = MaterialRecord(slug, material.repository, material.commit, "fetching", self._now())
        task = asyncio.create_task(self._fetch(slug, material, before), name=f"material of {slug}")
        self._fetching[slug] = task
        task.add_done_callback(lambda _: self._fetching.pop(slug, None))

    async def _fetch(self, slug: str, material: MaterialBody, before: MaterialRecord | None) -> None:
        """Fetch material, and store the result. ``before``: the earlier record of the workshop's material.

        If the fetch fails, the earlier record stays if it is of the same commit and its archive still exists.
        """
        try:
            result = await self.fetcher.fetch(material)
        except OSError as error:
            said = Message("material-disk", "The gateway cannot keep the material: {why}")
            result = FetchResult(problem=said.format(why=error.strerror or type(error).__name__))
        failed = bool(result.problem) or result.digest is None
        record = MaterialRecord(
            slug,
            material.repository,
            material.commit,
            "failed" if failed else "ready",
            self._now(),
            digest=None if failed else result.digest,
            files=result.files,
            bytes=result.bytes,
            problem=result.problem,
            refused=result.refused,
            steps=() if failed else result.steps,
        )
        event = EventRecord(slug, record.at, "", "material", f"{record.state}: {result.problem}"[:500])
        if failed and before is not None and await asyncio.to_thread(self._is_whole, before, material):
            log.warning("The material of the workshop %s stays as it was: %s", slug, result.problem)
            record, failed = before, False  # the same commit, which was fetched before: sessions still get it
        try:
            await self._store.transact(lambda db: rows.put(db, record))
            await self._store.note(event)
        except StoreError as error:
            log.error("The material of the workshop %s is fetched again: %s", slug, error)  # noqa: TRY400
            if before is None or before.state == "failed":
                self._known.pop(slug, None)  # "failed" would mean that nobody wants another try
            else:
                self._known[slug] = before
            return
        self._known[slug] = record
        log.info("The material of the workshop %s is %s", slug, record.state)
        if not failed:
            for on_ready in self.on_ready:
                on_ready()

    def _is_whole(self, record: MaterialRecord, material: MaterialBody) -> bool:
        """Return True if ``record`` says that ``material`` was fetched, and the archive still exists."""
        same = (record.repository, record.commit_id) == (material.repository, material.commit)
        return same and record.state == "ready" and record.digest is not None and self.fetcher.has(record.digest)


class MaterialActs:
    """Fetches the material of a workshop again if a caller may request this."""

    def __init__(self, workshops: Workshops, materials: Materials) -> None:
        self._workshops = workshops
        self._materials = materials

    async def again(self, caller: WorkshopCaller, slug: str) -> MaterialStatus:
        """Begin to fetch the material again, and return its new state. Raises StoreError.

        Raises ProblemError if the caller may not do this now, the workshop has no material, or a fetch goes on.
        """
        return await self._materials.again(await self._workshops.may(caller, slug, "fetch-material"), caller)
