"""``factorygate workshops``: commands that show and manage workshops, over the service's Unix socket."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from factorycommon.models.plain import plain_text
from factorycommon.service.yaml_file import read_model
from workshops.client import WorkshopsClient, WorkshopsProblem, WorkshopsSilent
from workshops.models.bodies import CodeBody, WorkshopBody
from workshops.models.callers import WorkshopCaller
from workshops.models.moving import MoveBody
from workshops.models.rehearsal import RehearsalBody, RehearsalsView, RehearsalView
from workshops.models.room import BroadcastBody
from workshops.models.views import Action, CreatedView, WorkshopView
from workshops.times import in_zone

_VARIABLE = "FACTORYGATE_WORKSHOPS_SOCKET"
LETTERS = "ABCDEFGHIJ"  # of the places of a plan
REHEARSAL_SECONDS = 3.0  # between two questions whether a rehearsal goes on
_ROLES = ("lead", "instructor", "helper", "observer", "participant")
_ACTIONS: dict[Action, str] = {
    "submit": "ask for approval",
    "approve": "approve one that waits for it",
    "withdraw": "make a draft of an approved one again",
    "cancel": "cancel one that has not begun",
    "warm": "let its seats start from now on",
    "close": "end one before its time; its sessions end some minutes later",
}


def add(parts: Any) -> None:
    """Add the command ``workshops`` to the subparsers ``parts``."""
    command: argparse.ArgumentParser = parts.add_parser("workshops", help="look at workshops, approve one")
    socket = os.environ.get(_VARIABLE)
    command.add_argument(
        "--workshops-socket", type=Path, default=socket, metavar="SOCKET",
        help=f"the service's Unix socket; else of ${_VARIABLE}",
    )  # fmt: skip
    command.add_argument("--as", dest="by", default="operator", metavar="NAME", help="who does it, for the log")
    orders = command.add_subparsers(required=True)
    _order(orders, "list", "all workshops", _list)
    _order(orders, "pools", "what trainers may choose", _pools)
    create = _order(orders, "create", "create one from a YAML file", _create)
    create.add_argument("file", type=Path, help="title, zone, opens, starts, ends, closes, seats, hours, places, …")
    create.add_argument("--trainer", required=True, metavar="NAME", help="who leads it, by name at the hub")
    _named(_order(orders, "show", "one workshop with its people and its log", _show))
    for action, words in _ACTIONS.items():
        made = _named(_order(orders, action, words, _take))
        made.set_defaults(action=action)
    decline = _named(_order(orders, "decline", "return one to its trainer", _decline))
    decline.add_argument("reason", help="at most 500 characters")
    code = _named(_order(orders, "code", "make a new code for joining, which replaces the others", _code))
    code.add_argument("--uses", type=int, metavar="N", help="how many people may join by it")
    code.add_argument("--domain", action="append", default=[], help="of mail addresses that may join")
    role = _named(_order(orders, "role", "give a person a role", _role))
    role.add_argument("person")
    role.add_argument("role", choices=_ROLES)
    remove = _named(_order(orders, "remove", "remove a person", _remove))
    remove.add_argument("person")
    _named(_order(orders, "room", "show the seats with what runs on them", _room))
    _named(_order(orders, "seats", "show which seats were begun before the class, and why one failed", _seats))
    _named(_order(orders, "go-on", "go on with seats after too many have failed", _go_on))
    move = _named(_order(orders, "move", "show where the seats are; with --to, move the class to another place", _move))
    move.add_argument("--to", choices=LETTERS, metavar="LETTER", help="the place in the plan, such as B")
    move.add_argument("--seat", type=int, action="append", metavar="N", help="move this seat only; may be repeated")
    rehearse = _named(_order(orders, "rehearse", "rehearse a class: without seats, with three, with all", _rehearse))
    rehearse.add_argument("--place", type=int, default=1, metavar="N", help="the plan: 1 is plan A")
    kinds = "seats: three of --as NAME; wave: robots on all seats of the class"
    rehearse.add_argument("--kind", choices=("dry", "seats", "wave"), default="dry", help=kinds)
    _named(_order(orders, "stop-rehearsal", "stop the rehearsal that goes on; its seats end", _stop_rehearsal))
    _named(_order(orders, "rehearsals", "show the last rehearsals, and whether they still count", _rehearsals))
    message = _named(_order(orders, "message", "send a message to everybody in the class", _message))
    message.add_argument("text")
    extend = _named(_order(orders, "extend", "let a class go on for longer", _extend))
    extend.add_argument("minutes", type=int)
    report = _named(_order(orders, "report", "one workshop in figures: who came, hours, waits, failures", _report))
    report.add_argument("--csv", action="store_true", help="the people as CSV")


Work = Callable[[WorkshopsClient, WorkshopCaller, argparse.Namespace], Awaitable[None]]


def _order(orders: Any, name: str, words: str, work: Work) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = orders.add_parser(name, help=words)
    made.set_defaults(run=_with_service(work))
    return made


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("slug", help="as `list` shows it")
    return parser


def _with_service(work: Work) -> Callable[[argparse.Namespace], int]:
    async def run(options: argparse.Namespace) -> None:
        client = WorkshopsClient(options.workshops_socket)
        try:
            await work(client, WorkshopCaller(options.by, operator=True), options)
        finally:
            await client.close()

    def start(options: argparse.Namespace) -> int:
        if options.workshops_socket is None:
            sys.stderr.write(f"Say where the workshops service is: --workshops-socket, or ${_VARIABLE}.\n")
            return 2
        try:
            asyncio.run(run(options))
        except WorkshopsProblem as error:
            words = " ".join(part for part in (str(error), error.problem.do) if part)
            sys.stderr.write(f"The workshops service: {plain_text(words)}\n")
        except WorkshopsSilent as error:
            where = options.workshops_socket
            sys.stderr.write(f"The service at {where} cannot be asked: {error}. Does it run, as this user?\n")
        except ValidationError as error:
            (first, *_) = error.errors()
            sys.stderr.write(f"{'.'.join(map(str, first['loc']))}: {first['msg']}\n")
        else:
            return 0
        return 1

    return start


async def _room(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    room = await client.room(caller, options.slug)
    if room.trouble is not None:
        _say(room.trouble.text)
    _say(f"{room.ready} of {room.taken} ready, {room.total} seats")
    for seat in room.seats:
        if seat.taken:
            state = "ready" if seat.ready else str(seat.state or "not started")
            line = f"{seat.seat:4}  {plain_text(seat.person or '')}  {state}  {seat.factory or ''}  {seat.reason or ''}"
            _say(plain_text(line).rstrip())


async def _seats(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    found = await client.seating(caller, options.slug)
    if found.warms is not None:
        _say(f"They begin at {found.warms:%Y-%m-%d %H:%M} UTC.")
    if found.halted is not None:
        why = "" if found.halted.why is None else f": {found.halted.why.what}"
        _say(f"Halted, since {found.halted.failed} of {found.halted.of} seats of a wave failed{why}")
    place = found.place
    if place is not None and place.problem is not None:
        _say(f"{place.factory}: {place.problem.message}")
    if place is not None and place.accounts is not None:
        accounts = place.accounts
        _say(f"{place.factory}: {accounts.held} of {accounts.pool} accounts held, {accounts.wiping} being wiped")
        for one in accounts.failed:
            _say(f"{place.factory}: {one.account} is not wiped, so nobody gets it: {one.why}")
    for seat in found.seats:
        why = "" if seat.why is None else seat.why.what
        _say(plain_text(f"{seat.seat or '':4}  {plain_text(seat.person)}  {seat.state or 'not begun'}  {why}").rstrip())


async def _go_on(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    await client.go_on(caller, options.slug)
    _say("Warming up goes on.")


def _move_body(options: argparse.Namespace) -> MoveBody:
    seats = None if options.seat is None else tuple(options.seat)
    return MoveBody(place=LETTERS.index(options.to), seats=seats)


async def _move(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    if options.to is None:
        found = await client.moving(caller, options.slug)
    else:
        found = await client.move(caller, options.slug, _move_body(options))
    if found.suggestion is not None:
        _say(found.suggestion.text)
    for place in found.places:
        leaving = f", {place.leaving} jobs there still have to end" if place.leaving else ""
        trouble = "" if place.trouble is None else f": {place.trouble.text}"
        ready = f"{place.ready} of {place.seats} seats have come up"
        _say(f"plan {LETTERS[place.number - 1]}  {place.factory}, {ready}{leaving}{trouble}")


async def _rehearse(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    body = RehearsalBody(place=options.place, kind=options.kind)
    if options.kind == "wave":
        there = (await client.rehearsals(caller, options.slug)).places
        costs = next((one.costs for one in there if one.number == options.place), None)
        if costs is not None:
            hours = math.ceil(10 * costs.gpu_hours) / 10
            _say(f"{costs.seats} seats: at most {hours:.1f} GPU-hours, and {costs.minutes} minutes")
    found = await client.rehearse(caller, options.slug, body)
    said = ""
    while options.kind != "dry" and found.running:
        if (now := _progress(found)) not in ("", said):
            _say(now)
        said = now
        await asyncio.sleep(REHEARSAL_SECONDS)
        found = await client.rehearsals(caller, options.slug)
    _say_rehearsals(found, options.place, options.kind)


def _progress(found: RehearsalsView) -> str:
    """Return how many seats of a running rehearsal with robots are ready, failed or were refused, as text.

    "" if no rehearsal with robots runs, or if it has no results yet.
    """
    for place in found.places:
        if place.wave is not None and place.wave.running and (now := place.wave.wave) is not None:
            return f"{now.up} of {now.seats} can be opened, {now.failed} failed, {now.refused} were refused"
    return ""


async def _stop_rehearsal(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    await client.stop_rehearsal(caller, options.slug)
    _say(f"The rehearsal of {options.slug} is being stopped.")


async def _rehearsals(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    _say_rehearsals(await client.rehearsals(caller, options.slug))


def _say_rehearsals(found: RehearsalsView, only: int | None = None, kind: str | None = None) -> None:
    for place in found.places:
        for one in (place.dry, place.seats, place.wave):
            if one is None or only not in (None, place.number) or kind not in (None, one.kind):
                continue
            where = f"plan {'ABCDEFGHIJ'[place.number - 1]}, {place.factory}, {one.kind}"
            _say_rehearsal(where, one)
            if one.counts is not None:
                _say_rehearsal(f"{where}, which counts", one.counts)


def _say_rehearsal(where: str, one: RehearsalView) -> None:
    colour = one.colour or "goes on"
    _say(f"{where}: {colour}, {one.at:%Y-%m-%d %H:%M} UTC ({one.by}) {one.number}".rstrip())
    for reason in one.void:
        _say(plain_text(f"  void    {reason.text}"))
    for line in one.lines:
        _say(plain_text(f"  {line.colour:7} {line.text} {line.do if line.colour != 'green' else ''}".rstrip()))


async def _message(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    sent = await client.broadcast(caller, options.slug, BroadcastBody(text=options.text))
    _say(f"{sent.received} of {sent.people} people have it; the others get it when their session starts")


async def _extend(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    found = await client.extend(caller, options.slug, options.minutes)
    _say(f"{found.slug} ends at {in_zone(found.ends, found.zone):%Y-%m-%d %H:%M %Z}.")


async def _report(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    if options.csv:
        sys.stdout.write((await client.file(caller, options.slug, "report.csv")).decode())
        return
    found = await client.report(caller, options.slug)
    _say(f"{found.joined} participants joined, {found.came} came, {found.certified} get a certificate")
    _say(f"{found.used_seats} of {found.seats} seats in use at the same time, at most")
    _say(
        f"{found.sessions} sessions, {found.hours:.2f} hours, {found.gpu_hours + found.cluster_gpu_hours:.2f} GPU-hours"
    )
    for cost in found.costs:
        _say(f"cost {cost.amount:.2f} {cost.unit}")
    waits = found.waits
    if waits.count:
        _say(f"waits: p50 {waits.p50:.0f} s, p95 {waits.p95:.0f} s, at most {waits.most:.0f} s")
    for one in found.failures:
        _say(f"{one.count} x {one.reason} at {one.factory}")
    if not found.whole:
        _say("The link did not answer, so nothing is known of sessions.")


async def _list(client: WorkshopsClient, caller: WorkshopCaller, _options: argparse.Namespace) -> None:
    rows = [("WORKSHOP", "STATE", "STARTS", "SEATS", "FACTORIES", "TITLE")]
    rows += [_row(one) for one in await client.all(caller)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(one: WorkshopView) -> tuple[str, str, str, str, str, str]:
    waits = one.state == "draft" and one.staff is not None and one.staff.submitted is not None
    taken = 0 if one.staff is None else one.staff.seated
    places = ", ".join(place.factory for place in one.places)
    state = "to be approved" if waits else str(one.state)
    return one.slug, state, f"{one.starts:%Y-%m-%d %H:%M} UTC", f"{taken}/{one.seats}", places, plain_text(one.title)


async def _pools(client: WorkshopsClient, caller: WorkshopCaller, _options: argparse.Namespace) -> None:
    for pool in await client.pools(caller):
        _say(f"{pool.id}: {pool.factory}, {', '.join(pool.sizes)}; {pool.seats} seats")


async def _create(client: WorkshopsClient, _caller: WorkshopCaller, options: argparse.Namespace) -> None:
    body = read_model(options.file, WorkshopBody)
    _made(await client.create(WorkshopCaller(options.trainer, operator=True), body))


async def _show(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    one = await client.one(caller, options.slug)
    _say(f"{one.slug}: {one.title}")
    _say(f"state     {one.state}")
    for name in ("opens", "starts", "ends", "closes"):
        _say(f"{name:9} {in_zone(getattr(one, name), one.zone):%Y-%m-%d %H:%M %Z}")
    for place in one.places:
        _say(f"plan {'ABCDEFGHIJ'[place.number - 1]}    {place.factory}, {place.size} ({place.pool})")
    _say(f"project   {one.project}")
    if one.staff is not None:
        _say(f"seats     {one.staff.seated} of {one.seats} taken, {one.staff.waiting} wait")
        for words in filter(None, (one.staff.problem, one.staff.declined)):
            _say(f"note      {words}")
    checks = await client.checks(caller, options.slug)
    _say(f"checks    {checks.checked} of {checks.people} connections checked, {checks.problems} with a problem")
    for member in await client.members(caller, options.slug):
        _say(f"{member.role:11} {member.person}" + (f", seat {member.seat}" if member.seat else ""))
    for event in reversed(await client.events(caller, options.slug)):
        _say(
            f"{event.at:%Y-%m-%d %H:%M} UTC {event.what} {event.detail} {f'({event.by})' if event.by else ''}".rstrip()
        )


async def _take(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    found = await client.take(caller, options.slug, options.action)
    _say(f"{found.slug} is {found.state}.")


async def _decline(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    found = await client.decline(caller, options.slug, options.reason)
    _say(f"{found.slug} is {found.state} again.")


async def _code(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    body = CodeBody.model_validate({"uses": options.uses, "domains": options.domain})
    _made(await client.new_code(caller, options.slug, body))


async def _role(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    found = await client.put_member(caller, options.slug, options.person, options.role)
    _say(f"{found.person} is {found.role}" + (f", seat {found.seat}." if found.seat else "."))


async def _remove(client: WorkshopsClient, caller: WorkshopCaller, options: argparse.Namespace) -> None:
    await client.drop_member(caller, options.slug, options.person)
    _say(f"{options.person} is removed.")


def _made(created: CreatedView) -> None:
    _say(f"{created.slug} is {created.state}. Join: {created.join_url}, code {created.code} (shown once).")


def _say(line: str) -> None:
    sys.stdout.write(f"{plain_text(line)}\n")
