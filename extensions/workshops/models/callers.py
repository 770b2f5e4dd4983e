"""Who makes a request."""

from __future__ import annotations

from dataclasses import dataclass

MOST_GROUPS = 100  # of a person, that the hub sends: they are in the address of each request


@dataclass(frozen=True)
class WorkshopCaller:
    """Who makes a request. ``operator``: an administrator of the hub; ``groups``: the caller's groups at the hub."""

    person: str
    operator: bool = False
    groups: frozenset[str] = frozenset()
