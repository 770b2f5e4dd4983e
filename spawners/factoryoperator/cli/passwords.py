"""``factorygate passwords``: give people new passwords in hub.yaml's ``passwords_file``, remove or list people."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import sys
from pathlib import Path
from typing import Any

from factorycommon.models import is_guest, is_robot
from factorycommon.service.yaml_file import CatalogueError
from factoryoperator.gateway import add_files, read
from factoryspawner.config.hub_config import HubConfig
from factoryspawner.login.password_file import PasswordFileError, hash_password, read_passwords, write_lines

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")  # as of factorygate-install's --admin
_BYTES = 12  # random bytes of a new password


def add(parts: Any) -> None:
    """Add the command ``passwords`` to the subparsers ``parts``."""
    commands = parts.add_parser("passwords", help="people who log in with a password").add_subparsers(
        required=True, metavar="WHAT"
    )
    for name, run, description in (
        ("set", _set, "give each person a new password, and print it once"),
        ("remove", _remove, "remove people, who cannot log in any more"),
        ("list", _list, "all names"),
    ):
        command: argparse.ArgumentParser = commands.add_parser(name, help=description)
        add_files(command)
        if name != "list":
            command.add_argument("people", nargs="+", metavar="NAME", type=_name)
        command.set_defaults(run=run)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} must be of small letters, digits and ._-")
    return text


def _set(options: argparse.Namespace) -> int:
    config, file = _file(options)
    if guests := [name for name in options.people if is_guest(name)]:  # with them, the hub would not start again
        raise CatalogueError([f"{', '.join(guests)}: only guests of workshops have such names; give another one"])
    if robots := [name for name in options.people if is_robot(name)]:
        raise CatalogueError([f"{', '.join(robots)}: only robots of rehearsals have such names; give another one"])
    lines = _lines(file) if file.exists() else {}
    made = {name: secrets.token_urlsafe(_BYTES) for name in options.people}
    _write(config, file, lines | {name: hash_password(password) for name, password in made.items()})
    for name, password in made.items():
        sys.stdout.write(f"name {name}, password {password}\n")
    return 0


def _remove(options: argparse.Namespace) -> int:
    config, file = _file(options)
    lines = _lines(file)
    unknown = [name for name in options.people if name not in lines]
    if unknown:
        raise CatalogueError([f"{file}: has no {', '.join(unknown)}; nothing was removed"])
    _write(config, file, {name: line for name, line in lines.items() if name not in options.people})
    return 0


def _list(options: argparse.Namespace) -> int:
    _, file = _file(options)
    sys.stdout.write("".join(f"{name}\n" for name in sorted(_lines(file))))
    return 0


def _file(options: argparse.Namespace) -> tuple[HubConfig, Path]:
    """Return the hub's configuration, and the path of its file of passwords.

    Raises CatalogueError if hub.yaml is missing, cannot be used, or has no ``passwords_file``.
    """
    hub = read(options.hub, options.link).hub
    if hub.config is None:
        raise CatalogueError(hub.problems or [f"{hub.path} is not there: name it by --hub"])
    if hub.config.passwords_file is None:
        raise CatalogueError([f"{hub.path}: has no passwords_file, so nobody logs in with a password here"])
    return hub.config, hub.config.passwords_file


def _lines(file: Path) -> dict[str, str]:
    try:
        return read_passwords(file)
    except PasswordFileError as error:
        raise CatalogueError([str(error)]) from error


def _write(config: HubConfig, file: Path, lines: dict[str, str]) -> None:
    """Replace the content of the file of passwords by ``lines``, the hash of each name's password.

    If root runs this, the file keeps its owner; a new file belongs to the owner of the folder of
    ``cookie_secret_file``. Raises CatalogueError if the file cannot be written.
    """
    known = file if file.exists() else config.cookie_secret_file.parent
    owner = (known.stat().st_uid, known.stat().st_gid) if os.geteuid() == 0 and known.exists() else None
    try:
        write_lines(file, lines, owner)
    except OSError as error:
        raise CatalogueError([f"{file}: {error.strerror}"]) from error
