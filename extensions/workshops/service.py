"""Creates, approves, changes and closes workshops as people request: checks their rights, and writes the database."""

from __future__ import annotations

import asyncio
import functools
import re
import secrets
import unicodedata
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import Problem, is_guest
from factorycommon.service.problems import ProblemError, conflict, forbidden, gone, invalid, limit
from workshops import checks, permissions, plans, repositories
from workshops.config import WorkshopsConfig
from workshops.joining import codes
from workshops.models.bodies import MOST_STAFF, CodeBody, MaterialBody, Role, WorkshopBody, WorkshopChange
from workshops.models.callers import WorkshopCaller
from workshops.models.checks import CheckBody, ChecksView
from workshops.models.helping import HELP_EVENTS
from workshops.models.material import MaterialStatus
from workshops.models.views import (
    LOGGED_STEPS,
    AccessView,
    Action,
    CodeView,
    CreatedView,
    EventView,
    LogEvent,
    MemberView,
    PlaceView,
    PoolView,
    StaffView,
    WorkshopView,
)
from workshops.projects.pools import PoolsFile
from workshops.states import FINAL, TAKES_SEATS, NoSuchStep, WorkshopEvent, WorkshopState, after
from workshops.store.schema import CodeRecord, EventRecord, MembershipRecord, WorkshopRecord
from workshops.store.store import NobodyLeads, SeatsInUse, SeatTaken, SlugTaken, Stale, Store, seats_taken

_TRIES = 5  # of a slug or a seat that somebody else takes at the same moment
# After an approval, a change of these values needs a new approval.
_APPROVED_VALUES = ("opens", "starts", "ends", "closes", "seats", "hours", "places", "gpu_hours", "person_gpu_hours")
_ONLY_STAFF = Message("workshop-only-staff", "Only the people who run this workshop may see this.")
_ONLY_TRAINERS = Message("workshop-only-trainers", "Only the people who teach this workshop may do this.")
_MAY_NOT: dict[Action, Message] = {
    "approve": Message("workshop-only-operators", "Only the gateway's operators may do this."),
    "decline": Message("workshop-only-operators", "Only the gateway's operators may do this."),
    "see-people": _ONLY_STAFF,
    "see-room": _ONLY_STAFF,
    "broadcast": _ONLY_TRAINERS,
    "help": Message("workshop-only-helpers", "Only the people who help in this workshop may do this."),
    "stop-seat": _ONLY_TRAINERS,
    "move": _ONLY_TRAINERS,
    "start-seat": _ONLY_TRAINERS,
    "fetch-material": _ONLY_TRAINERS,
    "rehearse": _ONLY_TRAINERS,
}
# The refusal of an action that the caller's role allows, but not the workshop's present state.
_NOT_NOW = {
    WorkshopState.DRAFT: Message("workshop-is-draft", "That is not possible while the workshop is a draft."),
    WorkshopState.APPROVED: Message("workshop-is-approved", "That is not possible before the workshop is scheduled."),
    WorkshopState.SCHEDULED: Message("workshop-is-scheduled", "That is not possible while the workshop is scheduled."),
    WorkshopState.WARMING: Message("workshop-is-warming", "That is not possible while the workshop warms up."),
    WorkshopState.OPEN: Message("workshop-is-open", "That is not possible while the workshop is open."),
    WorkshopState.CLOSING: Message("workshop-is-closing", "That is not possible any more: the workshop closes."),
    WorkshopState.ARCHIVED: Message("workshop-is-over", "That is not possible any more: the workshop is over."),
    WorkshopState.CANCELLED: Message("workshop-is-cancelled", "That is not possible: the workshop is cancelled."),
}
_LAST_LEAD = Message("workshop-last-lead", "Somebody has to lead the workshop. Choose another lead first.")
_ONLY_LEAD = Message("workshop-only-lead", "Only the people who lead this workshop may do this.")


Method = TypeVar("Method", bound=Callable[..., Coroutine[Any, Any, Any]])


def _one_at_a_time(method: Method) -> Method:
    """Return a method that waits until no other decorated method runs.

    So no other workshop can take seats of a pool between the method's check of the limits and the change that it
    stores.
    """

    @functools.wraps(method)
    async def alone(self: Workshops, *args: Any, **kwargs: Any) -> Any:
        async with self._planning:
            return await method(self, *args, **kwargs)

    return cast(Method, alone)


class Workshops:
    """Does what people request of workshops: checks their rights and the limits, and stores the changes.

    Methods raise ProblemError if the caller may not see the workshop ``slug``, or if the caller's role, the workshop's
    state or a limit forbids what the method does. They raise StoreError if the database cannot be used.

    ``now``: the clock; ``secret``: for the hashes of join codes; ``changed``: called after each stored change of a
    workshop or of its people, to wake the other parts of the service; ``material_of``: takes a workshop's slug, and
    returns the state of the workshop's material, None: there is none, or its state is not known.
    """

    def __init__(
        self,
        config: WorkshopsConfig,
        store: Store,
        pools: PoolsFile,
        now: Callable[[], datetime],
        secret: bytes,
        changed: Callable[[], None] = lambda: None,
        material_of: Callable[[str], MaterialStatus | None] = lambda _slug: None,
    ) -> None:
        self._config = config
        self._store = store
        self._pools = pools
        self._now = now
        self._secret = secret
        self._changed = changed
        self._material_of = material_of
        self._planning = asyncio.Lock()  # so that no two workshops are given the same seats of a pool

    # --- reading

    def access(self, caller: WorkshopCaller) -> AccessView:
        """Return the caller's rights (operator, creation of workshops), and whether workshops need an approval."""
        return AccessView(
            person=caller.person,
            create=self._may_create(caller),
            operator=caller.operator,
            approval=self._config.approval,
        )

    async def pools(self, caller: WorkshopCaller, slug: str | None = None) -> list[PoolView]:
        """Return the pools that the caller may choose for the places of a workshop. Raises ProblemError.

        ``slug``: a workshop that the caller may change; None: a new workshop.
        """
        if slug is None:
            self._check_trainer(caller)
        else:
            await self._allowed(caller, slug, "change")
        return [
            PoolView(
                id=pool.id,
                title=pool.title,
                factory=pool.factory,
                sizes=pool.sizes,
                environments=pool.environments,
                seats=pool.seats,
                gpu_hours=pool.gpu_hours,
                max_hours=pool.max_hours,
                reservations=pool.reservations,
            )
            for pool in self._pools.pools().pools
        ]

    async def all(self, caller: WorkshopCaller) -> list[WorkshopView]:
        """Return the workshops in which the caller has a role or a seat, or waits for a seat; operators get all.

        The workshop that starts last comes first.
        """
        found = await self._store.all(None if caller.operator else caller.person)
        mine = await self._store.memberships_of(caller.person, [one.slug for one in found])
        seen = [one for one in found if permissions.sees(caller, mine.get(one.slug))]
        slugs = [one.slug for one in seen if permissions.is_staff(caller, mine.get(one.slug))]
        people, codes_of = await self._store.members(slugs), await self._store.codes(slugs)
        return [self._view(caller, one, mine.get(one.slug), people, codes_of) for one in seen]

    async def one(self, caller: WorkshopCaller, slug: str) -> WorkshopView:
        """Return a workshop. Raises ProblemError if the workshop does not exist, or the caller may not see it."""
        workshop, mine = await self._find(caller, slug)
        return await self._shown(caller, workshop, mine)

    async def members(self, caller: WorkshopCaller, slug: str) -> list[MemberView]:
        """Return the people of a workshop, also those who wait for a seat, have left, or are banned.

        Raises ProblemError.
        """
        await self._allowed(caller, slug, "see-people")
        found = (await self._store.members([slug]))[slug]
        return [
            MemberView(person=m.person, name=m.name or "", role=m.role, state=m.state, seat=m.seat, since=m.at)
            for m in found
        ]

    async def events(self, caller: WorkshopCaller, slug: str) -> list[EventView]:
        """Return the last lines of a workshop's log (at most 200), the newest first. Raises ProblemError.

        Observers do not get the lines about raised hands and about notebooks that helpers have seen.
        """
        _, mine = await self._allowed(caller, slug, "see-people")
        hidden = () if permissions.sees_names(caller, mine) else HELP_EVENTS
        return [
            EventView(at=one.at, by=one.by, what=one.what, detail=one.detail)
            for one in await self._store.events(slug)
            if one.what not in hidden
        ]

    # --- connection checks

    async def put_check(self, caller: WorkshopCaller, slug: str, body: CheckBody) -> None:
        """Store the caller's connection check in place of an earlier one. Raises ProblemError."""
        workshop, mine = await self._find(caller, slug)
        if mine is None:
            raise forbidden(Message("check-not-in", "Only people who are in this workshop can send it their check."))
        if workshop.state in FINAL:
            raise conflict(Message("check-over", "This workshop is over."))
        await checks.put(self._store, checks.CheckRecord(slug, caller.person, self._now(), body.tests))

    async def checks(self, caller: WorkshopCaller, slug: str) -> ChecksView:
        """Return how many people have checked their connection, and with which results. Raises ProblemError."""
        await self._allowed(caller, slug, "see-people")
        return checks.summary((await self._store.members([slug]))[slug], await checks.of(self._store, slug))

    # --- a workshop's life

    @_one_at_a_time
    async def create(self, caller: WorkshopCaller, body: WorkshopBody) -> CreatedView:
        """Create a workshop that the caller leads; return its slug and its join code.

        Raises ProblemError; SlugTaken if each of several random slugs was in use.
        """
        self._check_trainer(caller)
        _check_material(body.material)
        now = self._now()
        record = self._made(caller, body, now)
        live = await self._store.all(over=False)
        if sum(one.made_by == caller.person for one in live) >= self._config.limits.per_trainer:
            raise limit(
                Message("workshop-limit", "You have as many workshops as one trainer may have at a time."),
                N_("Cancel or close one of them first."),
            )
        if body.submit:
            record = self._submitted(record, now, live)
        code = codes.make_code()
        made = self._code(record, body.code, code, caller, now)
        lead = MembershipRecord(record.slug, caller.person, "lead", "staff", None, now)
        for left in range(_TRIES, 0, -1):
            event = EventRecord(record.slug, now, caller.person, "created", record.title)
            try:
                await self._store.create(record, lead, made, event)
                break
            except SlugTaken:
                if left == 1:
                    raise
                slug = _slug(body.title)
                record = record.with_values(slug=slug)
                lead, made = _moved(lead, slug), _moved(made, slug)
        self._changed()
        return self._created(record, code)

    @_one_at_a_time
    async def change(self, caller: WorkshopCaller, slug: str, body: WorkshopChange) -> WorkshopView:
        """Change a workshop. Raises ProblemError, also if the workshop was changed after the version in ``body``.

        A change of times, seats, places, GPU-hours or the sessions' length (``hours``) after an approval needs a new
        approval, unless an operator makes the change or the gateway needs no approvals. Once seats may start, these
        values cannot be changed.
        """
        workshop, mine = await self._allowed(caller, slug, "change")
        if body.version != workshop.version:
            raise _stale()
        _check_material(body.material)
        now, pools = self._now(), self._pools.pools()
        values = {name: getattr(body, name) for name in body.model_fields_set - {"version"}}
        zone = values.get("zone") or workshop.zone
        for name in {"opens", "starts", "ends", "closes"} & values.keys():
            values[name] = plans.moment_of(name, values[name], zone) if values[name] is not None else None
        if "places" in values and values["places"] is not None:
            values["places"] = plans.places_of(values["places"], pools)
        may_be_empty = ("gpu_hours", "person_gpu_hours", "material")
        values = {name: value for name, value in values.items() if value is not None or name in may_be_empty}
        changed = workshop.with_values(**values)
        altered = [name for name in _APPROVED_VALUES if getattr(changed, name) != getattr(workshop, name)]
        begun = workshop.state in (WorkshopState.WARMING, WorkshopState.OPEN)
        if altered and begun:
            raise conflict(
                Message(
                    "workshop-begun",
                    "Its seats may start already, so its times, places, seats, hours and GPU-hours can no longer be "
                    "changed.",
                )
            )
        if altered:
            plans.check(changed, self._config.limits, now)
            plans.check_pools(changed, pools)
            changed = await self._reapproved(caller, workshop, changed, now)
        elif changed.retention_days != workshop.retention_days:
            plans.check_retention(changed, self._config.limits)
        detail = ", ".join(sorted(values))
        try:
            stored = await self._store.change(changed, EventRecord(slug, now, caller.person, "changed", detail))
        except Stale as error:
            raise _stale() from error
        except SeatsInUse as error:
            said = Message(
                "workshop-seats-in-use", "Somebody has seat {number}: remove people first, or keep that many seats."
            )
            raise ProblemError(
                Problem(kind="conflict", message=said.format(number=error.number), field="seats")
            ) from error
        self._changed()
        return await self._shown(caller, stored, mine)

    @_one_at_a_time
    async def submit(self, caller: WorkshopCaller, slug: str) -> WorkshopView:
        """Ask for an operator's approval of a workshop. Raises ProblemError.

        If the gateway needs no approvals, the workshop is approved at once.
        """
        workshop, mine = await self._allowed(caller, slug, "submit")
        now = self._now()
        plans.check(workshop, self._config.limits, now)
        submitted = self._submitted(workshop, now, await self._store.all(over=False))
        return await self._stored(caller, submitted, mine, "submitted")

    @_one_at_a_time
    async def approve(self, caller: WorkshopCaller, slug: str) -> WorkshopView:
        """Approve a workshop that waits for approval. Raises ProblemError."""
        workshop, mine = await self._allowed(caller, slug, "approve")
        plans.check(workshop, self._config.limits, self._now())
        self._fits(workshop, await self._store.all(over=False))
        approved = workshop.with_values(state=after(workshop.state, WorkshopEvent.APPROVE), declined="")
        return await self._stored(caller, approved, mine, "approved")

    async def decline(self, caller: WorkshopCaller, slug: str, reason: str) -> WorkshopView:
        """Refuse the approval of a workshop. The workshop stays a draft, and its trainer sees the reason.

        Raises ProblemError.
        """
        workshop, mine = await self._allowed(caller, slug, "decline")
        declined = workshop.with_values(submitted=None, declined=reason)
        return await self._stored(caller, declined, mine, "declined", reason)

    async def take(self, caller: WorkshopCaller, slug: str, action: Action) -> WorkshopView:
        """Do what ``action`` says with a workshop; return the changed workshop. Raises ProblemError.

        ``action``: ``withdraw`` (an approved workshop becomes a draft again), ``cancel`` (the workshop does not take
        place), ``warm`` (its seats may start) or ``close`` (it is over, and its sessions end). No other action is
        allowed.
        """
        workshop, mine = await self._allowed(caller, slug, action)
        event = {
            "withdraw": WorkshopEvent.WITHDRAW,
            "cancel": WorkshopEvent.CANCEL,
            "warm": WorkshopEvent.WARM,
            "close": WorkshopEvent.CLOSE,
        }[action]
        now = self._now()
        moved = workshop.with_values(**stepped(workshop, event, now))
        if event is WorkshopEvent.WITHDRAW:
            moved = moved.with_values(submitted=None)
        return await self._stored(caller, moved, mine, LOGGED_STEPS[event])

    @_one_at_a_time
    async def extend(self, caller: WorkshopCaller, slug: str, minutes: int) -> WorkshopView:
        """Let a class go on for some minutes more, if its pools and other workshops allow that. Raises ProblemError."""
        workshop, mine = await self._allowed(caller, slug, "extend")
        pools = self._pools.pools()
        longer = plans.extended(workshop, minutes, pools)
        plans.check_extended(longer, await self._store.all(over=False), pools, self._config.limits)
        return await self._stored(caller, longer, mine, "extended", str(minutes))

    async def new_code(self, caller: WorkshopCaller, slug: str, body: CodeBody) -> CreatedView:
        """Make a new code for joining; earlier codes are not valid any more. Raises ProblemError."""
        workshop, _ = await self._allowed(caller, slug, "code")
        now, code = self._now(), codes.make_code()
        made = self._code(workshop, body, code, caller, now)
        await self._store.replace_code(made, EventRecord(slug, now, caller.person, "new code"))
        return self._created(workshop, code)

    # --- people

    async def put_member(self, caller: WorkshopCaller, slug: str, person: str, role: Role) -> MemberView:
        """Give a person a role in a workshop; return the person's membership.

        A new participant gets the lowest free seat, or waits for one. People with another role have no seat. Raises
        ProblemError; SeatTaken if others got the free seat at the same moment in each of several tries.
        """
        workshop, _ = await self._allowed(caller, slug, "people")
        for left in range(_TRIES, 0, -1):
            people = (await self._store.members([slug]))[slug]
            known = next((one for one in people if one.person == person), None)
            if role != "participant" and sum(one.state == "staff" for one in people if one != known) >= MOST_STAFF:
                said = Message("workshop-many-staff", "At most {count} people can run a workshop.")
                raise conflict(said.format(count=MOST_STAFF))
            record = self._member(workshop, people, known, person, role)
            event = EventRecord(slug, self._now(), caller.person, "role", f"{person}: {role}")
            try:
                await self._store.put_member(record, event)
            except SeatTaken:
                if left == 1:
                    raise
                continue
            except NobodyLeads as error:
                raise conflict(_LAST_LEAD) from error
            self._changed()
            return MemberView(person=person, role=role, state=record.state, seat=record.seat, since=record.at)
        raise AssertionError

    async def drop_member(self, caller: WorkshopCaller, slug: str, person: str) -> None:
        """Remove a person from a workshop; the person may join again with a code. Raises ProblemError."""
        await self._allowed(caller, slug, "people")
        people = (await self._store.members([slug]))[slug]
        known = next((one for one in people if one.person == person), None)
        if known is None:
            raise gone(person)
        event = EventRecord(slug, self._now(), caller.person, "removed", person)
        try:
            await self._store.drop_member(slug, person, event)
        except NobodyLeads as error:
            raise conflict(_LAST_LEAD) from error
        self._changed()

    async def may(self, caller: WorkshopCaller, slug: str, action: Action) -> WorkshopRecord:
        """Return a workshop if the caller may take this action there now. Raises ProblemError otherwise."""
        return (await self._allowed(caller, slug, action))[0]

    async def place(self, caller: WorkshopCaller, slug: str) -> tuple[WorkshopRecord, MembershipRecord | None]:
        """Return a workshop that the caller may see, and the caller's membership, if any. Raises ProblemError."""
        return await self._find(caller, slug)

    # --- helpers

    async def _find(self, caller: WorkshopCaller, slug: str) -> tuple[WorkshopRecord, MembershipRecord | None]:
        """Return a workshop that the caller may see, and the caller's membership, if any. Raises ProblemError.

        A workshop that the caller may not see gets the same error as one that does not exist.
        """
        workshop = await self._store.get(slug)
        mine = None if workshop is None else await self._store.member(slug, caller.person)
        if workshop is None or not permissions.sees(caller, mine):
            raise gone(Message("workshop", "The workshop {slug}").format(slug=slug))
        return workshop, mine

    async def _allowed(
        self, caller: WorkshopCaller, slug: str, action: Action
    ) -> tuple[WorkshopRecord, MembershipRecord | None]:
        """Return a workshop and the caller's membership in it (None: the caller is not in it).

        Raises ProblemError if the caller may not see the workshop, or may not take this action there now.
        """
        workshop, mine = await self._find(caller, slug)
        if not permissions.holds(action, caller, mine):
            raise forbidden(_MAY_NOT.get(action, _ONLY_LEAD))
        if not permissions.is_time_for(action, workshop):
            raise conflict(_NOT_NOW[workshop.state])
        return workshop, mine

    def _may_create(self, caller: WorkshopCaller) -> bool:
        mine = self._config.trainers.has(caller.person, caller.groups) and not is_guest(caller.person)
        return caller.operator or mine

    def _check_trainer(self, caller: WorkshopCaller) -> None:
        if not self._may_create(caller):
            said = Message("workshop-no-trainer", "You may not create workshops here.")
            raise ProblemError(
                Problem(kind="forbidden", message=said, do=N_("Ask this gateway's operators to let you."))
            )

    def _made(self, caller: WorkshopCaller, body: WorkshopBody, now: datetime) -> WorkshopRecord:
        pools = self._pools.pools()
        record = WorkshopRecord(
            slug=_slug(body.title),
            title=body.title,
            zone=body.zone,
            opens=plans.moment_of("opens", body.opens, body.zone),
            starts=plans.moment_of("starts", body.starts, body.zone),
            ends=plans.moment_of("ends", body.ends, body.zone),
            closes=plans.moment_of("closes", body.closes, body.zone),
            seats=body.seats,
            hours=body.hours,
            gpu_hours=body.gpu_hours,
            person_gpu_hours=body.person_gpu_hours,
            terms=body.terms,
            languages=body.languages,
            material=body.material,
            retention_days=body.retention_days,
            certificate_percent=body.certificate_percent,
            warm_minutes=self._config.limits.most_warm_minutes,
            seat_on_join=body.seat_on_join,
            state=WorkshopState.DRAFT,
            version=1,
            made=now,
            made_by=caller.person,
            places=plans.places_of(body.places, pools),
        )
        plans.check(record, self._config.limits, now)
        plans.check_pools(record, pools)
        return record

    def _submitted(self, workshop: WorkshopRecord, now: datetime, live: list[WorkshopRecord]) -> WorkshopRecord:
        """Return a draft as it is after its trainer has asked for approval. Raises ProblemError.

        If the gateway needs no approvals, the draft is approved. ``live``: all workshops that are not over.
        """
        self._fits(workshop, live)
        submitted = workshop.with_values(submitted=now, declined="")
        if self._config.approval == "none":
            return submitted.with_values(state=after(submitted.state, WorkshopEvent.APPROVE))
        return submitted

    def _fits(self, workshop: WorkshopRecord, live: list[WorkshopRecord]) -> None:
        pools = self._pools.pools()
        plans.check_pools(workshop, pools)
        plans.check_seats(workshop, live, pools)

    async def _reapproved(
        self, caller: WorkshopCaller, before: WorkshopRecord, changed: WorkshopRecord, now: datetime
    ) -> WorkshopRecord:
        """Return a changed workshop in the state that it has after the change. Raises ProblemError.

        An approved or scheduled workshop becomes a draft again, and waits for a new approval; it keeps its state if an
        operator changes it, or if the gateway needs no approvals. A draft stays a draft; if it waits for approval, it
        waits from ``now`` on.
        """
        if before.state not in TAKES_SEATS:
            return changed.with_values(submitted=now) if before.submitted is not None else changed
        live = await self._store.all(over=False)
        if caller.operator or self._config.approval == "none":
            self._fits(changed, live)
            return changed
        draft = changed.with_values(state=after(before.state, WorkshopEvent.WITHDRAW))
        return self._submitted(draft, now, live)

    async def _stored(
        self,
        caller: WorkshopCaller,
        workshop: WorkshopRecord,
        mine: MembershipRecord | None,
        what: LogEvent,
        detail: str = "",
    ) -> WorkshopView:
        event = EventRecord(workshop.slug, self._now(), caller.person, what, detail)
        try:
            stored = await self._store.change(workshop, event)
        except Stale as error:
            raise _stale() from error
        self._changed()
        return await self._shown(caller, stored, mine)

    def _code(
        self, workshop: WorkshopRecord, body: CodeBody, code: str, caller: WorkshopCaller, now: datetime
    ) -> CodeRecord:
        if body.expires is not None and body.expires <= now:
            raise invalid(Message("workshop-code-past", "The code would expire before it is made."), "code.expires")
        salt = codes.make_salt()
        return CodeRecord(
            workshop.slug,
            salt,
            codes.hash_of(code, salt, self._secret),
            now,
            caller.person,
            uses=body.uses,
            expires=None if body.expires is None else body.expires.astimezone(UTC),
            domains=body.domains,
        )

    def _created(self, workshop: WorkshopRecord, code: str) -> CreatedView:
        return CreatedView(slug=workshop.slug, state=workshop.state, code=code, join_url=self._join_url(workshop))

    def _join_url(self, workshop: WorkshopRecord) -> str:
        return f"{self._config.hub.root}hub/join/{workshop.slug}"

    def _member(
        self,
        workshop: WorkshopRecord,
        people: list[MembershipRecord],
        known: MembershipRecord | None,
        person: str,
        role: Role,
    ) -> MembershipRecord:
        """Return a person's membership with the role ``role``; nothing is stored here.

        ``people``: all people of the workshop; ``known``: the person's present membership, None: there is none. The
        other values of ``known``, such as the mail address of a guest, stay. A new participant gets the lowest free
        seat, or waits for one; people with another role have no seat.
        """
        before = MembershipRecord(workshop.slug, person, role, "staff", None, self._now()) if known is None else known
        if role != "participant":
            return replace(before, role=role, state="staff", seat=None)
        if known is not None and known.role == role and known.state in ("seated", "waiting"):
            return known
        free = next((n for n in range(1, workshop.seats + 1) if n not in seats_taken(people)), None)
        return replace(before, role=role, state="waiting" if free is None else "seated", seat=free)

    async def _shown(
        self, caller: WorkshopCaller, workshop: WorkshopRecord, mine: MembershipRecord | None
    ) -> WorkshopView:
        slugs = [workshop.slug] if permissions.is_staff(caller, mine) else []
        return self._view(caller, workshop, mine, await self._store.members(slugs), await self._store.codes(slugs))

    def _view(
        self,
        caller: WorkshopCaller,
        workshop: WorkshopRecord,
        mine: MembershipRecord | None,
        people: dict[str, list[MembershipRecord]],
        codes_of: dict[str, list[CodeRecord]],
    ) -> WorkshopView:
        staff = None
        if workshop.slug in people:
            staff = self._staff(workshop, people[workshop.slug], codes_of.get(workshop.slug, []))
        shown = ("slug", "title", "state", "zone", *_TIMES, "seats", "hours", "terms", "languages", "material",
                 "retention_days", "certificate_percent", "seat_on_join", "project")  # fmt: skip
        values: dict[str, Any] = {name: getattr(workshop, name) for name in shown}
        return WorkshopView(
            **values,
            places=tuple(PlaceView(**place.__dict__) for place in workshop.places),
            join_url=self._join_url(workshop),
            role=None if mine is None else mine.role,
            seat=None if mine is None else mine.seat,
            may=permissions.actions(caller, mine, workshop),
            staff=staff,
        )

    def _staff(self, workshop: WorkshopRecord, people: list[MembershipRecord], kept: list[CodeRecord]) -> StaffView:
        now = self._now()
        return StaffView(
            version=workshop.version,
            made_by=workshop.made_by,
            gpu_hours=workshop.gpu_hours,
            person_gpu_hours=workshop.person_gpu_hours,
            submitted=workshop.submitted,
            declined=workshop.declined,
            problem=workshop.problem,
            seated=sum(one.state == "seated" for one in people),
            waiting=sum(one.state == "waiting" for one in people),
            material=self._material_of(workshop.slug),
            codes=tuple(
                CodeView(made=c.made, made_by=c.made_by, expires=c.expires, uses=c.uses, used=c.used, domains=c.domains)
                for c in kept
                if codes.fault(c, now) is None
            ),
        )


_TIMES = ("opens", "starts", "ends", "closes")


def stepped(workshop: WorkshopRecord, event: WorkshopEvent, now: datetime) -> dict[str, Any]:
    """Return the new values of the fields that an event changes in a workshop.

    Raises ProblemError if the workshop's state forbids the event.
    """
    try:
        state = after(workshop.state, event)
    except NoSuchStep as error:
        raise conflict(str(error)) from error
    values: dict[str, Any] = {"state": state}
    if event is WorkshopEvent.WARM:
        values["warmed"] = now
    if event is WorkshopEvent.CLOSE:
        values["closed"] = now
    if state in (WorkshopState.ARCHIVED, WorkshopState.CANCELLED):
        values["over"] = now
    return values


def _check_material(material: MaterialBody | None) -> None:
    fault = None if material is None else repositories.fault_of(material.repository)
    if fault is not None:
        raise invalid(fault, "material.repository")


def _slug(title: str) -> str:
    """Return a new slug: words of the title that everybody can type, and four random characters."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    return f"{words or 'workshop'}-{''.join(secrets.choice('23456789abcdefghjkmnpqrstuvwxyz') for _ in range(4))}"


def _moved(record: Any, slug: str) -> Any:
    """Return a copy of the record of a workshop's member or join code, for the workshop ``slug`` instead."""
    return type(record)(**{**record.__dict__, "workshop": slug})


def _stale() -> ProblemError:
    return conflict(
        Message("workshop-stale", "Somebody else has changed the workshop meanwhile. Reload it, and change it again.")
    )
