"""A choice of factory, node size, environment, hours and project: checked, and completed from the catalogue.

The start page completes a choice by the same rules (``settle`` in its ``choose.js``), so that both preset the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from factorycommon.language import N_
from factorycommon.messages import Message, joined, received
from factorygate import language

Choice = dict[str, Any]  # factory, size, environment: ids; hours: float; project: id or None
Factories = Sequence[Mapping[str, Any]]  # FactoryView as the link tells it

NEEDS_TOKEN = N_(
    "A cluster at this factory needs a token of your own: make one on the hub's Token page and hand it over with "
    "factorygate.use_token()."
)
FIELDS = ("factory", "size", "environment", "hours", "project")
MOST_HOURS = 720
_LEAST_HOURS = 0.25  # or a size's limit, where that is less
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def checked(wish: Mapping[str, Any]) -> Choice:
    """What may be asked for at all, by form alone; what is None or left out is open. Raises ValueError in words."""
    unknown = sorted(set(wish) - set(FIELDS))
    if unknown:
        said = Message("choice-field-unknown", "A choice has no {unknown}; it has {fields}.")
        raise ValueError(said.format(unknown=", ".join(map(repr, unknown)), fields=", ".join(FIELDS)))
    choice: Choice = {}
    for field, value in wish.items():
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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(Message("hours-no-number", "hours must be a number, not {value}.").format(value=repr(value)))
    if not 0 < value <= MOST_HOURS:
        said = Message("hours-out-of-bounds", "hours must be above 0 and at most {most}, not {value}.")
        raise ValueError(said.format(most=MOST_HOURS, value=repr(value)))
    return float(value)


def completed(wish: Mapping[str, Any], factories: Factories, here: str | None = None) -> Choice | None:
    """The nearest to a checked wish that is offered, with nothing left open; None: nothing is offered.

    ``here``: the factory that is preset, while it takes requests.
    """
    factory = _find(factories, wish.get("factory")) or _usual(factories, here)
    if factory is None or not factory["sizes"]:
        return None
    sizes = [view["size"] for view in factory["sizes"]]
    size = _find(sizes, wish.get("size")) or _find(sizes, factory["default_size"]) or sizes[0]
    environments = [one for one in factory["environments"] if _fits(one, size["id"])]
    usual = _find(environments, factory["default_environment"])
    environment = _find(environments, wish.get("environment")) or usual or next(iter(environments), None)
    least, most = min(_LEAST_HOURS, size["max_hours"]), size["max_hours"]
    return {
        "factory": factory["id"],
        "size": size["id"],
        "environment": environment["id"] if environment else None,
        "hours": min(most, max(least, wish.get("hours", size["default_hours"]))),
        "project": _paying(factory, size["id"], wish.get("project")),
    }


def _paying(factory: Mapping[str, Any], size: str, wanted: Any) -> Any:
    """Where projects pay: the wanted one if it may have the size, else the first that may. Elsewhere none is needed."""
    if not factory.get("projects"):
        return wanted
    able = next(view.get("projects", ()) for view in factory["sizes"] if view["size"]["id"] == size)
    return wanted if wanted in able else next(iter(able), None)


def refusal(wish: Mapping[str, Any], choice: Choice | None, factories: Factories) -> str:
    """Why what was wished is not what is offered, in words; empty where it is."""
    for field, value in wish.items():
        if choice is None:
            return N_("No factory is open to you at this moment.")
        if choice[field] == value:
            continue
        if field == "factory":
            said = Message("factory-not-offered", "There is no factory {factory} for you; there is {others}.")
            return said.format(factory=repr(value), others=_list(factories))
        factory = _find(factories, choice["factory"]) or {}
        if field == "size":
            sizes = _list([view["size"] for view in factory["sizes"]])
            said = Message("size-not-offered", "{factory} has no size {size}; it has {others}.")
            return said.format(factory=factory["id"], size=repr(value), others=sizes)
        if field == "environment":
            fitting = _list([one for one in factory["environments"] if _fits(one, choice["size"])])
            said = Message(
                "environment-not-offered", "{factory} has no environment {environment} for {size}; it has {others}."
            )
            return said.format(factory=factory["id"], environment=repr(value), size=choice["size"], others=fitting)
        if field == "project":
            able = next(view["projects"] for view in factory["sizes"] if view["size"]["id"] == choice["size"])
            said = Message(
                "project-not-offered",
                "The project {project} cannot be charged for {size} at {factory}; there is {others}.",
            )
            return said.format(
                project=repr(value), size=choice["size"], factory=factory["id"], others=", ".join(able) or "none"
            )
        said = Message("hours-not-offered", "{hours} hours are not offered for {size}; the nearest are {nearest}.")
        return said.format(hours=f"{value:g}", size=choice["size"], nearest=f"{choice[field]:g}")
    return ""


def _find(ones: Factories, name: object) -> Mapping[str, Any] | None:
    return next((one for one in ones if one["id"] == name), None)


def _usual(factories: Factories, here: str | None) -> Mapping[str, Any] | None:
    able = [factory for factory in factories if factory["sizes"]]
    able.sort(key=lambda factory: factory["id"] != here)  # stable: the rest stays in the catalogue's order
    ready = [factory for factory in able if factory["health"]["state"] == "ok" and not factory.get("rules_open")]
    for state in ("ok", "starting"):
        ready += [factory for factory in able if factory["health"]["state"] == state]
    return next(iter([*ready, *able]), None)


def _list(ones: Factories) -> str:
    return ", ".join(one["id"] for one in ones) or "none"


def _fits(environment: Mapping[str, Any], size: str) -> bool:
    """An environment that names no sizes fits all."""
    return not environment["sizes"] or size in environment["sizes"]


# --- what a page is told ----------------------------------------------------------------------------------------------


def standing(factories: Factories) -> list[dict[str, Any]]:
    """What of the catalogue changes with the catalogue only."""
    fields = ("id", "name", "site", "accelerator", "environments", "default_environment", "default_size", "idle")
    return [
        {field: factory[field] for field in fields}
        | {"projects": factory.get("projects", ()), "sizes": [_standing_size(view) for view in factory["sizes"]]}
        for factory in factories
    ]


def _standing_size(view: Mapping[str, Any]) -> dict[str, Any]:
    told = {
        "size": view["size"],
        "gpu_label": language.here().said(language.label_of(view)),
        "projects": view.get("projects", ()),
    }
    return told | {"billed_gpus": view.get("billed_gpus", view["size"]["gpus"])}


def passing(factories: Factories, reached: str | None = None) -> dict[str, Any]:
    """What changes from minute to minute, by factory: small, since it is sent whole whenever anything of it changes.
    ``reached``: the only factory that the notebook's token acts at; None: at all of them."""
    needs_token = language.here().said(NEEDS_TOKEN)
    return {
        factory["id"]: {
            "health": _health(factory["health"]),
            "needs_token": "" if reached in (None, factory["id"]) else needs_token,
            "rules_open": _rules_open(factory.get("rules_open")),
            "partitions": [
                {field: load[field] for field in ("name", "gpus_total", "gpus_free", "pending")}
                for load in factory["partitions"]
            ],
            "sizes": {
                view["size"]["id"]: [view["fits_now"], (view["estimate"] or {}).get("start")]
                for view in factory["sizes"]
            },
        }
        for factory in factories
    }


def _rules_open(words: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Why nothing of theirs starts there, with what to do: a notebook has no way to the hub's pages but these words."""
    said = language.here().said
    return None if words is None else {"what": said(joined(received(words, "what"), received(words, "do")))}


def _health(health: Mapping[str, Any]) -> dict[str, Any]:
    """When it last answered is told only of a factory that no longer does: else it would change with every answer."""
    words, said = health.get("words"), language.here().said
    if words is not None:
        words = words | {name: said(received(words, name)) for name in ("what", "do") if words.get(name)}
    told = {"state": health["state"], "words": words}
    return told if health["state"] == "ok" else told | {"answered_at": health.get("answered_at")}
