"""Whether this person may begin this session, where, as whom, and with what filled in."""

from __future__ import annotations

from contextlib import suppress

from factorylink import explain, moments, reserved
from factorylink.board import Board
from factorylink.catalogue import ChoiceError, shortened
from factorylink.choices import paying
from factorylink.lending import Right
from factorylink.models import Choice, ProjectId, ResolvedChoice, SessionRequest, SessionState
from factorylink.problems import ProblemError, draining, invalid, limit, of_words
from factorylink.seams import Place


class Admission:
    """Says no in words before anything is written."""

    def __init__(self, board: Board) -> None:
        self._board = board

    async def admit(self, request: SessionRequest) -> tuple[Place, ResolvedChoice, str]:
        """Factory, choice and site account. Call it while the person is ``beginning``. Raises ProblemError."""
        right, choice = await self._choose(request)
        self.may_begin(right.place, request.user)
        self._limit(request.user)
        account = await self._board.lender.account(right, request.user)
        self.may_submit(right.place, account)
        if choice.reservation is not None:
            await self._reserved(right, account, choice.reservation, request)
        return right.place, choice, account

    def may_begin(self, place: Place, user: str) -> None:
        """Whether anything may begin there now, for that person. Raises ProblemError."""
        if (rules_open := self._board.acceptances.open(user, place.factory)) is not None:
            raise of_words("forbidden", rules_open, "factory")
        if place.factory.id in self._board.drains:
            raise draining(self._board.drains[place.factory.id])
        if (paused := place.standing.paused) is not None:
            raise of_words("draining", paused)
        health = place.site.health
        if health.state == "unreachable":
            raise of_words("unreachable", health.words or explain.unreachable(""))

    def may_submit(self, place: Place, account: str) -> None:
        """Whether anything may begin for that account. Raises ProblemError."""
        if (barred := place.standing.may_submit(account)) is not None:
            raise of_words("draining" if barred.code == "paused" else "forbidden", barred)

    async def _choose(self, request: SessionRequest) -> tuple[Right, ResolvedChoice]:
        user, choice = request.user, request.choice
        self._board.rights.check(user)
        if choice == Choice() and (found := await self._last(user, request.server)) is not None:
            return found
        place = self.place(choice.factory or self._first_healthy(user, choice.project))
        try:
            choice = shortened(place.factory, choice, moments.now())
        except ChoiceError as error:
            raise invalid(error.message, error.field) from error
        right = await self.right(place, user, choice)
        return right, self._board.rights.resolve(right, choice)

    def place(self, factory_id: str) -> Place:
        """The factory, if this hub offers it. Raises ProblemError."""
        place = self._board.places.get(factory_id)
        if place is None:
            raise invalid(self._board.not_offered(factory_id), "factory")
        return place

    async def right(self, place: Place, user: str, choice: Choice) -> Right:
        """What that person may use there. Raises ProblemError."""
        last = await self._board.ledger.last_choice(user) if self._board.projects.on and not choice.project else None
        return self._board.rights.one(place, user, choice.project, choice.size, last.project if last else None)

    async def _last(self, user: str, server: str) -> tuple[Right, ResolvedChoice] | None:
        """An empty choice means the server's last one, where it is still possible; else all defaults."""
        for row in await self._board.ledger.recent(user, server, limit=1):
            last = Choice(**row.choice.model_dump(exclude={"reservation"}))  # which is over by another day
            with suppress(ProblemError):
                right = self._board.rights.one(self.place(row.factory), user, last.project, last.size)
                return right, self._board.rights.resolve(right, last)
        return None

    def _first_healthy(self, user: str, project: ProjectId | None) -> str:
        mine = [
            name
            for name, place in sorted(self._board.places.items())
            for right in self._board.rights.all(place, user)
            if project is None or right.project is None or right.project.id == project
        ]
        if not mine and project is not None and self._board.places:
            return min(self._board.places)  # where it is said why that project cannot be used
        if not mine:
            raise of_words("forbidden", explain.own("no-account"))
        for name in mine:
            factory = self._board.places[name].factory
            if self._board.health(name).state == "ok" and self._board.acceptances.open(user, factory) is None:
                return name
        return mine[0]

    async def _reserved(self, right: Right, account: str, name: str, request: SessionRequest) -> None:
        """Whether that job may run in the reservation: the account that pays for it has to be in it, too."""
        pays = paying(right.place.access, right.at, request.options)
        if all(one.id != name for one in await right.place.site.reservations_now(account, pays)):
            theirs = reserved.offered(
                self._board.rights.all(right.place, request.user), request.user, self._board.lender
            )
            raise reserved.refusal(name, right, theirs)

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


def _limit(code: str) -> ProblemError:
    return of_words("limit", explain.own(code))
