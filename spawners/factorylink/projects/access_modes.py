"""EuroHPC's access modes for AI Factories: the amount and the duration of their grants.

The modes are presets: a value that a project leaves out is filled in by its mode (``filled``); a value that the project
sets overrides the mode's. Source: https://www.eurohpc-ju.europa.eu/ai-factories/ai-factories-access-modes_en; the size
of Playground grants was observed and is no official rule. A project that differs from its mode gives a warning only.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from factorycommon.models import Mode, Project

_MONTH = timedelta(days=31)
_ID = re.compile(r"^EHPC-AIF-[0-9]{4}([A-Z]{2})", re.I)
_OF_ID: dict[str, Mode] = {"PG": "playground", "FL": "fast-lane", "SC": "large-scale"}


class AccessModePreset(NamedTuple):
    """The size and the duration of a mode's grants.

    A grant has more than ``above`` and at most ``most`` GPU-hours, and lasts ``months``. None: the mode does not say.
    """

    title: str
    above: float | None
    most: float | None
    months: int | None


PRESETS: dict[Mode, AccessModePreset] = {
    "playground": AccessModePreset("Playground", None, 5_000, 3),
    "fast-lane": AccessModePreset("Fast Lane", None, 50_000, 3),
    "large-scale": AccessModePreset("Large Scale", 50_000, None, 12),
    "science": AccessModePreset("AI for Science and Collaborative EU Projects", None, None, 6),
}


def presets(project: Project) -> dict[str, float | datetime]:
    """Return the values that a project's mode gives for keys that the project leaves out: ``ends`` and ``gpu_hours``.

    A key that the project sets to ``null`` is not left out. A project without ``begins`` gets no values, because the
    months of its mode would have no first day.
    """
    preset, found = PRESETS.get(project.mode), dict[str, float | datetime]()
    if preset is None or project.begins is None:
        return found
    if preset.months is not None and "ends" not in project.model_fields_set:
        found["ends"] = _later(project.begins, preset.months)
    if preset.most is not None and "gpu_hours" not in project.model_fields_set:
        found["gpu_hours"] = preset.most
    return found


def filled(project: Project) -> Project:
    """Return the project, with the values that it leaves out filled in from its access mode."""
    return project.model_copy(update=presets(project))


def origins(project: Project) -> Iterator[str]:
    """Yield a text like ``gpu_hours: 5000, of the mode Playground`` for each value that the project's mode fills in."""
    for key, value in presets(project).items():
        shown = f"{value:%Y-%m-%d %H:%M %Z}" if isinstance(value, datetime) else f"{value:g}"
        yield f"{key}: {shown}, of the mode {PRESETS[project.mode].title}"


def warnings(project: Project) -> Iterator[str]:
    """Yield a text ``KEY: WORDS`` for each value of a project that is probably a mistake.

    Such mistakes are: nobody is in the project; its id has the form of another mode's ids; its GPU-hours or its end do
    not agree with its mode, or are missing although the mode limits them. Call this with the result of ``filled``.
    """
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
        yield f"gpu_hours: is missing, so nothing is counted; {title} grants {_granted(preset)}{_needs(project)}"
    elif hours is not None and not _in_range(hours, preset):
        yield f"gpu_hours: {hours:g}; {title} grants {_granted(preset)}"
    if preset.months is not None and project.ends is None:
        yield f"ends: is missing; {title} lasts {preset.months} months at most{_needs(project)}"
    elif preset.months is not None and project.ends is not None and project.begins is not None:
        days = (project.ends - project.begins).days
        if days > preset.months * _MONTH.days:
            yield f"ends: {days} days after it begins; {title} lasts {preset.months} months at most"


def _needs(project: Project) -> str:
    return " (the mode fills in nothing without 'begins')" if project.begins is None else ""


def _later(moment: datetime, months: int) -> datetime:
    """Return the same day ``months`` months later; the last day of that month if the month is too short."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def _in_range(hours: float, preset: AccessModePreset) -> bool:
    return (preset.above is None or hours > preset.above) and (preset.most is None or hours <= preset.most)


def _granted(preset: AccessModePreset) -> str:
    return f"up to {preset.most:,.0f}" if preset.most is not None else f"more than {preset.above or 0:,.0f}"
