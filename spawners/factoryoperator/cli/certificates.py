"""``factorygate certificates``: make and renew the certificates of processes on separate hosts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from factorycommon.tls import HUB, LINK, PROXY, WORKSHOPS
from factoryoperator import certificates
from factoryoperator.certificates import CertificateProblem, TlsCertificate

DAYS = 90  # validity of a certificate
SOON = 30  # days before its end from which a certificate is renewed


def add(parts: Any) -> None:
    """Add the command ``certificates`` to the subparsers ``parts``."""
    words = parts.add_parser(
        "certificates", help="make and renew the certificates of hub, link, workshops service and proxy"
    )
    kinds = words.add_subparsers(required=True, metavar="WHAT")
    make = _part(kinds, "make", _make, "the files of one process, and the authority if there is none")
    make.add_argument("--name", required=True, help=f"of the process: {HUB}, {LINK}, {PROXY}, {WORKSHOPS}, …")
    make.add_argument("--dns", action="append", default=[], metavar="HOST", help="a name at which others dial it")
    make.add_argument("--ip", action="append", default=[], metavar="ADDRESS", help="an address of the same kind")
    make.add_argument("--days", type=int, default=DAYS, help=f"that it is good for; else {DAYS}")
    renew = _part(kinds, "renew", _renew, "those that end soon; a process reads its files again by itself")
    which = renew.add_mutually_exclusive_group()
    which.add_argument("--within", type=int, default=SOON, metavar="DAYS", help=f"before their end; else {SOON}")
    which.add_argument("--all", action="store_true", help="all of them")
    renew.add_argument("--days", type=int, default=DAYS, help=f"that they are good for; else {DAYS}")
    authority = _part(kinds, "authority", _authority, "a new authority, beside the one before")
    authority.add_argument("--drop-old", action="store_true", help="make none: believe the newest one only")


def _part(
    kinds: Any, name: str, run: Callable[[argparse.Namespace], None], description: str
) -> argparse.ArgumentParser:
    part: argparse.ArgumentParser = kinds.add_parser(name, help=description)
    part.add_argument("folder", type=Path, metavar="FOLDER", help="with ca.crt, ca.key and a folder for each process")
    part.set_defaults(run=lambda options: _in_words(run, options))
    return part


def _in_words(run: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    try:
        run(options)
    except CertificateProblem as error:
        sys.stderr.write(f"{error}\n")
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
    else:
        return 0
    return 1


def _make(options: argparse.Namespace) -> None:
    made = certificates.make(options.folder, options.name, [*options.dns, *options.ip], options.days)
    if made is None:
        sys.stdout.write(f"{options.folder / options.name} has all that it needs.\n")
    else:
        _say(made)


def _renew(options: argparse.Namespace) -> None:
    done = certificates.renew(options.folder, None if options.all else timedelta(days=options.within), options.days)
    for made in done:
        _say(made)
    if not certificates.paths(options.folder):
        sys.stdout.write(f"{options.folder} has no certificates.\n")
    elif not done:
        sys.stdout.write(f"None of {options.folder} ends within {options.within} days.\n")


def _authority(options: argparse.Namespace) -> None:
    if options.drop_old:
        certificates.drop_old(options.folder)
        sys.stdout.write("Only the newest authority is believed. Take each folder's ca.crt to its host.\n")
    else:
        certificates.new_authority(options.folder)
        sys.stdout.write(
            "A new authority signs from now on; both are believed. Take each folder's ca.crt to its host, then run "
            "certificates renew --all, take the certificates there, and run certificates authority --drop-old.\n"
        )


def _say(made: TlsCertificate) -> None:
    sys.stdout.write(
        f"{made.path.parent}: {made.name}, for {', '.join(made.hosts)}, until {made.ends:%Y-%m-%d %H:%M} UTC\n"
    )
