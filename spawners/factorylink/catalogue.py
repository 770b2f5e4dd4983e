"""The catalogue: what the factories are (``hub_config/factories``), joined with how this hub reaches them.

``load`` and ``load_link_config`` read files; everything that checks a person's choice is in ``choices``, whose names
are also here, since whoever needs the one mostly needs the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from factorylink.choices import (
    ChoiceError,
    bridge_argv,
    default_environment,
    find_environment,
    find_size,
    gpu_label,
    job_request,
    resolve,
    smallest_size,
)
from factorylink.config import Access, LinkConfig, SshTransport
from factorylink.models import Factory, Slug
from factorylink.yamlfile import CatalogueError, read_model

__all__ = [
    "CatalogueError",
    "ChoiceError",
    "apply",
    "bridge_argv",
    "default_environment",
    "find_environment",
    "find_size",
    "gpu_label",
    "job_request",
    "load",
    "load_link_config",
    "offered",
    "resolve",
    "smallest_size",
]


def load(folder: Path) -> dict[Slug, Factory]:
    """All factories of a folder, in order of their ids. Raises CatalogueError with every problem of every file."""
    factories: dict[Slug, Factory] = {}
    problems: list[str] = []
    if not folder.is_dir():
        raise CatalogueError([f"{folder}: no such folder; it should hold one YAML file a factory"])
    for path in sorted(folder.glob("*.yaml")):
        try:
            factory = read_model(path, Factory)
        except CatalogueError as error:
            problems.extend(error.problems)
            continue
        if factory.id != path.stem:
            problems.append(f"{path}:1: id: {factory.id!r} is not the file's name; allowed: {path.stem!r}")
        factories[factory.id] = factory
    if problems:
        raise CatalogueError(problems)
    if not factories:
        raise CatalogueError([f"{folder}: holds no factory (NAME.yaml)"])
    return factories


def load_link_config(path: Path) -> LinkConfig:
    """The link's configuration. Relative paths in it are relative to its own folder. Raises CatalogueError."""
    config = read_model(path, LinkConfig)
    base = path.resolve().parent
    return config.model_copy(
        update={
            "catalogue": base / config.catalogue,
            "state_dir": base / config.state_dir,
            "socket": base / config.socket,
            "hub": config.hub.model_copy(update={"token_file": base / config.hub.token_file}),
            "factories": {name: _rebased(access, base) for name, access in config.factories.items()},
        }
    )


def _rebased(access: Access, base: Path) -> Access:
    """With the files of its credentials named from ``base``."""
    if not isinstance(access.transport, SshTransport):
        return access
    told = access.transport.credentials
    paths = {name: base / value for name, value in told if isinstance(value, Path)}
    transport = access.transport.model_copy(update={"credentials": told.model_copy(update=paths)})
    return access.model_copy(update={"transport": transport})


def apply(factory: Factory, access: Access) -> Factory:
    """The factory with what this hub changes about it. Raises CatalogueError where the two do not fit together."""
    changed: dict[str, Any] = {}
    if access.environments is not None:
        changed["environments"] = [environment.model_dump() for environment in access.environments]
        if factory.default_environment not in {environment.id for environment in access.environments}:
            changed["default_environment"] = None
    if access.notebook_folder is not None:
        changed["notebook_folder"] = access.notebook_folder.model_dump()
    if access.idle is not None:
        changed["idle"] = access.idle.model_dump()
    if not changed:
        return factory
    try:
        return Factory.model_validate({**factory.model_dump(), **changed})
    except ValidationError as error:
        lines = [f"factories.{factory.id}: {detail['msg'].removeprefix('Value error, ')}" for detail in error.errors()]
        raise CatalogueError(lines) from error


def offered(config: LinkConfig, catalogue: Mapping[Slug, Factory]) -> dict[Slug, Factory]:
    """The factories that this hub offers, by id, overrides applied. Raises CatalogueError with every problem.

    A factory whose catalogue entry nobody has confirmed (``state`` is not ``live``) is offered on a testbed only.
    """
    problems: list[str] = []
    factories: dict[Slug, Factory] = {}
    for factory_id, access in sorted(config.factories.items()):
        factory = catalogue.get(factory_id)
        if factory is None:
            problems.append(f"factories.{factory_id}: not in {config.catalogue}; allowed: {', '.join(catalogue)}")
            continue
        if factory.state != "live" and not access.testbed:
            problems.append(
                f"factories.{factory_id}: its catalogue entry is a {factory.state!r}, confirmed by nobody; check "
                "it with the site, then write 'state: live' there (or 'testbed: true' here, if this is a testbed)"
            )
        if factory.account_mandatory and access.job_account is None and not access.testbed:
            problems.append(f"factories.{factory_id}.job_account: is missing; this site takes no job without one")
        try:
            factories[factory_id] = apply(factory, access)
        except CatalogueError as error:
            problems.extend(error.problems)
    if problems:
        raise CatalogueError(problems)
    return factories
