"""The caller of a request to the workshops service."""

from __future__ import annotations

from dataclasses import dataclass

MOST_GROUPS = 100  # of a person, that the hub sends: they are in the address of each request


@dataclass(frozen=True)
class WorkshopCaller:
    """The person for whom a request is made.

    ``operator``: True if the person administers the hub, or if the request comes from the command ``factorygate
    workshops``; ``groups``: the person's groups at the hub.
    """

    person: str
    operator: bool = False
    groups: frozenset[str] = frozenset()
