"""The operator's commands about projects: check the file, list its projects."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from factorycommon.models import Factory, Project, Slug
from factorycommon.service.yaml_file import CatalogueError
from factorylink.catalogue import loading
from factorylink.config import LinkConfig
from factorylink.projects import access_modes, book

_VARIABLE = "FACTORYGATE_CATALOGUE"


def add(parts: Any) -> None:
    """Add the command ``projects``, with ``check`` and ``list``, to the subparsers ``parts``."""
    commands = parts.add_parser("projects", help="who may run where").add_subparsers(required=True)
    check = commands.add_parser("check", help="say what is wrong, line by line, what is unusual, and what "
                                                 "an access mode filled in")  # fmt: skip
    check.set_defaults(run=_check)
    listing = commands.add_parser("list", help="all projects, with their end and where they may run")
    listing.set_defaults(run=_list)
    for command in (check, listing):
        command.add_argument("file", type=Path, nargs="?", help="projects.yaml; else the one that link.yaml names")
        command.add_argument("--link", type=Path, help="link.yaml")
        command.add_argument("--catalogue", dest="folder", type=Path, metavar="FOLDER",
                             help=f"folder of factory YAML files; else link.yaml's, else of ${_VARIABLE}")  # fmt: skip


def _read(options: argparse.Namespace) -> tuple[Sequence[Project], LinkConfig | None, Mapping[Slug, Factory]]:
    """Return the projects of the file, the link's configuration (None if there is none), and the factories.

    Raises CatalogueError.
    """
    config = None if options.link is None else loading.load_link_config(options.link)
    path = options.file or (config.projects if config is not None else None)
    if path is None:
        raise CatalogueError(["Name the file, or a link.yaml with 'projects': --link"])
    default = Path(os.environ.get(_VARIABLE, "hub_config/factories"))
    folder = options.folder or (config.catalogue if config is not None else default)
    factories = loading.load(folder)
    return book.read(path, factories, None if config is None else config.factories), config, factories


def _check(options: argparse.Namespace) -> int:
    found, config, factories = _read(options)
    for project in found:
        for words in access_modes.origins(project):
            sys.stdout.write(f"Filled in: projects.{project.id}.{words}.\n")
        for words in (*access_modes.warnings(access_modes.filled(project)), *_unreachable(project, config, factories)):
            sys.stdout.write(f"Unusual: projects.{project.id}.{words}.\n")
    sys.stdout.write(f"Nothing is wrong: {', '.join(project.id for project in found) or 'no project'}.\n")
    return 0


def _unreachable(project: Project, config: LinkConfig | None, factories: Mapping[Slug, Factory]) -> Iterator[str]:
    """Yield a line for each of a project's factories that the gateway does not offer, or that lacks a required account.

    Some sites require that each job names an account, which is in the project or in ``link.yaml``. Nothing is yielded
    if ``config`` is None.
    """
    for name, at in project.factories.items() if config is not None else ():
        access = config.factories.get(name) if config is not None else None
        if access is None:
            offered = ", ".join(config.factories) if config is not None else ""
            yield f"factories.{name}: this gateway does not offer it; it offers: {offered}"
        elif factories[name].account_mandatory and not (at.account or access.job_account):
            yield f"factories.{name}.account: is missing here and in link.yaml; this site takes no job without one"


def _list(options: argparse.Namespace) -> int:
    rows = [("PROJECT", "MODE", "BEGINS", "ENDS", "GPU-HOURS", "PEOPLE", "GROUPS", "FACTORIES")]
    rows += [_row(access_modes.filled(project)) for project in _read(options)[0]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        sys.stdout.write("  ".join(map(str.ljust, row, widths)).rstrip() + "\n")
    return 0


def _row(project: Project) -> tuple[str, str, str, str, str, str, str, str]:
    begins, ends = ("-" if moment is None else f"{moment:%Y-%m-%d}" for moment in (project.begins, project.ends))
    hours = "-" if project.gpu_hours is None else f"{project.gpu_hours:g}"
    people = len({*project.members, *project.managers})
    return (project.id, project.mode, begins, ends, hours, str(people), str(len(project.groups)),
            ", ".join(project.factories))  # fmt: skip
