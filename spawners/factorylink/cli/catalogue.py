"""The operator's commands about the catalogue: check, show, table, schema, diff, and ``onboarding``.

``onboarding`` prints the letter that tells a factory's operator what the gateway needs there.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from factorycommon.models import Antennas, Factory, NetworkEntry, Planned
from factorycommon.service.yaml_file import CatalogueError
from factorylink.catalogue import catalogue as federation
from factorylink.catalogue import listing, onboarding, site_answers
from factorylink.catalogue.loading import load_link_config, offered

_VARIABLE = "FACTORYGATE_CATALOGUE"
_SCHEMAS: dict[str, TypeAdapter[Any]] = {"factory": TypeAdapter(Factory | Planned), "antennas": TypeAdapter(Antennas)}


def add(parts: Any) -> None:
    """Add the commands ``catalogue`` and ``onboarding`` to the subparsers ``parts``."""
    commands = parts.add_parser("catalogue", help="what the factories are").add_subparsers(required=True)
    check = commands.add_parser("check", help="say what is wrong, line by line")
    check.add_argument("folder", type=Path, nargs="?", default=_default(), help="folder of factory YAML files")
    check.add_argument("--link", type=Path, help="link.yaml, checked against it")
    check.add_argument("--site", metavar="ID", help="then ask the site's own Slurm about this entry, as diff does")
    check.set_defaults(run=_check)
    show = commands.add_parser("show", help="an entry, and where each value comes from")
    show.add_argument("id")
    show.set_defaults(run=_show)
    table = commands.add_parser("table", help="all factories and antennas, in Markdown")
    table.set_defaults(run=_table)
    schema = commands.add_parser("schema", help="JSON Schema of a file, for editors")
    schema.add_argument("of", nargs="?", choices=sorted(_SCHEMAS), default="factory")
    schema.set_defaults(run=_schema)
    diff = commands.add_parser("diff", help="an entry beside what the site's own Slurm says")
    diff.add_argument("id")
    diff.set_defaults(run=_diff)
    files = ", ".join(f"{name}.txt" for name in site_answers.QUESTIONS)
    for command in (check, diff):
        command.add_argument("--ssh", metavar="HOST", help="ask there; else the Slurm of this machine")
        command.add_argument("--answers", type=Path, metavar="FOLDER", help=f"ask nothing, read {files}")
    letter = parts.add_parser("onboarding", help="what a factory must grant, as a letter to its operator")
    letter.add_argument("id")
    letter.set_defaults(run=_onboarding)
    for command in (show, table, diff, letter):
        command.add_argument("--catalogue", dest="folder", type=Path, default=_default(), metavar="FOLDER",
                             help=f"folder of factory YAML files; else of ${_VARIABLE}")  # fmt: skip


def schema(of: str) -> str:
    """Return the JSON Schema of files of the kind ``of``: "factory" or "antennas".

    The text is formatted as the schemas in ``hub_config`` are.
    """
    dialect = "https://json-schema.org/draft/2020-12/schema"
    document = {"$schema": dialect, "title": f"factorygate: {of}", **_SCHEMAS[of].json_schema()}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _default() -> Path:
    return Path(os.environ.get(_VARIABLE, "hub_config/factories"))


def _federation(folder: Path) -> federation.Catalogue:
    return federation.load(folder, federation.antennas_beside(folder))


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
    return 0 if options.site is None else _compare(_known(found, options.site), options)


def _show(options: argparse.Namespace) -> int:
    sys.stdout.write(listing.show(_entry(options)))
    return 0


def _table(options: argparse.Namespace) -> int:
    sys.stdout.write(listing.table(_federation(options.folder)))
    return 0


def _schema(options: argparse.Namespace) -> int:
    sys.stdout.write(schema(options.of))
    return 0


def _diff(options: argparse.Namespace) -> int:
    return _compare(_entry(options), options)


def _compare(entry: NetworkEntry, options: argparse.Namespace) -> int:
    """Compare an entry with the site; print the differences, and return the exit code.

    0: no difference was found; 1: they differ, or the site answered nothing. Raises CatalogueError, for example if the
    site's scheduler is not Slurm.
    """
    if not isinstance(entry, Factory) or entry.scheduler != "slurm":
        raise CatalogueError([f"{entry.id}: there is no Slurm to compare it with"])
    answers, silent = _answers(options)
    try:
        lines = site_answers.differences(entry, answers)
    except ValueError as error:
        raise CatalogueError([f"{entry.id}: {error}"]) from error
    for what, why in silent.items():
        sys.stdout.write(f"Not compared: {what} ({why}).\n")
    if answers:
        sys.stdout.write("\n".join(lines) + "\n" if lines else f"{entry.id}: no difference was found.\n")
    return 1 if lines or not answers else 0


def _answers(options: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    """Return the site's answers by question, and for each question without an answer, the reason."""
    answers: dict[str, str] = {}
    silent: dict[str, str] = {}
    for what, argv in site_answers.QUESTIONS.items():
        try:
            if options.answers is not None:
                answers[what] = (options.answers / f"{what}.txt").read_text()
            else:
                words = argv if options.ssh is None else ("ssh", "--", options.ssh, shlex.join(argv))
                answers[what] = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
        except subprocess.CalledProcessError as error:
            silent[what] = error.stderr.strip() or str(error)
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
            silent[what] = str(error)
    return answers, silent


def _onboarding(options: argparse.Namespace) -> int:
    entry = _entry(options)
    if not isinstance(entry, Factory):
        raise CatalogueError([f"{entry.id}: it has no machine yet, so there is nothing to grant"])
    sys.stdout.write(onboarding.letter(entry))
    return 0


def _entry(options: argparse.Namespace) -> NetworkEntry:
    return _known(_federation(options.folder), options.id)


def _known(found: federation.Catalogue, name: str) -> NetworkEntry:
    if name not in found.entries:
        raise CatalogueError([f"{name}: no such factory; there are: {', '.join(found.entries)}"])
    return found.entries[name]
