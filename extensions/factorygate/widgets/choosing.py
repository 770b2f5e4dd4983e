"""Checks a choice of factory, node size, environment, hours and project, and completes it from the catalogue.

The link decides which sizes are offered, their defaults and their bounds, and sends them in the ``offer`` of each size.
The start page completes a choice in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from factorycommon.language import N_
from factorycommon.messages import Message, joined
from factorycommon.models import MOST_HOURS, FactoryView, Health, SizeView, Words
from factorygate import language

Choice = dict[str, Any]  # factory, size, environment: ids; hours: float; project: id or None
Factories = Sequence[FactoryView]

NEEDS_TOKEN = N_(
    "A cluster at this factory needs a token of your own: make one on the hub's Token page and hand it over with "
    "factorygate.use_token()."
)
FIELDS = ("factory", "size", "environment", "hours", "project")
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def checked(desired: Mapping[str, Any]) -> Choice:
    """Return the fields of ``desired`` that are not None, as a Choice.

    Raises ValueError, with an explanation, for an unknown field, an id of a wrong form, or wrong ``hours``; ``hours``
    must be a number above 0, at most ``MOST_HOURS``. Whether the choice is offered is not checked.
    """
    unknown = sorted(set(desired) - set(FIELDS))
    if unknown:
        said = Message("choice-field-unknown", "A choice has no {unknown}; it has {fields}.")
        raise ValueError(said.format(unknown=", ".join(map(repr, unknown)), fields=", ".join(FIELDS)))
    choice: Choice = {}
    for field, value in desired.items():
        if value is None:
            continue
        if field == "hours":
            choice[field] = _hours(value)
        elif isinstance(value, str) and (_PROJECT if field == "project" else _ID).fullmatch(value):
            choice[field] = value
        else:
            said = Message("must-be-an-id", "{field} must be an id (small letters, digits and dashes), not {value}.")
            raise ValueError(said.format(field=field, value=repr(value)))
    return choice


def _hours(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        said = Message("hours-no-number", "hours must be a number, not {value}.")
        raise ValueError(said.format(value=repr(value)))  # noqa: TRY004  (like all other wrong choices)
    if not 0 < value <= MOST_HOURS:
        said = Message("hours-out-of-bounds", "hours must be above 0 and at most {most}, not {value}.")
        raise ValueError(said.format(most=MOST_HOURS, value=repr(value)))
    return float(value)


def completed(desired: Mapping[str, Any], factories: Factories, here: str | None = None) -> Choice | None:
    """Return the offered choice that is nearest to ``desired``, with all fields; None if no factory offers a size.

    ``desired``: a choice that ``checked`` has returned. If ``desired`` names no factory that offers a size, this
    function chooses a factory, if possible one that can be used now. ``here``: the id of the factory that is preferred
    among equally usable ones.
    """
    factory = _find(factories, desired.get("factory"))
    if factory is None or not factory.sizes:
        factory = _usual(factories, here)
    if factory is None or not factory.sizes:
        return None
    view = _size(factory, desired.get("size")) or _size(factory, factory.default_size) or factory.sizes[0]
    return {
        "factory": factory.id,
        "size": view.size.id,
        "environment": view.offer.nearest_environment(desired.get("environment")),
        "hours": view.offer.hours.nearest(desired.get("hours")),
        "project": view.nearest_project(desired.get("project")) if factory.projects else desired.get("project"),
    }


def refusal(desired: Mapping[str, Any], choice: Choice | None, factories: Factories) -> str:
    """Return a text that says why ``desired`` differs from the offered ``choice``; "" if nothing differs.

    The text names only the first field that differs. ``choice`` None: nothing is offered.
    """
    for field, value in desired.items():
        if choice is None:
            return N_("No factory is open to you at this moment.")
        if choice[field] == value:
            continue
        if field == "factory":
            said = Message("factory-not-offered", "There is no factory {factory} for you; there is {others}.")
            return said.format(factory=repr(value), others=_list(factories))
        factory = next(one for one in factories if one.id == choice["factory"])
        view = next(one for one in factory.sizes if one.size.id == choice["size"])
        if field == "size":
            sizes = _list([one.size for one in factory.sizes])
            said = Message("size-not-offered", "{factory} has no size {size}; it has {others}.")
            return said.format(factory=factory.id, size=repr(value), others=sizes)
        if field == "environment":
            fitting = ", ".join(view.offer.environments) or "none"
            said = Message(
                "environment-not-offered", "{factory} has no environment {environment} for {size}; it has {others}."
            )
            return said.format(factory=factory.id, environment=repr(value), size=choice["size"], others=fitting)
        if field == "project":
            said = Message(
                "project-not-offered",
                "The project {project} cannot be charged for {size} at {factory}; there is {others}.",
            )
            return said.format(
                project=repr(value), size=choice["size"], factory=factory.id, others=", ".join(view.projects) or "none"
            )
        said = Message("hours-not-offered", "{hours} hours are not offered for {size}; the nearest are {nearest}.")
        return said.format(hours=f"{value:g}", size=choice["size"], nearest=f"{choice[field]:g}")
    return ""


class _Named(Protocol):
    @property
    def id(self) -> str: ...


N = TypeVar("N", bound=_Named)


def _find(ones: Sequence[N], name: object) -> N | None:
    return next((one for one in ones if one.id == name), None)


def _size(factory: FactoryView, name: object) -> SizeView | None:
    return next((view for view in factory.sizes if view.size.id == name), None)


def _usual(factories: Factories, here: str | None) -> FactoryView | None:
    able = [factory for factory in factories if factory.sizes]
    able.sort(key=lambda factory: factory.id != here)  # a stable sort: the others stay in the catalogue's order
    ready = [factory for factory in able if factory.health.state == "ok" and not factory.rules_open]
    for state in ("ok", "starting"):
        ready += [factory for factory in able if factory.health.state == state]
    return next(iter([*ready, *able]), None)


def _list(ones: Sequence[_Named]) -> str:
    return ", ".join(one.id for one in ones) or "none"


# --- data for a page --------------------------------------------------------------------------------------------------


def standing(factories: Factories) -> list[dict[str, Any]]:
    """Return one object for JSON for each factory, with those of its data that seldom change."""
    fields = {
        "id", "name", "site", "accelerator", "environments", "default_environment", "default_size", "bounds",
        "projects",
    }  # fmt: skip
    return [
        factory.model_dump(mode="json", include=fields) | {"sizes": [_standing_size(view) for view in factory.sizes]}
        for factory in factories
    ]


def _standing_size(view: SizeView) -> dict[str, Any]:
    shown = view.model_dump(mode="json", include={"size", "projects", "offer", "price"})
    return shown | {"gpu_label": language.here().said(view.gpu_label_message)}


def passing(factories: Factories, reached: str | None = None) -> dict[str, Any]:
    """Return the part of the catalogue that changes from minute to minute, as objects for JSON by the factory's id.

    The part is small, since the page gets all of it at each change. ``reached``: the id of the only factory for which
    the notebook's token is valid, so that the result says for all others that they need another token; None: the token
    is valid for all.
    """
    needs_token = language.here().said(NEEDS_TOKEN)
    loads = {"name", "gpus_total", "gpus_free", "pending"}
    return {
        factory.id: {
            "health": _health(factory.health),
            "needs_token": "" if reached in (None, factory.id) else needs_token,
            "rules_open": _rules_open(factory.rules_open),
            "partitions": [load.model_dump(mode="json", include=loads) for load in factory.partitions],
            "sizes": {view.size.id: [view.fits_now, _start(view)] for view in factory.sizes},
        }
        for factory in factories
    }


def _start(view: SizeView) -> str | None:
    """Return when a session of the size ``view`` would start, as RFC 3339; None if this is not known."""
    return None if view.estimate is None else view.estimate.model_dump(mode="json")["start"]


def _rules_open(words: Words | None) -> dict[str, str] | None:
    """Return ``{"what": TEXT}`` for rules that the person has not accepted; None: the person has accepted all of them.

    TEXT says why nothing may start before the person accepts the rules. TEXT also says what to do, since a notebook
    cannot show a hyperlink to the rules, as the hub's pages do.
    """
    said = language.here().said
    return None if words is None else {"what": said(joined(words.as_message("what"), words.as_message("do")))}


def _health(health: Health) -> dict[str, Any]:
    """Return the factory's health as JSON.

    The time of the factory's last answer is left out in the state ``ok``; otherwise the health would change with every
    answer.
    """
    shown, said = health.model_dump(mode="json", include={"state", "words", "answered_at"}), language.here().said
    if health.words is not None:
        shown["words"] |= {name: said(health.words.as_message(name)) for name in health.words.TEXTS}
    if health.state == "ok":
        del shown["answered_at"]
    return shown
