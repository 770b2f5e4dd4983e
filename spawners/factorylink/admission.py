"""Whether this person may begin this session, where, as whom, and with what filled in."""

from __future__ import annotations

import hashlib
from contextlib import suppress

from factorylink import explain, moments
from factorylink.board import Board
from factorylink.catalogue import ChoiceError, resolve, shortened
from factorylink.config import Access
from factorylink.models import N_, Choice, ResolvedChoice, SessionRequest, SessionState
from factorylink.problems import ProblemError, draining, invalid, limit, of_words
from factorylink.seams import Place


class Admission:
    """Says no in words before anything is written."""

    def __init__(self, board: Board) -> None:
        self._board = board

    async def admit(self, request: SessionRequest) -> tuple[Place, ResolvedChoice, str]:
        """Factory, choice and site account. Raises ProblemError."""
        place, choice = await self._choose(request)
        account = site_account(place.access, request.user)
        if account is None:
            raise _no_account()
        if place.factory.id in self._board.drains:
            raise draining(self._board.drains[place.factory.id])
        barred = place.standing.may_submit(account)
        if barred is not None:
            raise of_words("draining" if barred.code == "paused" else "forbidden", barred)
        health = place.site.health
        if health.state == "unreachable":
            words = health.words or explain.unreachable("")
            raise of_words("unreachable", words)
        if choice.reservation is not None:
            _offered(place, account, choice.reservation)
        self._limit(request.user)
        return place, choice, account

    async def _choose(self, request: SessionRequest) -> tuple[Place, ResolvedChoice]:
        choice = request.choice
        if choice == Choice():
            choice = await self._last(request.user, request.server)
        factory_id = choice.factory or self._first_healthy(request.user)
        place = self._board.places.get(factory_id)
        if place is None:
            raise invalid(self._board.not_offered(factory_id), "factory")
        try:
            return place, resolve(place.factory, shortened(place.factory, choice, moments.now()))
        except ChoiceError as error:
            raise invalid(error.message, error.field) from error

    async def _last(self, user: str, server: str) -> Choice:
        """An empty choice means the server's last one, where it is still possible; else all defaults."""
        for row in await self._board.ledger.recent(user, server, limit=1):
            place = self._board.places.get(row.factory)
            last = Choice(**row.choice.model_dump(exclude={"reservation"}))  # which is over by another day
            with suppress(ChoiceError):
                if place is not None:
                    resolve(place.factory, last)
                    return last
        return Choice()

    def _first_healthy(self, user: str) -> str:
        mine = [name for name, place in sorted(self._board.places.items()) if site_account(place.access, user)]
        if not mine:
            raise _no_account()
        for name in mine:
            if self._board.health(name).state == "ok":
                return name
        return mine[0]

    def _limit(self, user: str) -> None:
        mine = [live.row for live in self._board.live.values() if live.row.user == user and not live.row.head]
        rows = [row for row in mine if row.wish == "run"]
        limits = self._board.config.limits
        if len(rows) >= limits.sessions_per_person:
            raise _limit("limit-sessions")
        pending = [row for row in rows if row.state == SessionState.PENDING]
        if len(pending) >= limits.pending_per_person:
            raise limit(
                f"You have {len(pending)} sessions waiting, the most one may have.", "Cancel one on Home first."
            )


def site_account(access: Access, user: str) -> str | None:
    """As whom this person's jobs run there; None: not at all. People without an account of their own share the pool."""
    own = access.accounts.get(user)
    if own is not None or not access.account_pool:
        return own
    digest = hashlib.sha256(user.encode()).digest()
    return access.account_pool[int.from_bytes(digest[:8], "big") % len(access.account_pool)]


def _offered(place: Place, account: str, reservation: str) -> None:
    if all(one.id != reservation for one in place.site.reservations(account)):
        said = N_("The reservation {name} is not yours to use, or it is not its time.")
        raise invalid(said.format(name=repr(reservation)), "reservation")


def _no_account() -> ProblemError:
    return of_words("forbidden", explain.own("no-account"))


def _limit(code: str) -> ProblemError:
    return of_words("limit", explain.own(code))
