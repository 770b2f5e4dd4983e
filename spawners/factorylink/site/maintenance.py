"""Finds maintenances, the partitions that they close, and the reservations that a site account may use. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from factorycommon.models import MaintenanceView, NodeState, Reservation, ReservationView


def maintenances(
    reservations: Iterable[Reservation], nodes: Sequence[NodeState], partitions: Iterable[str], now: datetime
) -> tuple[MaintenanceView, ...]:
    """Return the maintenances that are not over, the next one first.

    Each view lists those of ``partitions`` whose last nodes the maintenance takes: when the maintenance begins, any
    other nodes of the partition are in maintenances that are in progress at that moment. If the maintenance names no
    nodes, or if ``nodes`` is empty, the view lists all ``partitions``.
    """
    coming = sorted((one for one in reservations if one.maintenance and one.end > now), key=lambda one: one.start)
    return tuple(
        MaintenanceView(
            name=one.name,
            start=one.start,
            end=one.end,
            nodes=len(one.nodes),
            closes=tuple(name for name in partitions if _closes(one, coming, nodes, name)),
        )
        for one in coming
    )


def closing(coming: Iterable[MaintenanceView], partition: str) -> MaintenanceView | None:
    """Return the first maintenance in ``coming`` that leaves a partition without a node; None: no maintenance does.

    ``coming``: maintenances, the next one first. Jobs in the partition must end before the returned maintenance begins.
    """
    return next((one for one in coming if partition in one.closes), None)


def offered(
    reservations: Iterable[Reservation],
    account: str,
    pays: str | None,
    groups: Callable[[], frozenset[str]],
    now: datetime,
    *,
    coming: bool = False,
) -> tuple[ReservationView, ...]:
    """Return the reservations that a site account may use now; with ``coming``, also those that begin later.

    Reservations for maintenance are left out. ``pays``: the scheduler's account that is charged; None: the site
    account's default, whose name is not known here, so reservations that list accounts are left out, too. ``groups``:
    returns the site account's Unix groups, and is called only if a reservation is for groups.
    """
    return tuple(
        ReservationView(id=one.id, name=one.name, end=one.end, partition=one.partition)
        for one in reservations
        if not one.maintenance and (coming or one.start <= now) and now < one.end and admits(one, account, pays, groups)
    )


def _closes(
    maintenance: Reservation, coming: Iterable[Reservation], nodes: Sequence[NodeState], partition: str
) -> bool:
    """Return whether a maintenance leaves a partition without a node when it begins.

    ``coming``: all maintenances. True if the maintenance names no nodes, or if the nodes are not known (``nodes`` is
    empty). False if none of its nodes is in the partition.
    """
    if not maintenance.nodes or not nodes:
        return True
    inside = {node.name for node in nodes if partition in node.partitions}
    missing = {name for one in coming if one.start <= maintenance.start < one.end for name in one.nodes}
    return not inside.isdisjoint(maintenance.nodes) and inside <= missing


def admits(reservation: Reservation, account: str, pays: str | None, groups: Callable[[], frozenset[str]]) -> bool:
    """Return whether a reservation admits a site account.

    A reservation can have lists of users, of the scheduler's accounts and of Unix groups. Each list that a reservation
    has must admit the site account: by its name ``account``, by the charged account ``pays``, or by its Unix groups. A
    reservation without any list admits nobody. As in Slurm, letter case does not matter in the list of accounts.

    ``pays``: the scheduler's account that is charged; None: not known, so no list of accounts admits the site account.
    ``groups``: returns the site account's Unix groups, and is called only if the reservation has a list of groups.
    """
    accounts = [one.lower() for one in reservation.accounts]
    return (
        bool(reservation.users or reservation.accounts or reservation.groups)
        and _named(reservation.users, account)
        and (not accounts or (pays is not None and _named(accounts, pays.lower())))
        and (not reservation.groups or _shared(reservation.groups, groups()))
    )


def _shared(names: Sequence[str], groups: frozenset[str]) -> bool:
    """Return whether a reservation's list of groups, ``names``, admits somebody who is in ``groups``.

    The list must contain at least one of ``groups``; a dash before a name excludes the members of this group. A list in
    which all names have a dash admits nobody, since such a list means different things at different sites.
    """
    return not groups.isdisjoint(names) and all(f"-{group}" not in names for group in groups)


def _named(names: Sequence[str], name: str | None) -> bool:
    """Return whether a reservation's list of users or accounts, ``names``, admits ``name``.

    A dash before a name excludes this name. If the list is empty, or if all its names have a dash, everybody else is
    admitted; otherwise only the names without a dash are admitted.
    """
    if f"-{name}" in names:
        return False
    wanted = [one for one in names if not one.startswith("-")]
    return not wanted or name in wanted
