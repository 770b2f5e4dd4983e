"""The catalogue of the whole network: factories with a machine, planned factories, and antennas.

The module also explains why nothing can be started at a factory. ``Factory`` entries can be offered
(``loading.offered`` says which are); all other entries are only listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factorycommon.messages import Message
from factorycommon.models import Antennas, ComingView, Factory, NetworkEntry, Planned, Slug, Sourced
from factorycommon.service.yaml_file import CatalogueError, read_chosen, read_model


@dataclass(frozen=True)
class Catalogue:
    """All factories by id, and the antennas.

    ``factories``: those with a machine; ``planned``: those without. ``antennas``: None if there is no file of antennas.
    """

    factories: Mapping[Slug, Factory] = field(default_factory=dict)
    planned: Mapping[Slug, Planned] = field(default_factory=dict)
    antennas: Antennas | None = None

    @property
    def entries(self) -> dict[Slug, NetworkEntry]:
        """Return all factories, with a machine or without, in order of their ids."""
        return dict(sorted({**self.factories, **self.planned}.items()))

    def coming(self) -> list[ComingView]:
        """Return the factories without a machine, which the start page names beside the offered factories."""
        return [
            ComingView(id=entry.id, name=entry.name, site=entry.site, coming=entry.coming)
            for _, entry in sorted(self.planned.items())
        ]

    def refusal(self, factory_id: str) -> str | None:
        """Return why nothing can be started at a factory; None if the catalogue has no factory with this id.

        Call this only for a factory that this hub does not offer.
        """
        if factory_id in self.planned:
            said = Message("no-machine-yet", "{factory} has no machine yet, so nothing can be started there.")
            return said.format(factory=self.planned[factory_id].name)
        if factory_id in self.factories:
            said = Message(
                "no-agreement",
                "This gateway does not offer {factory} yet: its operator has no agreement with this gateway's.",
            )
            return said.format(factory=self.factories[factory_id].name)
        return None


def load(folder: Path, antennas: Path | None = None) -> Catalogue:
    """Read all entries of a folder, and the antennas' file. Raises CatalogueError with every problem of every file.

    ``antennas``: the antennas' file; None: there is none. Whether the antennas name known factories is checked only if
    there is no other problem.
    """
    factories: dict[Slug, Factory] = {}
    planned: dict[Slug, Planned] = {}
    problems: list[str] = []
    if not folder.is_dir():
        raise CatalogueError([f"{folder}: no such folder; it should hold one YAML file a factory"])
    for path in sorted(folder.glob("*.yaml")):
        try:
            entry = read_chosen(path, _model)
        except CatalogueError as error:
            problems.extend(error.problems)
            continue
        if entry.id != path.stem:
            problems.append(f"{path}:1: id: {entry.id!r} is not the file's name; allowed: {path.stem!r}")
        if isinstance(entry, Planned):
            planned[entry.id] = entry
        elif isinstance(entry, Factory):
            factories[entry.id] = entry
    found = None
    if antennas is not None:
        try:
            found = read_model(antennas, Antennas)
        except CatalogueError as error:
            problems.extend(error.problems)
        else:
            problems += [] if problems else _unlinked(antennas, found, {*factories, *planned})
    if problems:
        raise CatalogueError(problems)
    if not factories:
        raise CatalogueError([f"{folder}: holds no factory (NAME.yaml)"])
    return Catalogue(factories, planned, found)


def antennas_beside(folder: Path) -> Path | None:
    """Return the path of ``antennas.yaml`` beside a folder of factories; None if there is no such file."""
    path = folder.absolute().parent / "antennas.yaml"
    return path if path.is_file() else None


def unsourced(path: Path, entry: Sourced) -> list[str]:
    """Return a line of text for each value whose origin ``entry`` does not state in ``said``.

    Return no line for a ``live`` factory, because its site has confirmed the values. ``path``: the entry's file; each
    line begins with this path.
    """
    if isinstance(entry, Factory) and entry.state == "live":
        return []
    return [f"{path}: {value}: 'said' does not tell where it comes from" for value in entry.unsourced()]


def _model(data: dict[str, Any]) -> type[NetworkEntry]:
    return Planned if data.get("state") == "planned" else Factory


def _unlinked(path: Path, antennas: Antennas, known: set[str]) -> list[str]:
    return [
        f"{path}: antennas.{antenna.id}.factories: {name!r} is none of {', '.join(sorted(known))}"
        for antenna in antennas.antennas
        for name in antenna.factories
        if name not in known
    ]
