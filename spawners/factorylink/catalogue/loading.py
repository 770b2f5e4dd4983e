"""Loads the catalogue (``hub_config/factories``) and the link's configuration, and joins the two.

``load`` and ``load_link_config`` read files. The functions that check a person's choice are in ``choices``; this module
exports most of them, too, since most callers need both modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from factorycommon.models import Factory, Slug
from factorycommon.service.yaml_file import CatalogueError, read_model
from factorylink.catalogue import catalogue as federation
from factorylink.catalogue.choices import (
    ChoiceError,
    bridge_argv,
    default_environment,
    find_environment,
    find_size,
    gpu_label,
    gpu_label_parts,
    job_request,
    resolve,
    shortened,
    smallest_size,
)
from factorylink.config import Access, LinkConfig

__all__ = [
    "CatalogueError",
    "ChoiceError",
    "apply",
    "bridge_argv",
    "default_environment",
    "find_environment",
    "find_size",
    "gpu_label",
    "gpu_label_parts",
    "job_request",
    "load",
    "load_link_config",
    "offered",
    "resolve",
    "shortened",
    "smallest_size",
]


def load(folder: Path) -> dict[Slug, Factory]:
    """Return the factories of a folder that have a machine, by id.

    Raises CatalogueError with all problems of all files.
    """
    return dict(federation.load(folder).factories)


def load_link_config(path: Path) -> LinkConfig:
    """Return the link's configuration. Raises CatalogueError. Relative paths are resolved from the file's folder."""
    config = read_model(path, LinkConfig)
    base = path.resolve().parent
    return config.model_copy(
        update={
            "catalogue": base / config.catalogue,
            "state_dir": base / config.state_dir,
            "key_dir": None if config.key_dir is None else base / config.key_dir,
            "socket": base / config.socket,
            "tls": None if config.tls is None else config.tls.rebased(base),
            "projects": None if config.projects is None else base / config.projects,
            "workshops": None if config.workshops is None else config.workshops.rebased(base),
            "hub": config.hub.model_copy(update={"token_file": base / config.hub.token_file}),
            "factories": {name: _rebased(access, base) for name, access in config.factories.items()},
        }
    )


def _rebased(access: Access, base: Path) -> Access:
    """Return this hub's settings for a factory with the relative paths of their transport resolved from ``base``."""
    return access.model_copy(update={"transport": access.transport.rebased(base)})


def apply(factory: Factory, access: Access) -> Factory:
    """Return the factory with the overrides in ``access`` applied. Raises CatalogueError if the result is not valid."""
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


def _without_templates(factory: Factory) -> Factory:
    """Return the factory without environments that are templates, that is, not installed yet.

    Raises CatalogueError if no environment is left.
    """
    made = tuple(environment for environment in factory.environments if environment.state == "live")
    if not made:
        named = ", ".join(environment.id for environment in factory.environments)
        raise CatalogueError([
            f"factories.{factory.id}.environments: is missing; those of its catalogue entry ({named or 'none'}) are "
            "templates: make one of them at the site and write its 'python' there, or name one here"
        ])  # fmt: skip
    if len(made) == len(factory.environments):
        return factory
    default = factory.default_environment
    kept = default if default in {environment.id for environment in made} else None
    return factory.model_copy(update={"environments": made, "default_environment": kept})


def offered(config: LinkConfig, catalogue: Mapping[Slug, Factory]) -> dict[Slug, Factory]:
    """Return the factories that ``link.yaml`` names, by id, with the overrides of ``link.yaml`` applied.

    Environments that are templates are left out. Raises CatalogueError with every problem: for example, if a factory
    is neither ``live`` nor part of a testbed, or if it is ``live`` without an agreement of the site's operator.
    """
    problems: list[str] = []
    factories: dict[Slug, Factory] = {}
    for factory_id, access in sorted(config.factories.items()):
        factory = catalogue.get(factory_id)
        if factory is None:
            problems.append(f"factories.{factory_id}: not in {config.catalogue}; allowed: {', '.join(catalogue)}")
            continue
        closed = [] if access.testbed else _closed(factory, access, config.projects is not None)
        problems += [f"factories.{factory_id}{words}" for words in closed]
        if not factory.sizes:
            lacks = "; ".join(f"{sketch.id} lacks {', '.join(sketch.lacks)}" for sketch in factory.sketches)
            problems.append(
                f"factories.{factory_id}: no node size of it is known well enough ({lacks or 'none found'})"
            )
        try:
            factories[factory_id] = _without_templates(apply(factory, access))
        except CatalogueError as error:
            problems.extend(error.problems)
    if problems:
        raise CatalogueError(problems)
    return factories


def _closed(factory: Factory, access: Access, projects: bool) -> list[str]:
    """Return the reasons why nothing may run at a real site; empty if there are none.

    Possible reasons: nobody has agreed, the site's rules do not allow something that the gateway does, a required
    account or QOS is missing, or a rate in ``link.yaml`` exceeds the site's rules. ``projects``: whether there are
    projects, which may supply account and QOS.
    """
    problems: list[str] = []
    if factory.state != "live":
        problems.append(
            f": its catalogue entry is a {factory.state!r}, confirmed by nobody; check it with the site, then write "
            "'state: live' and 'agreement' there (or 'testbed: true' here, if this is a testbed)"
        )
    elif factory.agreement is None:
        problems.append(": it is 'live' without an 'agreement' (who, when, contact) of the site's operator")
    else:
        open_acts = set(factory.policy.open_questions()) - set(factory.agreement.allows)
        problems += [
            f": policy.{act} is {getattr(factory.policy, act)!r}, and 'agreement.allows' does not name it"
            for act in sorted(open_acts)
        ]
    if factory.account_mandatory and access.job_account is None and not projects:
        problems.append(".job_account: is missing; this site takes no job without one")
    if (
        factory.qos_mandatory
        and not projects
        and access.job_qos is None
        and any(size.qos is None for size in factory.sizes)
    ):
        problems.append(".job_qos: is missing; this site takes no job without one")
    return [*problems, *_faster(factory, access)]


def _faster(factory: Factory, access: Access) -> list[str]:
    """Return a line for each rate in ``link.yaml`` that exceeds the site's rules."""
    policy = factory.policy
    rates: list[tuple[str, int, int | None]] = [
        ("submits_per_minute", access.submits_per_minute, policy.submits_per_minute)
    ]
    rates += [(f"transport.{name}", ours, getattr(policy, name)) for name, ours in access.transport.rates().items()]
    return [
        f".{name}: {ours} is more than the site's rules allow, {most}"
        for name, ours, most in rates
        if most is not None and ours > most
    ]
