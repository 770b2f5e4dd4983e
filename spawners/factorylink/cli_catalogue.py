"""The operator's commands about the catalogue: check, show, table, schema, and the letter to a factory."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from factorylink import federation, listing, onboarding
from factorylink.catalogue import load_link_config, offered
from factorylink.models import Antennas, Entry, Factory, Planned
from factorylink.yamlfile import CatalogueError

_VARIABLE = "FACTORYGATE_CATALOGUE"
_SCHEMAS: dict[str, TypeAdapter[Any]] = {"factory": TypeAdapter(Factory | Planned), "antennas": TypeAdapter(Antennas)}


def add(parts: Any) -> None:
    """The commands, to a parser's parts."""
    commands = parts.add_parser("catalogue", help="what the factories are").add_subparsers(required=True)
    check = commands.add_parser("check", help="say what is wrong, line by line")
    check.add_argument("folder", type=Path, nargs="?", default=_default(), help="folder of factory YAML files")
    check.add_argument("--link", type=Path, help="link.yaml, checked against it")
    check.set_defaults(run=_check)
    show = commands.add_parser("show", help="an entry, and where each value comes from")
    show.add_argument("id")
    show.set_defaults(run=_show)
    table = commands.add_parser("table", help="all factories and antennas, in Markdown")
    table.set_defaults(run=_table)
    schema = commands.add_parser("schema", help="JSON Schema of a file, for editors")
    schema.add_argument("of", nargs="?", choices=sorted(_SCHEMAS), default="factory")
    schema.set_defaults(run=_schema)
    letter = parts.add_parser("onboarding", help="what a factory must grant, as a letter to its operator")
    letter.add_argument("id")
    letter.set_defaults(run=_onboarding)
    for command in (show, table, letter):
        command.add_argument("--catalogue", dest="folder", type=Path, default=_default(), metavar="FOLDER",
                             help=f"folder of factory YAML files; else of ${_VARIABLE}")  # fmt: skip


def schema(of: str) -> str:
    """JSON Schema of ``factory`` files or of ``antennas``, as it stands in ``hub_config``."""
    told = _SCHEMAS[of].json_schema()
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps({"$schema": dialect, "title": f"factorygate: {of}", **told}, indent=1, ensure_ascii=False) + "\n"


def _default() -> Path:
    return Path(os.environ.get(_VARIABLE, "hub_config/factories"))


def _federation(folder: Path) -> federation.Federation:
    antennas = folder.absolute().parent / "antennas.yaml"
    return federation.load(folder, antennas if antennas.exists() else None)


def _check(options: argparse.Namespace) -> int:
    found = _federation(options.folder)
    problems = [
        line
        for name, entry in found.entries.items()
        for line in federation.unsourced(options.folder / f"{name}.yaml", entry)
    ]
    if found.antennas is not None:
        problems += federation.unsourced(options.folder.absolute().parent / "antennas.yaml", found.antennas)
    if problems:
        raise CatalogueError(problems)
    names = list(found.entries)
    if options.link is not None:
        names = list(offered(load_link_config(options.link), found.factories))
    sys.stdout.write(f"Nothing is wrong: {', '.join(names)}.\n")
    return 0


def _show(options: argparse.Namespace) -> int:
    sys.stdout.write(listing.show(_entry(options)))
    return 0


def _table(options: argparse.Namespace) -> int:
    sys.stdout.write(listing.table(_federation(options.folder)))
    return 0


def _schema(options: argparse.Namespace) -> int:
    sys.stdout.write(schema(options.of))
    return 0


def _onboarding(options: argparse.Namespace) -> int:
    entry = _entry(options)
    if not isinstance(entry, Factory):
        raise CatalogueError([f"{entry.id}: it has no machine yet, so there is nothing to grant"])
    sys.stdout.write(onboarding.letter(entry))
    return 0


def _entry(options: argparse.Namespace) -> Entry:
    entries = _federation(options.folder).entries
    if options.id not in entries:
        raise CatalogueError([f"{options.id}: no such factory; there are: {', '.join(entries)}"])
    return entries[options.id]
