"""Maintenances and reservations: what they mean for a person's session. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from factorylink.models import MaintenanceView, NodeState, Reservation, ReservationView


def maintenances(
    reservations: Iterable[Reservation], nodes: Sequence[NodeState], partitions: Iterable[str], now: datetime
) -> tuple[MaintenanceView, ...]:
    """Those that are not over, the next one first, with the partitions of the catalogue that they leave no node of."""
    coming = sorted((one for one in reservations if one.maintenance and one.end > now), key=lambda one: one.start)
    return tuple(
        MaintenanceView(
            name=one.name,
            start=one.start,
            end=one.end,
            nodes=len(one.nodes),
            closes=tuple(name for name in partitions if _closes(one, nodes, name)),
        )
        for one in coming
    )


def closing(coming: Iterable[MaintenanceView], partition: str) -> MaintenanceView | None:
    """The next one that leaves no node of a partition: what runs there has to end before. None: there is none."""
    return next((one for one in coming if partition in one.closes), None)


def offered(
    reservations: Iterable[Reservation], account: str, pays: str | None, now: datetime
) -> tuple[ReservationView, ...]:
    """Those that a site account may use now, where ``pays`` is the scheduler's account. Who is in a group of the site
    is not known here: a reservation that goes by groups is offered to nobody."""
    return tuple(
        ReservationView(id=one.id, name=one.name, end=one.end, partition=one.partition)
        for one in reservations
        if not one.maintenance and one.start <= now < one.end and _in_it(one, account, pays)
    )


def _closes(maintenance: Reservation, nodes: Sequence[NodeState], partition: str) -> bool:
    """Where nothing is known of the nodes, a maintenance is taken to be one of them all."""
    inside = {node.name for node in nodes if partition in node.partitions}
    return not maintenance.nodes or not nodes or (bool(inside) and inside <= set(maintenance.nodes))


def _in_it(reservation: Reservation, account: str, pays: str | None) -> bool:
    chosen = reservation.users or reservation.accounts
    return (
        bool(chosen)
        and _named(reservation.users, account)
        and _named(reservation.accounts, pays)
        and not (reservation.groups)
    )


def _named(names: Sequence[str], name: str | None) -> bool:
    """Names with a dash say who may not; without any other, all others may."""
    if f"-{name}" in names:
        return False
    wanted = [one for one in names if not one.startswith("-")]
    return not wanted or name in wanted
