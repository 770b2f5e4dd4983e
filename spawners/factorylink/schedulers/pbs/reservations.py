"""Parses what PBS reports of its reservations (``pbs_rstat -f``, which has no JSON). Pure.

Anybody may make a reservation, except one for maintenance, whose id begins with M. PBS prints a newline in a
person's text as a comma, so nobody can forge a line. Times have the form that ``parser.moment`` parses.
"""

from __future__ import annotations

import re

from factorycommon.models import Reservation
from factorylink.schedulers.pbs.json import understood
from factorylink.schedulers.pbs.parser import moment

# The states of a reservation. False: it is not confirmed or is over, and is left out.
STATES = {
    "RESV_NONE": False,
    "RESV_UNCONFIRMED": False,
    "RESV_CONFIRMED": True,
    "RESV_WAIT": False,
    "RESV_TIME_TO_RUN": True,
    "RESV_RUNNING": True,
    "RESV_FINISHED": False,
    "RESV_BEING_DELETED": False,
    "RESV_DELETED": False,
    "RESV_DELETING_JOBS": False,
    "RESV_DEGRADED": True,  # some of its nodes are down
    "RESV_BEING_ALTERED": False,
    "RESV_IN_CONFLICT": False,
}
_ID = re.compile(r"Resv ID: ([MRS][0-9]+(?:\[[0-9]*\])?\.[A-Za-z0-9][A-Za-z0-9_.-]*)\n")


def reservations(stdout: str) -> list[Reservation]:
    """Return the confirmed reservations in the answer of ``pbs_rstat -f``.

    Raises Misread if the answer is cut, or if a part of it cannot be read as a reservation.
    """
    with understood(stdout):
        if stdout and not stdout.endswith("\n\n"):
            raise ValueError("it was cut")
        read = (_reservation(f"{block}\n") for block in stdout.removesuffix("\n\n").split("\n\n") if block)
        return [one for one in read if one is not None]


def _reservation(block: str) -> Reservation | None:
    head = _ID.match(block)
    if head is None:
        raise ValueError(f"{block[:100]!r} is no reservation")
    values: dict[str, str] = {}
    for line in block[head.end() :].splitlines():
        name, equals, value = line.partition(" = ")
        if not equals or name in values:
            raise ValueError(f"{line[:100]!r} is no attribute")
        values[name] = value
    stands = STATES[values["reserve_state"]]
    start, end = moment(values["reserve_start"]), moment(values["reserve_end"])
    if not stands:
        return None
    if start is None or end is None:
        raise ValueError(f"{head[1]} has no time")
    nodes = re.findall(r"\(([^:()+]+)", values.get("resv_nodes", ""))
    return Reservation(
        id=head[1],
        name=values.get("Reserve_Name", head[1]),
        start=start,
        end=end,
        maintenance=head[1].startswith("M"),
        nodes=tuple(dict.fromkeys(node.partition("[")[0] for node in nodes)),  # n1[0] is a part of n1
        users=_names(values.get("Authorized_Users", values["Reserve_Owner"])),
        groups=_names(values.get("Authorized_Groups", "")),
    )


def _names(text: str) -> tuple[str, ...]:
    """Return the names in a list of users or groups: for ``+ada@login,-bob``, ada and -bob (excluded)."""
    return tuple(dict.fromkeys(name.partition("@")[0].removeprefix("+") for name in text.split(",") if name))
