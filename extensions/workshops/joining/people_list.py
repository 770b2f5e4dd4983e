"""Lists of a workshop's people as CSV: reads what a trainer uploads, and writes what they download. Pure functions."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args

from factorycommon.csv_cells import cell
from factorycommon.mail import plain_address
from factorycommon.messages import Message
from factorycommon.models.joining import MOST_NAME, Role
from factorycommon.models.plain import plain_text

MOST_BYTES = 256 * 1024
MOST_PEOPLE = 1000
MOST_FAULTS = 50  # faults that are named; a wrong file has one in each line
COLUMNS = ("mail", "name", "role")
_REQUIRED = "mail"
_ROLES: dict[str, Role] = {one: one for one in get_args(Role)}


@dataclass(frozen=True)
class Invited:
    """A person on a trainer's list of invited people.

    ``mail``: in the form in which addresses are compared; ``name``: "" if the list has none.
    """

    mail: str
    name: str
    role: Role


@dataclass(frozen=True)
class Listed:
    """A person in the list that a trainer downloads.

    ``mail``: "" if none is known; ``person``: the name of the hub's user; ``state``: the state of the membership;
    ``seat``: the number of the person's seat, None if the person has no seat; ``since``: when the person joined. Before
    the person joins, ``person`` is "", ``state`` is ``invited``, and ``since`` is None.
    """

    mail: str
    name: str
    role: Role
    person: str = ""
    state: str = "invited"
    seat: int | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class ListFault:
    """A mistake in a trainer's list of people. ``line``: the line in the file, from 1; ``text``: what is wrong."""

    line: int
    text: Message


class ListFaults(Exception):
    """Raised if a trainer's list of people has mistakes; no part of the list is used. ``faults``: the mistakes."""

    def __init__(self, faults: Iterable[ListFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"line {one.line}: {one.text}" for one in self.faults))


def same_mail(typed: str) -> str:
    """Return a mail address in the form in which addresses are compared: in small letters, without blanks around it.

    Raises ValueError if it is no address.
    """
    text = typed.strip()
    mailbox, _, host = text.rpartition("@")
    plain_address(mailbox, host)
    return text.lower()


def read(data: bytes) -> list[Invited]:
    """Return the people of a CSV file. Raises ListFaults with the file's mistakes, at most ``MOST_FAULTS``.

    After some mistakes, such as a wrong heading, the rest of the file is not read. The file is in UTF-8, has commas or
    semicolons, and a heading with ``mail`` and perhaps ``name`` and ``role``. Without a role, a person is a
    participant. More than ``MOST_PEOPLE`` people or ``MOST_BYTES`` bytes are a mistake, too.
    """
    if len(data) > MOST_BYTES:
        raise ListFaults([ListFault(1, _too_long())])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ListFaults([ListFault(line, _not_utf8())]) from error
    if "\0" in text:
        raise ListFaults([ListFault(text.count("\n", 0, text.index("\0")) + 1, _not_utf8())])
    first = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in first else ",", strict=True)
    columns: list[str] = []
    people: dict[str, Invited] = {}
    faults: list[ListFault] = []
    try:
        for row in rows:
            if not any(one.strip() for one in row):
                continue
            if not columns:
                columns = _heading(row, rows.line_num)
                continue
            _take(row, columns, rows.line_num, people, faults)
            if len(faults) >= MOST_FAULTS:
                break
    except csv.Error as error:
        faults.append(ListFault(rows.line_num, _not_csv()))
        raise ListFaults(faults) from error
    if not columns:
        raise ListFaults([ListFault(1, _empty())])
    if faults:
        raise ListFaults(faults)
    return list(people.values())


def _heading(row: list[str], line: int) -> list[str]:
    columns = [one.strip().lower() for one in row]
    unknown = [one for one in columns if one not in COLUMNS]
    if unknown or _REQUIRED not in columns or len(set(columns)) != len(columns):
        raise ListFaults([ListFault(line, _wrong_heading())])
    return columns


def _take(row: list[str], columns: list[str], line: int, people: dict[str, Invited], faults: list[ListFault]) -> None:
    """Add the person of a row to ``people``, or the row's mistake to ``faults``."""
    if len(row) != len(columns):
        text = Message("list-cells", "This line has {cells} cells, and the heading has {columns}.")
        faults.append(ListFault(line, text.format(cells=len(row), columns=len(columns))))
        return
    values = dict(zip(columns, (one.strip() for one in row), strict=True))
    role = _ROLES.get(values.get("role", "").lower() or "participant")
    if role is None:
        text = Message("list-role", "There is no such role. Allowed: {roles}.")
        faults.append(ListFault(line, text.format(roles=", ".join(_ROLES))))
        return
    name = plain_text(values.get("name", ""), MOST_NAME)
    try:
        mail = same_mail(values["mail"])
    except ValueError:
        faults.append(ListFault(line, Message("list-mail", "This is no mail address such as ada@example.org.")))
        return
    if mail in people:
        faults.append(ListFault(line, Message("list-twice", "This mail address is in the list already.")))
    elif len(people) >= MOST_PEOPLE:
        faults.append(ListFault(line, _too_long()))
    else:
        people[mail] = Invited(mail, name, role)


def written(people: Iterable[Listed]) -> str:
    """Return the text of a CSV file of people.

    An apostrophe precedes each text that a spreadsheet would take for a formula.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow((*COLUMNS, "person", "state", "seat", "since"))
    for one in people:
        since = "" if one.since is None else one.since.astimezone(UTC).isoformat(timespec="seconds")
        seat = "" if one.seat is None else str(one.seat)
        values = (one.mail, one.name, one.role, one.person, one.state, seat, since)
        table.writerow([cell(value) for value in values])
    return text.getvalue()


def _too_long() -> Message:
    said = Message("list-long", "The list is too long. Allowed: {people} people and {kib} KiB.")
    return said.format(people=MOST_PEOPLE, kib=MOST_BYTES // 1024)


def _not_utf8() -> Message:
    return Message("list-utf8", "This is no text in UTF-8. Save the list as “CSV UTF-8” and send it again.")


def _not_csv() -> Message:
    return Message("list-csv", "This line cannot be read as CSV: a quotation mark is missing, or one too many.")


def _empty() -> Message:
    return Message("list-empty", "The list is empty. Its first line names the columns: mail, name, role.")


def _wrong_heading() -> Message:
    return Message("list-heading", "The first line names the columns: mail, and if you like name and role. No others.")
