"""Converts times between UTC and a class's time zone, also on the days when summer time begins or ends. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, StringConstraints

from factorycommon.messages import Message
from factorycommon.models.base import EARLIEST, LATEST


def zone_info(name: str) -> ZoneInfo:
    """Return the IANA time zone with this name. Raises ValueError if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; allowed: names such as Europe/Berlin, or UTC") from error


def _known(name: str) -> str:
    zone_info(name)
    return name


Zone = Annotated[
    str,
    StringConstraints(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"),
    AfterValidator(_known),
]


class NoSuchTime(ValueError):
    """Raised for a local time that a clock never shows, or shows twice. The text is for a person."""


def moment(local: datetime, zone: str) -> datetime:
    """Return in UTC the moment at which clocks in the time zone ``zone`` show ``local``.

    If ``local`` has an offset of its own, the offset counts and ``zone`` does not matter. Raises NoSuchTime if the
    clocks never show ``local`` or show it twice; ValueError for an unknown zone, or a year that is not allowed.
    """
    if not EARLIEST.year <= local.year <= LATEST.year:  # at the edge of the calendar, a conversion to UTC overflows
        raise _other_year(local)
    if local.tzinfo is not None:
        return _allowed(local.astimezone(UTC))
    place = zone_info(zone)
    first, second = (local.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1))
    shown = {"time": f"{local:%Y-%m-%d %H:%M}", "zone": zone}
    if first.astimezone(place).replace(tzinfo=None) != local:
        raise NoSuchTime(
            Message(
                "workshop-no-such-time",
                "There is no {time} in {zone}: clocks are set forward then. Choose another time.",
            ).format(**shown)
        )
    if first != second:
        raise NoSuchTime(
            Message(
                "workshop-time-twice", "There are two {time} in {zone}: clocks are set back then. Choose another time."
            ).format(**shown)
        )
    return _allowed(first)


def in_zone(at: datetime, zone: str) -> datetime:
    """Return ``at`` in the time zone ``zone``: the same moment. Raises ValueError if there is no such zone."""
    return at.astimezone(zone_info(zone))


def _allowed(at: datetime) -> datetime:
    if not EARLIEST <= at <= LATEST:
        raise _other_year(at)
    return at


def _other_year(at: datetime) -> ValueError:
    return ValueError(f"{at.year} is no year for a workshop; allowed: {EARLIEST.year} to {LATEST.year}")
