"""Maintenances and reservations: what they mean for a person's session. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from factorycommon.models import MaintenanceView, NodeState, Reservation, ReservationView


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
    reservations: Iterable[Reservation],
    account: str,
    pays: str | None,
    groups: Callable[[], frozenset[str]],
    now: datetime,
) -> tuple[ReservationView, ...]:
    """Those that a site account may use now, where ``pays`` is the scheduler's account. ``groups``: those of the site
    account, asked for only where a reservation hangs on them."""
    return tuple(
        ReservationView(id=one.id, name=one.name, end=one.end, partition=one.partition)
        for one in reservations
        if not one.maintenance and one.start <= now < one.end and _in_it(one, account, pays, groups)
    )


def _closes(maintenance: Reservation, nodes: Sequence[NodeState], partition: str) -> bool:
    """Where nothing is known of the nodes, a maintenance is taken to be one of them all."""
    inside = {node.name for node in nodes if partition in node.partitions}
    return not maintenance.nodes or not nodes or (bool(inside) and inside <= set(maintenance.nodes))


def _in_it(reservation: Reservation, account: str, pays: str | None, groups: Callable[[], frozenset[str]]) -> bool:
    """All of users, accounts and groups that are chosen by have to fit. To Slurm an account in capitals is the same."""
    accounts = [one.lower() for one in reservation.accounts]
    return (
        bool(reservation.users or reservation.accounts or reservation.groups)
        and _named(reservation.users, account)
        and (not accounts or (pays is not None and _named(accounts, pays.lower())))
        and (not reservation.groups or _shared(reservation.groups, groups()))
    )


def _shared(names: Sequence[str], groups: frozenset[str]) -> bool:
    """In one of the groups, and in none with a dash. Only groups with a dash let nobody in: sites differ there."""
    return not groups.isdisjoint(names) and all(f"-{group}" not in names for group in groups)


def _named(names: Sequence[str], name: str | None) -> bool:
    """Names with a dash say who may not; without any other, all others may."""
    if f"-{name}" in names:
        return False
    wanted = [one for one in names if not one.startswith("-")]
    return not wanted or name in wanted
