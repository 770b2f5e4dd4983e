"""EuroHPC's access modes for AI Factories: how much and how long they grant, to look at a project beside.

From https://www.eurohpc-ju.europa.eu/ai-factories/ai-factories-access-modes_en; the size of Playground grants is what
was seen, not a rule. A project that differs is no mistake, so all of this is only ever a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from factorylink.models import Mode, Project

_MONTH = timedelta(days=31)
_ID = re.compile(r"^EHPC-AIF-[0-9]{4}([A-Z]{2})", re.I)
_OF_ID: dict[str, Mode] = {"PG": "playground", "FL": "fast-lane", "SC": "large-scale"}


class Preset(NamedTuple):
    """What a mode grants: GPU-hours, ``above`` and ``most``, and months; None: the mode says nothing of it."""

    title: str
    above: float | None
    most: float | None
    months: int | None


PRESETS: dict[Mode, Preset] = {
    "playground": Preset("Playground", None, 5_000, 3),
    "fast-lane": Preset("Fast Lane", None, 50_000, 3),
    "large-scale": Preset("Large Scale", 50_000, None, 12),
    "science": Preset("AI for Science and Collaborative EU Projects", None, None, 6),
}


def warnings(project: Project) -> Iterator[str]:
    """What is unusual about a project, as KEY: WORDS."""
    if not project.members and not project.groups and not project.managers:
        yield "members: nobody is in it: 'members', 'managers' and 'groups' are empty"
    found = _ID.match(project.id)
    of_id = _OF_ID.get(found[1].upper()) if found else None
    if of_id is not None and of_id != project.mode:
        yield f"mode: {project.mode!r}, but such an id is one of {of_id!r}"
    preset = PRESETS.get(project.mode)
    if preset is None:
        return
    hours, title = project.gpu_hours, preset.title
    if hours is None and (preset.most or preset.above):
        yield f"gpu_hours: is missing, so nothing is counted; {title} grants {_granted(preset)}"
    elif hours is not None and not (preset.above or 0) <= hours <= (preset.most or hours):
        yield f"gpu_hours: {hours:g}; {title} grants {_granted(preset)}"
    if preset.months is not None and project.ends is None:
        yield f"ends: is missing; {title} lasts {preset.months} months at most"
    elif preset.months is not None and project.ends is not None and project.begins is not None:
        days = (project.ends - project.begins).days
        if days > preset.months * _MONTH.days:
            yield f"ends: {days} days after it begins; {title} lasts {preset.months} months at most"


def _granted(preset: Preset) -> str:
    return f"up to {preset.most:,.0f}" if preset.most is not None else f"more than {preset.above or 0:,.0f}"
