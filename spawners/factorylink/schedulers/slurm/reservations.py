"""Parses what Slurm reports of its reservations. Pure.

``scontrol --oneliner show reservation`` prints a line for each reservation, with words ``Key=Value`` separated by
spaces. Only operators of the site can make reservations, so their text can be trusted. A comment, which may hold any
text, comes last.
"""

from __future__ import annotations

import re

from factorycommon.models import Reservation
from factorylink.errors import Misread
from factorylink.schedulers.slurm.parser import hosts, moment

_NONE = "No reservations in the system\n"
_LINE = re.compile(
    r"ReservationName=(?P<name>\S+) StartTime=(?P<start>[0-9]{1,11}) EndTime=(?P<end>[0-9]{1,11}) (?P<rest>.*)\n"
)
_NULL = {"", "(null)", "N/A"}
_MOST = 100_000  # maximum number of nodes


def reservations(stdout: str) -> list[Reservation]:
    """Return every reservation in ``stdout``, the output of ``scontrol --oneliner show reservation``.

    Raises Misread if a line is no reservation, or lacks a required key.
    """
    if stdout == _NONE:
        return []
    found, position = [], 0
    while position < len(stdout):
        line = _LINE.match(stdout, position)
        if line is None:
            raise Misread(f"Not a reservation: {stdout[position : position + 200]!r}", stdout)
        found.append(_reservation(line, stdout))
        position = line.end()
    return found


def _reservation(line: re.Match[str], stdout: str) -> Reservation:
    words = dict(word.partition("=")[::2] for word in line["rest"].partition(" Comment=")[0].split())
    start, end = moment(line["start"]), moment(line["end"])
    if start is None or end is None or not {"Nodes", "Flags", "Users", "Accounts"} <= words.keys():
        raise Misread(f"The reservation {line['name']} is told without what it must have.", stdout)
    return Reservation(
        id=line["name"],
        name=line["name"],
        start=start,
        end=end,
        maintenance="MAINT" in words["Flags"].split(","),
        nodes=hosts(_some(words["Nodes"]), _MOST),
        partition=_some(words.get("PartitionName", "")),
        users=_list(words["Users"]),
        accounts=_list(words["Accounts"]),
        groups=_list(words.get("Groups", "")),  # Slurm 21.08 and later
    )


def _some(word: str) -> str:
    return "" if word in _NULL else word


def _list(word: str) -> tuple[str, ...]:
    return tuple(name for name in _some(word).split(",") if name)
