"""``factorygate backup`` and ``factorygate restore``: save all stores of a gateway in one file, and put them back."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from factorycommon.service.yaml_file import CatalogueError
from factoryoperator import restore as restoring
from factoryoperator import stores
from factoryoperator.backup import make
from factoryoperator.gateway import WORKSHOPS, add_files, read
from factoryoperator.manifest import BackupError

_SHOWN = 10  # files that are named if many are in the way


def add(parts: Any) -> None:
    """Add the commands ``backup`` and ``restore`` to the subparsers ``parts``."""
    backup: argparse.ArgumentParser = parts.add_parser(
        "backup", help="write databases, keys, tokens and configuration into one file; the gateway may run"
    )
    add_files(backup)
    backup.add_argument("to", type=Path, help="the file to make, or a folder for a file named by the time")
    backup.set_defaults(run=_backup)
    restore: argparse.ArgumentParser = parts.add_parser(
        "restore", help="put a backup in place; hub, link and workshops service must not run"
    )
    restore.add_argument("backup", type=Path, help="the file that factorygate backup made")
    restore.add_argument("--under", type=Path, default=Path("/"), metavar="FOLDER",
                         help="restore below this folder in place of /, without databases on a server")  # fmt: skip
    restore.add_argument("--overwrite", action="store_true", help="replace what is there, without asking")
    restore.add_argument("--skip-read-only", action="store_true",
                         help="leave files on read-only file systems as they are, and name them")  # fmt: skip
    restore.add_argument("--list", action="store_true", help="only say what is in it")
    restore.set_defaults(run=_restore)
    for command in (backup, restore):
        command.add_argument("--except-databases", action="store_true",
                             help="leave out databases on a server, which you keep by its own tools")  # fmt: skip


def _backup(options: argparse.Namespace) -> int:
    gateway = read(options.hub, options.link)
    problems = [*gateway.hub.problems, *gateway.link.problems, *gateway.workshops.problems]
    if problems:
        raise CatalogueError(problems)
    try:
        found = stores.of(gateway, databases=not options.except_databases)
        target = options.to.absolute()
        if target.is_dir():
            target = target / f"factorygate-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
        hub = None if gateway.hub.config is None else gateway.hub.path
        link = None if gateway.link.config is None else gateway.link.path
        manifest = make(target, found, hub, link)
    except (BackupError, stores.NotOurs) as error:
        raise CatalogueError([str(error)]) from error
    if gateway.link.config is not None:
        _note(gateway.link.config.last_backup)
    databases = sum(kept.kind != "file" for kept in manifest.stores)
    _say(f"{target}: {databases} databases and {len(manifest.stores) - databases} files.")
    for side, file in ((hub, gateway.hub.path), (link, gateway.link.path)):
        if side is None:
            _say(f"Not in it: what belongs to {file}, which is not there.")
    _say("Whoever reads it can act as the gateway: keep it as private as the gateway itself.")
    return 0


def _note(path: Path) -> None:
    """Set the modification time of the file ``path`` to now; create an empty file if it is missing.

    The link's metrics show the file's modification time as the time of the last backup. Symbolic links are not
    followed, since the folder belongs to the link's account. An error is printed, not raised.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        try:
            os.utime(file)
        finally:
            os.close(file)
    except OSError as error:
        _say(f"Not noted for the metrics: {path}: {error.strerror}.")


def _restore(options: argparse.Namespace) -> int:
    under = options.under.resolve()
    try:
        with restoring.opened(options.backup) as found:
            manifest = found.manifest
            _say(f"{options.backup}: made {manifest.made:%Y-%m-%d %H:%M:%S} UTC by release {manifest.release}.")
            if options.list:
                for kept in manifest.stores:
                    _say(f"  {kept.path}  {kept.what}, {kept.size} bytes, {kept.mode:04o} {kept.owner}:{kept.group}")
                return 0
            planned = restoring.plan(
                found, under, databases=not options.except_databases, skip_read_only=options.skip_read_only
            )
            overwrite = options.overwrite or (bool(planned.other) and _asked(planned.other))
            restoring.restore(found, planned, under, overwrite)
    except BackupError as error:
        raise CatalogueError(
            [f"{error}. Nothing was changed." if "Only a part" not in str(error) else str(error)]
        ) from error
    _say(f"{len(planned.write)} restored, {len(planned.same)} were there as they are in the backup.")
    for kept, target in planned.read_only:
        _say(f"Not restored, since it is on a read-only file system: {target} ({kept.what}).")
    if planned.on_server:
        names = ", ".join(kept.what for kept in planned.on_server)
        _say(f"Not restored, since --under changes no database on a server: {names}.")
    workshops = any(kept.what == WORKSHOPS for kept in manifest.stores)
    services = "the link, the workshops service, the hub" if workshops else "the link, the hub"
    _say(f"Next: factorygate check, then start {services} and the proxy.")
    return 0


def _asked(other: tuple[Path, ...]) -> bool:
    """Return whether the person at the terminal agrees to overwrite the files ``other``; False without a terminal."""
    if not sys.stdin.isatty():
        return False
    names = [str(path) for path in other[:_SHOWN]]
    more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
    _say(f"Something else is there: {', '.join(names)}{more}.")
    sys.stdout.write("Replace it by the backup? Type yes: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip() == "yes"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
