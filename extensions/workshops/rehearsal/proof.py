"""Computes digests of a rehearsal's settings, finds settings that have changed since, and signs the result. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from factorycommon.messages import Message
from factorycommon.models.messages import Phrase
from factorycommon.models.workshops.rehearsal import RehearsalPlace
from workshops.models.rehearsal import RehearsalKind, RehearsalPart, RehearsalResult
from workshops.store.schema import PlaceRecord, WorkshopRecord

Parts = Mapping[RehearsalPart, str]

_CHANGED: dict[RehearsalPart, Message] = {
    "plan": Message("rehearsal-void-plan", "The plan of this place has changed since."),
    "environment": Message("rehearsal-void-environment", "The environment there has changed since."),
    "catalogue": Message("rehearsal-void-catalogue", "The node size there has changed in the catalogue since."),
    "agreement": Message("rehearsal-void-agreement", "What was agreed with the site has changed since."),
    "material": Message("rehearsal-void-material", "The material has changed since."),
}
_UNSIGNED = Message("rehearsal-void-signature", "Its signature is not one of this gateway, so it does not count.")


def parts(
    kind: RehearsalKind, workshop: WorkshopRecord, place: PlaceRecord, here: RehearsalPlace | None
) -> dict[RehearsalPart, str]:
    """Return a digest of each part of the settings on which a rehearsal of this kind depends.

    ``here``: what the link reports of the place; None: the link reports nothing about it, so the parts that only the
    link knows are left out.
    """
    material = workshop.material
    plan = [place.factory, place.size, place.environment, place.pool]
    if kind == "wave":
        plan += [str(workshop.seats), str(workshop.warm_minutes)]
    if kind == "dry":  # three seats say nothing about the number of seats, the times and the budget
        times = [workshop.opens, workshop.starts, workshop.ends, workshop.closes]
        plan += [place.reservation, *(str(at.timestamp()) for at in times)]
        plan += [str(one) for one in (workshop.seats, workshop.hours, workshop.gpu_hours, workshop.person_gpu_hours)]
    found: dict[RehearsalPart, str] = {
        "plan": _digest(plan),
        "material": _digest(None if material is None else [material.repository, material.commit]),
    }
    if here is not None:
        environment = here.environment(place.environment)
        found["environment"] = _digest(None if environment is None else [environment.id, environment.digest])
        found["catalogue"] = _digest(None if here.size is None else [here.size.id, here.size.digest])
        found["agreement"] = _digest(here.agreement)
    return found


def changed(before: Parts, now: Parts) -> tuple[Phrase, ...]:
    """Return which parts of the settings have changed, in words for people.

    ``before``, ``now``: results of ``parts``. Parts that ``now`` lacks, because the link reported nothing about the
    place, are not compared.
    """
    return tuple(
        Phrase(text=words) for part, words in _CHANGED.items() if part in now and now[part] != before.get(part)
    )


def sign(secret: bytes, result: RehearsalResult) -> str:
    """Return the signature of a result: 64 hexadecimal digits."""
    content = json.dumps(result.model_dump(mode="json", exclude_defaults=True), sort_keys=True).encode()
    return hmac.new(secret, b"rehearsal of a workshop\0" + content, hashlib.sha256).hexdigest()


def unsigned(secret: bytes, result: RehearsalResult, signature: str | None) -> tuple[Phrase, ...]:
    """Return the reason why a result with a missing or wrong signature does not count; () if the signature is right."""
    good = signature is not None and hmac.compare_digest(signature, sign(secret, result))
    return () if good else (Phrase(text=_UNSIGNED),)


def foreign() -> tuple[Phrase, ...]:
    """Return why a result that was signed for another workshop, place or kind of rehearsal does not count."""
    return (Phrase(text=_UNSIGNED),)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
