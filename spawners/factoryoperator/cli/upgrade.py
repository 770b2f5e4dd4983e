"""``factorygate upgrade``: go to another release or back; ``factorygate stores``: check or migrate the databases."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from factorycommon.service.yaml_file import CatalogueError
from factoryinstaller.errors import ReleaseError
from factoryinstaller.releases import Layout, Release
from factoryoperator.gateway import Gateway, add_files, read
from factoryoperator.units import Systemd

STORES = ("hub", "people", "ledger", "workshops")
ROOT, BACKUPS = Path("/opt/factorygate"), Path("/var/backups/factorygate")


def add(parts: Any) -> None:
    """Add the commands ``upgrade`` and ``stores`` to the subparsers ``parts``."""
    upgrade: argparse.ArgumentParser = parts.add_parser(
        "upgrade", help="install another release, take the gateway to it, and back if it does not work"
    )
    add_files(upgrade)
    what = upgrade.add_mutually_exclusive_group(required=True)
    what.add_argument("archive", type=Path, nargs="?", help="factorygate-VERSION.tar.gz")
    what.add_argument("--to", metavar="VERSION", help="a release that is installed already")
    what.add_argument("--back", action="store_true", help="take the last upgrade back")
    upgrade.add_argument("--yes", action="store_true", help="answer yes to each question")
    upgrade.add_argument("--root", type=Path, default=ROOT, metavar="FOLDER", help=f"with all releases; else {ROOT}")
    upgrade.add_argument("--backups", type=Path, default=BACKUPS, metavar="FOLDER",
                         help=f"for the backup that is made first; else {BACKUPS}")  # fmt: skip
    upgrade.set_defaults(run=_upgrade)
    schemas = parts.add_parser("stores", help="the tables of the hub's database, the ledger and the names")
    which = schemas.add_subparsers(required=True, metavar="WHAT")
    for name, run, description in (
        ("check", _check, "whether they are as this release needs them; changes nothing"),
        ("upgrade", _migrate, "bring them to what this release needs; hub and link must not run"),
    ):
        part = which.add_parser(name, help=description)
        add_files(part)
        part.set_defaults(run=run)
        part.add_argument("--only", choices=STORES, action="append", help="this one; again for more")


def _upgrade(options: argparse.Namespace) -> int:
    from factoryoperator.upgrade import Upgrade, UpgradeError  # imports JupyterHub, which other commands do not need

    layout = Layout(options.root.absolute())
    try:
        if options.archive is not None:
            _with_program_of(options, layout.install(options.archive.absolute(), _say))
        if options.to is not None and not _is_program_of(layout.installed_release(options.to)):
            _with_program_of(options, layout.installed_release(options.to))
        work = Upgrade(
            layout=layout,
            units=Systemd(),
            hub=options.hub,
            link=options.link,
            backups=options.backups.absolute(),
            say=_say,
            confirm=lambda question: _confirmed(question, options.yes),
        )
        if options.back:
            work.back()
            return 0
        work.to(layout.installed_release(options.to))
    except (UpgradeError, ReleaseError) as error:
        raise CatalogueError([f"{error}."]) from error
    return 0


def _is_program_of(release: Release) -> bool:
    """Return whether this process runs in the virtual environment of ``release``."""
    return Path(sys.prefix).resolve() == release.python.parents[1].resolve()


def _with_program_of(options: argparse.Namespace, release: Release) -> NoReturn:
    """Replace this process by the program of ``release``, because only that program knows which tables it needs.

    Raises ReleaseError if the program cannot be run.
    """
    argv = [str(release.python), "-m", "factoryoperator", "upgrade", "--to", release.version, "--root",
            str(options.root), "--backups", str(options.backups)]  # fmt: skip
    for option, value in (("--hub", options.hub), ("--link", options.link)):
        argv += [option, str(value)] if value is not None else []
    if options.yes:
        argv.append("--yes")
    sys.stdout.flush()
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        raise ReleaseError(f"The program of release {release.version} cannot be run: {error}") from error


def _confirmed(question: str, yes: bool) -> bool:
    """Return whether the person at the terminal says yes; False if there is no terminal.

    ``yes``: return True without asking.
    """
    _say(question)
    if yes:
        return True
    if not sys.stdin.isatty():
        _say("Nobody is here to answer: give --yes.")
        return False
    sys.stdout.write("Type yes: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip() == "yes"


def _check(options: argparse.Namespace) -> int:
    from factoryoperator import store_schemas

    try:
        found = store_schemas.of(_gateway(options), options.only)
    except store_schemas.SchemaError as error:
        raise CatalogueError([str(error)]) from error
    for store in found:
        _say(str(store))
    return 1 if any(store.is_old for store in found) else 0


def _migrate(options: argparse.Namespace) -> int:
    from factoryoperator import store_schemas

    try:
        done = store_schemas.upgrade(_gateway(options), options.only)
    except store_schemas.SchemaError as error:
        raise CatalogueError([str(error)]) from error
    for store in done:
        _say(f"{store.what}: brought from step {store.step} to {store.needs}")
    if not done:
        _say("All stores are as this release needs them.")
    return 0


def _gateway(options: argparse.Namespace) -> Gateway:
    gateway = read(options.hub, options.link)
    problems = [*gateway.hub.problems, *gateway.link.problems, *gateway.workshops.problems]
    if problems:
        raise CatalogueError(problems)
    return gateway


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
