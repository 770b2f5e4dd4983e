"""Judges a workshop at one of its places without starting anything: each line is green, yellow or red. Pure.

A place is one of the workshop's factories, with the node size and the environment that a seat gets there. Red: the
class could not take place as planned. Yellow: the class could take place, but somebody should do something first.
Nobody can know in advance what the scheduler does on the day of the class.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models.workshops import WorkshopPool
from factorycommon.models.workshops.rehearsal import PersonTrouble, RehearsalColour, RehearsalFacts, RehearsalPlace
from workshops.models.checks import ChecksView
from workshops.models.material import MaterialStatus
from workshops.models.rehearsal import RehearsalCheck, RehearsalLine
from workshops.seats.runner import SPARE_ACCOUNTS
from workshops.store.schema import MembershipRecord, PlaceRecord, WorkshopRecord

NAMED = 5  # people or accounts that a line names
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
_RULES = "rules-open"  # the code of a person's trouble: they have not accepted the site's rules
_TELL = N_("Ask them to open their checklist; its address is in the menu.")
_SITE = N_("Ask this gateway's operators; they speak with the site.")
_OPERATORS = N_("Ask this gateway's operators.")
_CHANGE = N_("Change the plan, or ask this gateway's operators.")
_AGAIN = N_("Rehearse again in a minute.")


@dataclass(frozen=True)
class DryFacts:
    """All that is known of a workshop and one of its places when a rehearsal without seats judges them.

    ``place``: one of the workshop's factories, with what a seat there gets; ``here``: what the link reports of this
    factory; ``facts``: what the link reports of the workshop. ``invited``: mail addresses of the participants on the
    trainer's list, without those who have joined; ``checks``: the people's connection checks; ``material``: None means
    that the workshop has none, or that its state is not known yet; ``pool``: None means that the operators do not allow
    the place's pool any more; ``release``: the release of this service.
    """

    workshop: WorkshopRecord
    place: PlaceRecord
    people: Sequence[MembershipRecord]
    invited: Collection[str]
    checks: ChecksView
    material: MaterialStatus | None
    pool: WorkshopPool | None
    facts: RehearsalFacts
    here: RehearsalPlace
    release: str


def judged(given: DryFacts) -> tuple[RehearsalLine, ...]:
    """Judge a workshop at one of its places by these facts; return lines about all that was checked, in a fixed order.

    Nothing is started.
    """
    parts = (
        _participants, _troubles, _budget, _place, _prestart, _size, _environment, _reservation, _maintenance,
        _accounts, _pace, _material, _connections, _versions,
    )  # fmt: skip
    return tuple(line for part in parts for line in part(given))


def place_lines(here: RehearsalPlace, place: PlaceRecord, hours: float) -> list[RehearsalLine]:
    """Return lines that say whether seats can begin at a place; a red line says why no seat can.

    The lines are about the factory, the site's agreement, the node size and the environment. ``here``: what the link
    reports of the place; ``hours``: the most hours that a seat's session may last.
    """
    return [*_seat_place(here), *_agreed(here), *_sized(here, place, hours), *_environed(here, place)]


# --- people


def _participants(given: DryFacts) -> Iterator[RehearsalLine]:
    """Yield one line: how many people have joined, and whether invited people are missing.

    If there are more people than seats, the line says only how many people and seats there are.
    """
    seats = given.workshop.seats
    seated = sum(one.state == "seated" for one in given.people)
    waiting = sum(one.state == "waiting" for one in given.people)
    expected = seated + waiting + len(given.invited)
    parts = {"seated": seated, "seats": seats, "waiting": waiting, "invited": len(given.invited)}
    if expected > seats:
        said = Message(
            "rehearsal-participants-many", "There are {seats} seats for {people} people, with those invited."
        )
        do = N_("Raise the number of seats, or tell those who will get none.")
        yield _line(
            "participants", "red" if seated + waiting > seats else "yellow", said.format(**parts, people=expected), do
        )
    elif given.invited:
        said = Message(
            "rehearsal-participants-invited",
            "{seated} of {seats} seats are taken. Of the people on your list, {invited} have not proved their address "
            "and joined.",
        )
        do = N_("Send them the link and the code again.")
        yield _line("participants", "yellow", said.format(**parts), do)  # only the lead may see the list's addresses
    elif not seated:
        said = Message("rehearsal-participants-nobody", "Nobody has joined yet, of {seats} seats.")
        yield _line("participants", "yellow", said.format(**parts), N_("Send your class the link and the code."))
    else:
        said = Message("rehearsal-participants", "{seated} of {seats} seats are taken, and nobody is missing.")
        yield _line("participants", "green", said.format(**parts))


def _troubles(given: DryFacts) -> Iterator[RehearsalLine]:
    """Yield lines that say who must still accept rules or terms, and who could start nothing for another reason."""
    names = {one.person: one.name or one.person for one in given.people}
    rules = [one for one in given.here.people if one.why.code == _RULES]
    others = [one for one in given.here.people if one.why.code != _RULES]
    parts = {"machine": given.here.machine}
    if rules:
        said = Message("rehearsal-rules-open", "{count} people must still accept the rules of {machine}: {names}.")
        yield _line("rules", "yellow", _counted(said, rules, names, **parts), _TELL)
    else:
        said = Message("rehearsal-rules", "Everybody who has joined has accepted the rules of {machine}.")
        yield _line("rules", "green", said.format(**parts))
    if not others:
        said = Message("rehearsal-terms", "Nothing keeps those who have joined from starting: terms, logins, blocks.")
        yield _line("terms", "green", said)
    for code in dict.fromkeys(one.why.code for one in others):
        alike = [one for one in others if one.why.code == code]
        said = Message("rehearsal-terms-open", "{count} people could start nothing: {names}. {why}")
        yield _line("terms", "yellow", _counted(said, alike, names, why=_words_of(alike[0])), alike[0].why.do or _TELL)


# --- budget


def _budget(given: DryFacts) -> Iterator[RehearsalLine]:
    """Yield lines that say whether the GPU-hours of the class and of each person are enough for the longest sessions.

    Yield nothing if the catalogue does not have the node size: ``_sized`` reports this.
    """
    workshop, size = given.workshop, given.here.size
    if size is None:
        return
    hours = min(workshop.hours, (workshop.closes - workshop.opens) / HOUR)
    needed = workshop.seats * hours * size.gpus
    granted = given.facts.gpu_hours
    if not size.gpus:
        yield _without_gpus(workshop)
        return
    if granted is None:
        said = Message("rehearsal-budget-none", "No budget limits the class; it may use {needed} GPU-hours.")
        yield _line("budget", "green", said.format(needed=_number(needed)))
        return
    left = max(0.0, granted - given.facts.spent - given.facts.reserved)
    parts = {"needed": _number(needed), "left": _number(left), "hours": _number(hours), "seats": workshop.seats}
    if left < needed:
        said = Message(
            "rehearsal-budget-short",
            "{seats} seats for {hours} hours need {needed} GPU-hours, and {left} are left.",
        )
        yield _line("budget", "red", said.format(**parts), N_("Ask for more GPU-hours, fewer seats or fewer hours."))
    else:
        said = Message("rehearsal-budget", "{left} GPU-hours are left; {seats} seats for {hours} hours need {needed}.")
        yield _line("budget", "green", said.format(**parts))
    share, of_staff = given.facts.person_gpu_hours, given.facts.staff_gpu_hours
    if share is None or of_staff is None:
        return
    if share < hours * size.gpus:
        said = Message(
            "rehearsal-share-short", "One person may use {share} GPU-hours, and a seat for {hours} hours needs {each}."
        )
        each = {"share": _number(share), "each": _number(hours * size.gpus), "hours": _number(hours)}
        yield _line("budget", "yellow", said.format(**each), N_("Raise the GPU-hours of each person."))
    said = Message(
        "rehearsal-shares",
        "Each participant may use {share} GPU-hours, and each person who runs the class {staff}.",
    )
    yield _line("budget", "green", said.format(share=_number(share), staff=_number(of_staff)))


def _without_gpus(workshop: WorkshopRecord) -> RehearsalLine:
    """Return the line for seats without a GPU; it warns if the trainer set a budget, which limits only GPU-hours."""
    said = Message("rehearsal-no-gpus", "A seat has no GPU. Budgets count GPU-hours, so none limits this class.")
    if workshop.gpu_hours is None and workshop.person_gpu_hours is None:
        return _line("budget", "green", said)
    do = N_("Ask this gateway’s operators what one person may run at once.")
    return _line("budget", "yellow", said, do)


# --- the place


def _place(given: DryFacts) -> Iterator[RehearsalLine]:
    yield from _seat_place(given.here)
    if given.pool is None:
        said = Message("rehearsal-pool-gone", "Workshops may not use this place any more.")
        yield _line("place", "red", said, _CHANGE)


def _seat_place(here: RehearsalPlace) -> Iterator[RehearsalLine]:
    """Yield one line: whether the place's factory answers, and seats may begin there now.

    Yield nothing if the site has not agreed that seats begin before their people come: ``_agreed`` reports this, and
    the link then reports no other problem of the factory.
    """
    problem = here.seat.problem
    if problem is not None and problem.code == "seat-no-prestart":
        return  # that is a line of its own
    if problem is None:
        said = Message("rehearsal-place", "{machine} answers, and sessions may start there.")
        yield _line("place", "green", said.format(machine=here.machine))
    else:
        do = problem.do or N_("Rehearse again when it is over; the class may use another plan.")
        yield _line("place", "red", problem.as_message("message"), do)


def _prestart(given: DryFacts) -> Iterator[RehearsalLine]:
    yield from _agreed(given.here)


def _agreed(here: RehearsalPlace) -> Iterator[RehearsalLine]:
    """Yield one line: whether the site allows the service to start people's sessions before these people come."""
    if "prestart" in here.agreed:
        said = Message("rehearsal-prestart", "The site has agreed that seats begin before their people come.")
        yield _line("prestart", "green", said)
    else:
        said = Message(
            "rehearsal-no-prestart",
            "The site has not agreed that seats begin before their people come: nothing warms up.",
        )
        yield _line("prestart", "red", said, _SITE)


def _size(given: DryFacts) -> Iterator[RehearsalLine]:
    yield from _sized(given.here, given.place, given.workshop.hours)


def _sized(here: RehearsalPlace, place: PlaceRecord, hours: float) -> Iterator[RehearsalLine]:
    """Yield one line: whether the node size is in the catalogue, and allows the hours of a seat."""
    size, parts = here.size, {"size": _named(here, place), "machine": here.machine}
    if size is None or size.id != place.size:
        said = Message("rehearsal-size-gone", "{machine} has no node size {size} any more.")
        yield _line("size", "red", said.format(**parts), _CHANGE)
    elif hours > size.max_hours:
        said = Message("rehearsal-size-hours", "A seat may last {hours} hours, and {size} allows {most}.")
        yield _line("size", "red", said.format(**parts, hours=_number(hours), most=_number(size.max_hours)), _CHANGE)
    else:
        said = Message("rehearsal-size", "{machine} has the node size {size}, for as many hours as a seat may last.")
        yield _line("size", "green", said.format(**parts))


def _named(here: RehearsalPlace, place: PlaceRecord) -> str:
    """Return what people call the node size of a place; its id if the catalogue does not have it any more."""
    size = here.size
    return size.label if size is not None and size.id == place.size and size.label else place.size


def _environment(given: DryFacts) -> Iterator[RehearsalLine]:
    yield from _environed(given.here, given.place)


def _environed(here: RehearsalPlace, place: PlaceRecord) -> Iterator[RehearsalLine]:
    """Yield one line: whether sessions can start in the environment, and whether the environment fits the node size."""
    found = here.environment(place.environment)
    parts = {"environment": place.environment or here.default or "–", "machine": here.machine}
    if found is None or not found.live:
        said = Message("rehearsal-environment-gone", "Nothing can start in the environment {environment} at {machine}.")
        yield _line("environment", "red", said.format(**parts), _CHANGE)
    elif not found.fits:
        said = Message("rehearsal-environment-size", "The environment {environment} is not for the size {size}.")
        yield _line("environment", "red", said.format(**parts, size=_named(here, place)), _CHANGE)
    else:
        said = Message("rehearsal-environment", "The environment {environment} is there.")
        yield _line("environment", "green", said.format(**parts))


# --- the time of the class at the site


def _reservation(given: DryFacts) -> Iterator[RehearsalLine]:
    """Yield lines that say whether the reservation exists, fits the class in time and size, and admits its accounts.

    If the place has no reservation, one line says so.
    """
    workshop, name, found, size = given.workshop, given.place.reservation, given.here.reservation, given.here.size
    if name is None:
        said = Message("rehearsal-unreserved", "No nodes are reserved: seats wait in the queue as all jobs do.")
        do = N_("Ask the site for a reservation if its queue is long at the time of the class.")
        yield _line("reservation", "yellow", said, do)
        return
    if found is None:
        untold = given.here.asked is None
        text = Message("rehearsal-reservation-untold", "{machine} has not told its reservations yet.") if untold else (
            Message("rehearsal-reservation-gone", "{machine} knows no reservation {name}, or it is over.")
        )  # fmt: skip
        said = text.format(machine=given.here.machine, name=name)
        yield _line("reservation", "yellow" if untold else "red", said, _AGAIN if untold else _SITE)
        return
    parts = {"name": name, "begins": _time(found.start), "ends": _time(found.end)}
    wrong = list[RehearsalLine]()
    if found.start > workshop.opens:
        said = Message("rehearsal-reservation-late", "The reservation {name} begins at {begins} only.")
        colour: RehearsalColour = "red" if found.start > workshop.starts else "yellow"
        wrong.append(_line("reservation", colour, said.format(**parts), _SITE))
    if found.end < workshop.closes:
        said = Message("rehearsal-reservation-short", "The reservation {name} ends at {ends} already.")
        wrong.append(
            _line("reservation", "red" if found.end < workshop.ends else "yellow", said.format(**parts), _SITE)
        )
    if size is not None:
        needed = math.ceil(workshop.seats / size.per_node)
        parts |= {"nodes": str(found.nodes), "needed": str(needed), "seats": str(workshop.seats)}
        if found.nodes == 0:
            said = Message(
                "rehearsal-reservation-nodes", "It is not known how many nodes {name} has; {needed} are needed."
            )
            wrong.append(_line("reservation", "yellow", said.format(**parts), _SITE))
        elif found.nodes < needed:
            said = Message("rehearsal-reservation-few", "{name} has {nodes} nodes, and {seats} seats need {needed}.")
            wrong.append(_line("reservation", "red", said.format(**parts), _SITE))
    if not found.project:
        said = Message("rehearsal-reservation-account", "{name} is not for the account that the class is charged to.")
        wrong.append(_line("reservation", "red", said.format(**parts), _SITE))
    if found.refuses:
        said = Message("rehearsal-reservation-people", "{name} does not admit {count} of the accounts: {names}.")
        refused = {"count": len(found.refuses), "names": _names(found.refuses)}
        wrong.append(_line("reservation", "red", said.format(**parts, **refused), _SITE))
    if wrong:
        yield from wrong
        return
    said = Message("rehearsal-reservation", "The reservation {name} is there, from {begins} to {ends}.")
    yield _line("reservation", "green", said.format(**parts))


def _maintenance(given: DryFacts) -> Iterator[RehearsalLine]:
    """Yield a line for each maintenance while the workshop is open, or one line that there is none."""
    workshop = given.workshop
    during = [one for one in given.here.maintenance if one.start < workshop.closes and one.end > workshop.opens]
    for one in during:
        said = Message("rehearsal-maintenance", "{machine} is maintained from {begins} to {ends}, during the class.")
        parts = {"machine": given.here.machine, "begins": _time(one.start), "ends": _time(one.end)}
        yield _line("maintenance", "red" if one.all else "yellow", said.format(**parts), _CHANGE)
    if not during:
        said = Message("rehearsal-no-maintenance", "No maintenance is announced for the time of the class.")
        yield _line("maintenance", "green", said)


def _accounts(given: DryFacts) -> Iterator[RehearsalLine]:
    """Yield lines that say whether site accounts may be lent, whether there are enough, and whether they can be wiped.

    An account is wiped (its files are deleted) before another person gets it. If no accounts are lent at the place,
    one line says so.
    """
    here, held, seats = given.here, given.here.seat.accounts, given.workshop.seats
    if not here.lends or held is None:
        said = Message("rehearsal-accounts-own", "No accounts are lent there.")
        yield _line("accounts", "green", said)
        return
    wanted, usable = seats + math.ceil(SPARE_ACCOUNTS * seats), held.pool - len(held.failed)
    parts = {"pool": held.pool, "usable": usable, "seats": seats, "wanted": wanted, "failed": len(held.failed)}
    if "pool_accounts" not in here.agreed:
        said = Message("rehearsal-accounts-forbidden", "The site has not agreed that accounts are lent to a class.")
        yield _line("accounts", "red", said, _SITE)
    if usable < wanted:
        said = Message(
            "rehearsal-accounts-few",
            "{usable} accounts can be lent; {seats} seats need that many, and some spare ones.",
        )
        yield _line("accounts", "red" if usable < seats else "yellow", said.format(**parts), _OPERATORS)
    else:
        said = Message("rehearsal-accounts", "{usable} accounts can be lent, for {seats} seats and some spare.")
        yield _line("accounts", "green", said.format(**parts))
    if not here.wipes or "wipe" not in here.agreed:
        said = Message("rehearsal-no-wipe", "The accounts cannot be emptied between two people, so none is lent twice.")
        yield _line("wipe", "red", said, _SITE)
    elif held.failed:
        said = Message("rehearsal-wipe-failed", "{failed} accounts could not be emptied, so nobody gets them.")
        yield _line("wipe", "yellow", said.format(**parts), _OPERATORS)
    else:
        said = Message("rehearsal-wipe", "Accounts are emptied before and after the class.")
        yield _line("wipe", "green", said)


def _pace(given: DryFacts) -> Iterator[RehearsalLine]:
    """Yield a line if the gateway cannot connect to all seats; and always a line about the length of the warm-up.

    The latter says whether all seats can begin during the warm-up at the site's pace.
    """
    workshop, seat = given.workshop, given.here.seat
    if seat.room is not None and seat.room < workshop.seats:
        said = Message(
            "rehearsal-doors", "The gateway can keep {room} more connections to {machine}, for {seats} seats."
        )
        parts = {"room": seat.room, "machine": given.here.machine, "seats": workshop.seats}
        yield _line("pace", "red", said.format(**parts), _OPERATORS)
    minutes = math.ceil(workshop.seats / seat.per_minute)
    parts = {"seats": workshop.seats, "minutes": minutes, "warm": workshop.warm_minutes}
    if minutes * MINUTE > workshop.warm_minutes * MINUTE:
        said = Message(
            "rehearsal-pace-slow",
            "To begin {seats} seats takes {minutes} minutes at the pace of the site, and they begin at most {warm} "
            "minutes before the class opens.",
        )
        yield _line("pace", "yellow", said.format(**parts), N_("Open the workshop earlier, or warm it up by hand."))
    else:
        said = Message("rehearsal-pace", "At the pace of the site, {seats} seats begin within {minutes} minutes.")
        yield _line("pace", "green", said.format(**parts))


# --- what people get


def _material(given: DryFacts) -> Iterator[RehearsalLine]:
    """Yield one line: whether the service has fetched the commit of the material."""
    wanted, found = given.workshop.material, given.material
    if wanted is None:
        said = Message("rehearsal-no-material", "The workshop brings no material.")
        yield _line("material", "green", said)
        return
    same = found is not None and (found.repository, found.commit) == (wanted.repository, wanted.commit)
    parts = {"commit": wanted.commit[:12]}
    if found is None or not same or found.state in ("waiting", "fetching"):
        said = Message("rehearsal-material-waits", "The material {commit} is not fetched yet.")
        yield _line("material", "yellow", said.format(**parts), _AGAIN)
    elif found.state == "failed":
        said = Message("rehearsal-material-failed", "The material {commit} could not be fetched: {why}")
        do = N_("Choose another commit, or fetch it again on the workshop's page.")
        yield _line("material", "red", said.format(**parts, why=found.problem), do)
    else:
        said = Message("rehearsal-material", "The material {commit} is fetched: {files} files.")
        yield _line("material", "green", said.format(**parts, files=found.files))


def _connections(given: DryFacts) -> Iterator[RehearsalLine]:
    """Yield one line: what the participants' own connection checks found."""
    sent = given.checks
    parts = {"checked": sent.checked, "people": sent.people, "problems": sent.problems}
    do = N_("Ask your class to check their connection with the computer and network of the day.")
    if sent.problems:
        said = Message("rehearsal-connections-bad", "For {problems} of {checked} people something does not work.")
        yield _line("connections", "yellow", said.format(**parts), N_("Their names are on the workshop's page."))
    elif sent.checked < sent.people or not sent.people:
        said = Message("rehearsal-connections-some", "{checked} of {people} people have sent a connection check.")
        yield _line("connections", "yellow", said.format(**parts), do)
    elif sent.untested:
        said = Message("rehearsal-connections-untested", "For {untested} of {checked} people a test could not be done.")
        again = N_("Ask them to check their connection again. Their names are on the workshop's page.")
        yield _line("connections", "yellow", said.format(**parts, untested=sent.untested), again)
    else:
        said = Message("rehearsal-connections", "All {people} people have checked their connection: it works.")
        yield _line("connections", "green", said.format(**parts))


def _versions(given: DryFacts) -> Iterator[RehearsalLine]:
    """Yield one line: whether link and service are of the same release."""
    parts = {"link": given.facts.release, "service": given.release}
    if given.facts.release == given.release:
        said = Message("rehearsal-versions", "Link and workshops service are both of release {link}.")
        yield _line("versions", "green", said.format(**parts))
    else:
        said = Message(
            "rehearsal-versions-differ", "The link is of release {link}, the workshops service of {service}."
        )
        yield _line("versions", "yellow", said.format(**parts), _OPERATORS)


# --- helpers


def _line(check: RehearsalCheck, colour: RehearsalColour, text: str, do: str = "") -> RehearsalLine:
    return RehearsalLine(check=check, colour=colour, text=text, do=do)


def _counted(said: Message, troubles: Sequence[PersonTrouble], names: dict[str, str], **parts: str) -> Message:
    named = [names.get(one.person, one.person) for one in troubles]
    return said.format(count=len(troubles), names=_names(named), **parts)


def _words_of(trouble: PersonTrouble) -> Message:
    return trouble.why.as_message("what")


def _names(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:NAMED]) + (" …" if len(found) > NAMED else "")


def _number(value: float) -> str:
    return f"{value:.4g}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
