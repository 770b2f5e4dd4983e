"""The form of a workshop: turns a browser's form into a request to the service, and a workshop into the form's values.

All functions are pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from factorycommon.language import N_
from workshops.models.bodies import MAIL_DOMAINS, WorkshopBody, WorkshopChange
from workshops.models.views import PoolView, WorkshopView
from workshops.times import in_zone

TIMES = ("opens", "starts", "ends", "closes")
_TEXTS = ("title", "zone", *TIMES, "seats", "hours", "terms", "retention_days")
_OPTIONAL = ("gpu_hours", "person_gpu_hours")
PLACES = 3  # places that the form has
_CLOCK = "%Y-%m-%dT%H:%M"  # the form in which browsers send an input of type datetime-local
# What the form says about a field that the service's model refuses.
WRONG = {
    "title": N_("Give a title of 1 to 120 characters."),
    "zone": N_("Choose a time zone, such as Europe/Berlin."),
    **dict.fromkeys(TIMES, N_("Give a day and a time.")),
    "seats": N_("Give a number of seats from 1 to 1,000."),
    "hours": N_("Give the hours of a seat, such as 4."),
    "places": N_("Choose where the class takes place."),
    "gpu_hours": N_("Give a number of GPU-hours, or leave this empty."),
    "person_gpu_hours": N_("Give a number of GPU-hours, or leave this empty."),
    "terms": N_("Write at most 10,000 characters."),
    "languages": N_("Choose at least one language."),
    "material": N_("Give the address of a git repository that begins with https://, and a whole commit id."),
    "retention_days": N_("Give a number of days."),
    "certificate_percent": N_("Give a number from 0 to 100."),
    "code": N_("Give mail domains such as example.org, separated by commas."),
}


class PlaceOption(NamedTuple):
    """One option for a place of a workshop: a factory with a node size, an environment, and the pool that pays.

    The form has ``PLACES`` places: the first is plan A, the next one is plan B. ``value``: what the browser sends;
    ``environment``: "" for the factory's default; ``title``: the pool's title, or its id if it has no title.
    """

    value: str
    factory: str
    size: str
    environment: str
    title: str


def options(pools: Iterable[PoolView]) -> list[PlaceOption]:
    """Return what a trainer may choose for a place of a workshop: each node size with each environment of each pool.

    A pool pays for the sessions of workshops at one factory. A pool that lists no environments is offered only with "",
    which stands for the factory's default environment.
    """
    return [
        PlaceOption(
            "/".join((pool.id, pool.factory, size, environment)), pool.factory, size, environment, pool.title or pool.id
        )
        for pool in pools
        for size in pool.sizes
        for environment in (pool.environments or ("",))
    ]


def reservations(pools: Iterable[PoolView]) -> list[tuple[str, str]]:
    """Return the reservations that may be chosen, as sorted pairs of a reservation's name and its factory's id."""
    return sorted({(name, pool.factory) for pool in pools for name in pool.reservations})


def read(argument: Callable[[str], str], many: Callable[[str], Sequence[str]]) -> dict[str, Any]:
    """Return the fields of a workshop's form, named and nested as in ``WorkshopBody``. Nothing is checked here.

    ``argument``: returns the text of the field with this name, "" if the field is missing; ``many``: returns all texts
    of the field with this name.
    """
    values: dict[str, Any] = {name: argument(name).strip() for name in _TEXTS}
    values |= {name: argument(name).strip() or None for name in _OPTIONAL}
    values["seat_on_join"] = argument("seat_on_join") == "yes"
    if percent := argument("certificate_percent").strip():
        values["certificate_percent"] = percent
    values["places"] = [place for n in range(1, PLACES + 1) if (place := _place(argument, n)) is not None]
    values["languages"] = list(many("languages"))
    repository, commit = argument("repository").strip(), argument("commit").strip()
    values["material"] = {"repository": repository, "commit": commit} if repository or commit else None
    domains = [one.strip() for one in argument("domains").replace("\n", ",").split(",") if one.strip()]
    values["code"] = {"domains": domains[: MAIL_DOMAINS + 1]}
    return values


def _place(argument: Callable[[str], str], number: int) -> dict[str, str | None] | None:
    chosen = argument(f"place-{number}").strip()
    if not chosen:
        return None
    pool, factory, size, environment = (*chosen.split("/", 3), "", "", "", "")[:4]
    return {
        "pool": pool,
        "factory": factory,
        "size": size,
        "environment": environment or None,
        "reservation": argument(f"reservation-{number}").strip() or None,
    }


def body(values: Mapping[str, Any], submit: bool) -> WorkshopBody:
    """Return the request to create a workshop. Raises ValidationError.

    ``values``: the fields that ``read`` returns; ``submit``: whether to ask for an approval, too.
    """
    return WorkshopBody.model_validate({**values, "submit": submit})


def change(values: Mapping[str, Any], version: str) -> WorkshopChange:
    """Return the request to change a workshop. Raises ValidationError.

    ``values``: the fields that ``read`` returns; ``code`` is ignored, since a change does not concern join codes.
    ``version``: the version of the workshop that the browser's form shows.
    """
    return WorkshopChange.model_validate({**{k: v for k, v in values.items() if k != "code"}, "version": version})


def wrong(error: ValidationError) -> dict[str, str]:
    """Return what ``error`` says is wrong, in words for people, by field of the form; "" is the form as a whole."""
    fields = [str(one["loc"][0]) if one["loc"] else "" for one in error.errors()]
    return {field: WRONG.get(field, N_("This request is not understood.")) for field in fields}


def wrong_field(field: str | None) -> str:
    """Return the form's field that a refusal of the workshops service names; "" if it names none of the form's fields.

    ``field``: the ``field`` of the refusal, a dotted path such as ``places.0.size``; None: the refusal names nothing.
    """
    first = (field or "").split(".")[0]
    return first if first in WRONG else ""


def filled(workshop: WorkshopView) -> dict[str, Any]:
    """Return the values of the form for a workshop that is to be changed, by the names of the form's fields."""
    staff = workshop.staff
    values: dict[str, Any] = {
        "title": workshop.title,
        "zone": workshop.zone,
        **{name: clock(getattr(workshop, name), workshop.zone) for name in TIMES},
        "seats": str(workshop.seats),
        "hours": f"{workshop.hours:g}",
        "terms": workshop.terms,
        "retention_days": str(workshop.retention_days),
        "certificate_percent": str(workshop.certificate_percent),
        "gpu_hours": _number(staff.gpu_hours if staff else None),
        "person_gpu_hours": _number(staff.person_gpu_hours if staff else None),
        "languages": list(workshop.languages),
        "seat_on_join": "yes" if workshop.seat_on_join else "",
        "repository": workshop.material.repository if workshop.material else "",
        "commit": workshop.material.commit if workshop.material else "",
    }
    for place in workshop.places:
        key = "/".join((place.pool, place.factory, place.size, place.environment or ""))
        values |= {f"place-{place.number}": key, f"reservation-{place.number}": place.reservation or ""}
    return values


def clock(at: datetime, zone: str) -> str:
    """Return ``at`` as local time in ``zone``, in the format of an input of type datetime-local."""
    return in_zone(at, zone).strftime(_CLOCK)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
