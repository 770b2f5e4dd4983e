"""The catalogue as a person may use it, with health, what is free now, and when a session would start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from factorylink import moments, windows
from factorylink.admission import site_account
from factorylink.board import Board
from factorylink.catalogue import ChoiceError, default_environment, gpu_label, resolve, smallest_size
from factorylink.credentials.efp import NEVER
from factorylink.errors import LinkError
from factorylink.events import encode
from factorylink.models import (
    N_,
    Choice,
    ComingView,
    CredentialView,
    Estimate,
    FactoryView,
    JobOptions,
    NodeSize,
    SizeView,
)
from factorylink.problems import forbidden, from_link_error, gone, invalid, of_words
from factorylink.seams import Place
from factorylink.submitting import Submitter

_STEP_SECONDS = 2.0  # between two changes that one reader is told
_HEARTBEAT_STEPS = 7
_ESTIMATE_KEPT = timedelta(minutes=10)  # a queue is another one by then
_ESTIMATE_PASSED = timedelta(minutes=1)  # "at once" was true for this long; after that it says nothing of now


class Shared(NamedTuple):
    """A factory as everybody sees it, and the same in JSON; ``made``: when, in ticks."""

    made: float
    view: FactoryView
    json: str


class Offers:
    """What the start page shows."""

    def __init__(self, board: Board, submitter: Submitter) -> None:
        self._board = board
        self._submitter = submitter
        self._estimates: dict[tuple[str, str, str], Estimate] = {}  # last by factory, account, size, for its own hours
        self._shared: dict[str, Shared] = {}  # by factory, for all streams

    def views(self, user: str) -> list[FactoryView]:
        """The factories where that person has a site account, by id."""
        return [self._own(place, account, self._view(place)) for place, account in self._places(user)]

    def coming(self) -> list[ComingView]:
        """The factories without a machine yet: to be named, never picked."""
        return self._board.federation.coming()

    def _places(self, user: str) -> Iterator[tuple[Place, str]]:
        for _, place in sorted(self._board.places.items()):
            account = site_account(place.access, user)
            if account is not None:
                place.site.look()
                yield place, account

    async def stream(self, user: str) -> AsyncIterator[bytes]:
        """Server-sent events: the views now, and when they changed."""
        last, quiet = "", 0
        while not self._board.feed.closed:
            data = f"[{','.join(self._told(place, account) for place, account in self._places(user))}]"
            if data != last:
                yield encode(("factories", data))
                last, quiet = data, 0
            elif quiet >= _HEARTBEAT_STEPS:
                yield b": still here\n\n"
                quiet = 0
            quiet += 1
            await asyncio.sleep(_STEP_SECONDS)  # free nodes change all the time: a step, not an event

    def _told(self, place: Place, account: str) -> str:
        """A factory's view in JSON. What is the same for all is made once a step, however many read."""
        shared, now = self._shared.get(place.factory.id), moments.ticks()
        if shared is None or now - shared.made >= _STEP_SECONDS / 2:
            view = self._view(place)
            shared = self._shared[place.factory.id] = Shared(now, view, view.model_dump_json())
        own = self._own(place, account, shared.view)
        return shared.json if own is shared.view else own.model_dump_json()

    async def estimate(self, factory_id: str, user: str, size: str, hours: float | None) -> Estimate:
        """When a session of that size would start there. Raises ProblemError."""
        place = self._board.places.get(factory_id)
        if place is None:
            raise gone(f"The factory {factory_id}")
        account = site_account(place.access, user)
        if account is None:
            raise forbidden(N_("You have no site account at {factory}.").format(factory=place.factory.site.machine))
        if (barred := place.standing.may_submit(account)) is not None:
            raise of_words("forbidden", barred)
        try:
            choice = resolve(place.factory, Choice(factory=factory_id, size=size, hours=hours))
            request = await self._submitter.sample(place, account, choice)
            found = await place.site.estimate(account, request, JobOptions().template)
        except ChoiceError as error:
            raise invalid(error.message, error.field) from error
        except LinkError as error:
            raise from_link_error(error) from error
        own_hours = resolve(place.factory, Choice(factory=factory_id, size=size)).hours
        if found.start is not None and choice.hours == own_hours:
            self._estimates[factory_id, account, choice.size] = found
        return found

    def _estimate(self, place: Place, account: str, size: NodeSize) -> Estimate | None:
        """What is known already; the start page's list asks nothing."""
        known = self._estimates.get((place.factory.id, account, size.id))
        if known is None or known.start is None:
            return None
        now = datetime.now(UTC)
        passed = now - known.start > _ESTIMATE_PASSED
        return None if passed or now - known.asked_at > _ESTIMATE_KEPT else known

    def _own(self, place: Place, account: str, view: FactoryView) -> FactoryView:
        """The view with what is that account's own; the same view where that is nothing."""
        own: dict[str, object] = {}
        if reserved := place.site.reservations(account):
            own["reservations"] = reserved
        estimates = {size.id: self._estimate(place, account, size) for size in place.factory.sizes}
        if any(estimates.values()):
            own["sizes"] = tuple(of.model_copy(update={"estimate": estimates[of.size.id]}) for of in view.sizes)
        if (url := place.standing.renew_url) is not None:
            until = place.standing.valid_until(account)
            own["credential"] = CredentialView(renew_url=url, until=None if until == NEVER else until)
        return view.model_copy(update=own) if own else view

    def _view(self, place: Place) -> FactoryView:
        factory = place.factory
        smallest = smallest_size(factory)
        health = self._board.health(factory.id)
        coming = place.site.maintenance()
        sizes = tuple(
            SizeView(
                size=size,
                gpu_label=gpu_label(factory, size),
                fits_now=place.site.fits_now(size) if health.state == "ok" else 0,
                fits_until=closed.start if (closed := windows.closing(coming, size.partition)) else None,
            )
            for size in factory.sizes
        )
        return FactoryView(
            id=factory.id,
            name=factory.name,
            site=factory.site,
            scheduler=factory.scheduler,
            accelerator=factory.accelerator,
            health=health.model_copy(update={"answered_at": None, "answer_seconds": None}),
            partitions=place.site.view_loads(),
            sizes=sizes,
            maintenance=coming,
            largest_now=_largest(sizes),
            environments=factory.environments,
            default_environment=default_environment(factory, smallest).id,
            default_size=smallest.id,
            folder=factory.notebook_folder,
            outbound=factory.outbound,
            idle=factory.idle,
            notes=factory.notes,
        )


def _largest(sizes: tuple[SizeView, ...]) -> str | None:
    fitting = [view.size for view in sizes if view.fits_now]
    return max(fitting, key=lambda size: (size.gpus, size.cores)).id if fitting else None
