"""The models for the certainty and the source of each value in the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from factorycommon.models.base import Model, Slug

# Kinds of sources. operator: a page of the site or of the network's operator; user-report: notes of users, files of
# third parties, the press; known: general knowledge without a source; ours: a choice of this gateway.
Sure = Literal["operator", "user-report", "known", "ours"]
Address = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
# Paths of values: "node.cores", "sizes.gpu-1", "sizes.*.memory_gb". Items of a list are named by id or name, otherwise
# by number.
ValuePath = Annotated[str, StringConstraints(pattern=r"^[a-z_]+(\.[^\s.]+)*$")]


class Said(Model):
    """A statement about the origin of values.

    ``sure`` is the kind of origin. ``operator``: a public page of the site or of EuroHPC; ``user-report``: notes of
    users, other projects or the press; ``known``: general knowledge without a source; ``ours``: this gateway's own
    choice. ``of``: paths of the values; a path includes everything below it. ``by``: names in ``sources`` of the same
    catalogue entry.
    """

    sure: Sure
    by: tuple[Slug, ...] = ()
    of: tuple[ValuePath, ...] = Field(min_length=1)
    note: str = ""

    @model_validator(mode="after")
    def _an_operator_has_an_address(self) -> Said:
        if self.sure == "operator" and not self.by:
            raise ValueError(f"by: what an operator says has an address ({', '.join(self.of)})")
        return self


class Origin(Model):
    """The origin of one value.

    ``sure``: the kind of origin: ``operator``, ``user-report``, ``known`` or ``ours``. ``sources``: the addresses of
    the pages that state the value. ``derived``: True if we computed it as a share of a node, since no source states it.
    """

    sure: Sure
    sources: tuple[str, ...]
    derived: bool = False
    note: str = ""

    def __str__(self) -> str:
        words = [{"ours": "this gateway's choice"}.get(self.sure, self.sure.replace("-", " "))]
        words += ["derived"] if self.derived else []
        words += self.sources or (("no public address",) if self.sure == "user-report" else ())
        return ", ".join(words)


class Sourced(Model):
    """An entry of the catalogue that records the origins of its values.

    ``sources``: addresses of pages, by names; ``not_found``: paths of values that we searched for in vain.
    """

    sources: dict[Slug, Address] = Field(default_factory=dict)
    said: tuple[Said, ...] = ()
    not_found: tuple[str, ...] = ()  # paths of values that we searched for and found in no public page

    @model_validator(mode="after")
    def _sources_are_there(self) -> Sourced:
        for said in self.said:
            for name in said.by:
                if name not in self.sources:
                    raise ValueError(f"said: {name!r} is none of the sources {sorted(self.sources)}")
        return self

    def values(self) -> Iterator[str]:
        """Yield the path of each value of the entry that needs an origin.

        These are all values that the entry sets, except its id, state and kind, the ids and states of its parts, the
        statements about origins (``sources``, ``said``, ``not_found``, ``derived``), and the gateway's own choices
        (``agreement``, ``default_environment``, ``idle``).
        """
        return _leaves(self.model_dump(mode="json", exclude_unset=True), ())

    def origin(self, path: str) -> Origin | None:
        """Return the origin of a value, from the most specific statement about its path; None if there is none."""
        steps = path.split(".")
        fitting = [(_weight(of), said) for said in self.said for of in said.of if _covers(of.split("."), steps)]
        if not fitting:
            return None
        _, said = max(fitting, key=lambda pair: pair[0])
        sources = tuple(self.sources[name] for name in said.by)
        return Origin(sure=said.sure, sources=sources, derived=self._derived(steps), note=said.note)

    def unsourced(self) -> tuple[str, ...]:
        """Return the paths of all values without an origin."""
        return tuple(path for path in self.values() if self.origin(path) is None)

    def _derived(self, steps: Sequence[str]) -> bool:
        items: Sequence[Any] = getattr(self, steps[0], ()) if len(steps) == 3 else ()
        return any(steps[2] in getattr(item, "derived", ()) for item in items if getattr(item, "id", "") == steps[1])


# Fields that make no claim about a site: names of the entry, the provenance itself, and what this gateway offers.
_OWN = {
    "id",
    "state",
    "kind",
    "sources",
    "said",
    "not_found",
    "agreement",
    "default_environment",
    "idle",
}
_OF_ITEMS = {"id", "derived", "state"}


def _leaves(data: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    for key, value in data.items():
        if key in (_OF_ITEMS if above else _OWN):
            continue
        yield from _leaf(value, (*above, key))


def _leaf(value: object, at: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from _leaves(value, at)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            name = (item.get("id") or item.get("name")) if isinstance(item, Mapping) else None
            yield from _leaf(item, (*at, str(name or number)))
    elif value is not None:
        yield ".".join(at)


def _covers(pattern: Sequence[str], steps: Sequence[str]) -> bool:
    return len(pattern) <= len(steps) and all(
        want in ("*", step) for want, step in zip(pattern, steps[: len(pattern)], strict=True)
    )


def _weight(pattern: str) -> tuple[int, int]:
    steps = pattern.split(".")
    return len(steps), -steps.count("*")
