"""The configuration of a gateway: hub.yaml, link.yaml and workshops.yaml, each with its content or its mistakes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

from factorycommon.service.yaml_file import CatalogueError, Places
from factorylink.catalogue.loading import load_link_config
from factorylink.config import LinkConfig
from factoryspawner.config import hub_config
from factoryspawner.config.hub_config import HubConfig, HubConfigError
from workshops.config import WorkshopsConfig
from workshops.config import load as load_workshops_config

C = TypeVar("C")

_FOLDER = Path("/etc/factorygate")
_LINK_VARIABLE = "FACTORYGATE_LINK"
_WORKSHOPS_VARIABLE = "FACTORYGATE_WORKSHOPS"
WORKSHOPS = "workshops.yaml"


@dataclass(frozen=True)
class Side(Generic[C]):
    """One configuration file.

    ``config``: None if the file cannot be used (``problems`` say why), does not exist, or was not read, which happens
    to workshops.yaml only (see ``read``). ``at``: a function that gets the parts of a dotted key and returns the key's
    place, ``file:line: dotted.key``, or "" if ``config`` is None.
    """

    path: Path
    config: C | None
    problems: tuple[str, ...] = ()
    at: Callable[..., str] = lambda *_: ""  # returns the place of a key: ``file:line: dotted.key``


@dataclass(frozen=True)
class Gateway:
    """The configuration files of a gateway, of which a machine may have only some.

    ``workshops``: the file that ``FACTORYGATE_WORKSHOPS`` names; otherwise, if hub.yaml or link.yaml names a workshops
    service, the workshops.yaml beside that file.
    """

    hub: Side[HubConfig]
    link: Side[LinkConfig]
    workshops: Side[WorkshopsConfig] = field(default_factory=lambda: Side(Path(WORKSHOPS), None))

    @property
    def has_workshops(self) -> bool:
        """Return whether hub.yaml or link.yaml names a workshops service, or workshops.yaml was read."""
        hub, link, own = self.hub.config, self.link.config, self.workshops
        named = (hub is not None and hub.workshops, link is not None and link.workshops, own.config, own.problems)
        return any(named)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the options ``--hub`` and ``--link``, which name the two configuration files."""
    hub = os.environ.get(hub_config.VARIABLE)
    link = os.environ.get(_LINK_VARIABLE)
    for name, variable, default in (("hub", hub_config.VARIABLE, hub), ("link", _LINK_VARIABLE, link)):
        description = f"{name}.yaml; else of ${variable}, else {_FOLDER}/{name}.yaml if it is there"
        parser.add_argument(f"--{name}", type=Path, default=default, metavar="FILE", help=description)


def read(hub: Path | None, link: Path | None) -> Gateway:
    """Read hub.yaml, link.yaml and workshops.yaml.

    ``hub``, ``link``: the paths of hub.yaml and link.yaml; None: the usual path, where the file may be missing. The
    path of workshops.yaml is in ``FACTORYGATE_WORKSHOPS``. Without this variable: if hub.yaml or link.yaml names a
    workshops service, the workshops.yaml in the same folder is read, and may be missing.

    A file with mistakes raises nothing: the result has its ``problems``. A missing file counts as a mistake if its path
    was given by ``hub``, ``link`` or ``FACTORYGATE_WORKSHOPS``. Raises CatalogueError if no path was given, and neither
    hub.yaml nor link.yaml exists.
    """
    found = Gateway(
        _side(hub, _FOLDER / "hub.yaml", hub_config.load), _side(link, _FOLDER / "link.yaml", load_link_config)
    )
    found = replace(found, workshops=_of_workshops(found))
    if not any(side.config or side.problems for side in (found.hub, found.link, found.workshops)):
        raise CatalogueError(
            [f"Neither {found.hub.path} nor {found.link.path} is there: name them by --hub and --link"]
        )
    return found


def _of_workshops(gateway: Gateway) -> Side[WorkshopsConfig]:
    """Return workshops.yaml: the file that ``FACTORYGATE_WORKSHOPS`` names, else the one beside hub.yaml or link.yaml.

    The file beside them is read only if hub.yaml or link.yaml names a workshops service.
    """
    named = os.environ.get(_WORKSHOPS_VARIABLE)
    if named:
        return _side(Path(named), Path(named), load_workshops_config)
    sides = (gateway.hub, gateway.link)
    wanted = [side.path.with_name(WORKSHOPS) for side in sides if side.config is not None and side.config.workshops]
    usual = next((path for path in wanted if path.exists()), wanted[0] if wanted else _FOLDER / WORKSHOPS)
    return _side(None, usual, load_workshops_config) if wanted else Side(usual, None)


def _side(named: Path | None, usual: Path, load: Callable[[Path], C]) -> Side[C]:
    path = (named or usual).absolute()
    if named is None and not path.exists():
        return Side(path, None)
    try:
        config = load(path)
    except CatalogueError as error:
        return Side(path, None, error.problems)
    except HubConfigError as error:
        return Side(path, None, tuple(str(error).splitlines()))
    return Side(path, config, at=Places(path))
