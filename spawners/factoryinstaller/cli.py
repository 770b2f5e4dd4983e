"""Runs the command ``factorygate-install``, which installs a gateway, builds a release, or removes a gateway."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from factoryinstaller import install, options, release_sources
from factoryinstaller.errors import InstallerError
from factoryinstaller.machine import Machine

_LOCK = "/run/factorygate-install.lock"
_EXAMPLE = """\
factorygate-install --domain gateway.example.org --email you@example.org --admin ada --login passwords

Run it again at any time: it does what is missing, and needs no options then. `release` only builds the release of the
sources that this command lies in, and prints its folder. `uninstall` removes the gateway and keeps its data; with
--purge it asks, and removes the data, too.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``factorygate-install``; return its exit code. If ``argv`` cannot be parsed, end the process with code 2.

    0: the command is done and, after an installation, the gateway works; 1: an option is wrong or missing, a step
    failed, the person at the terminal did not agree to the removal of data, or ``factorygate check`` found a mistake;
    130: interrupted. ``argv``: the arguments of the command; None: those of this process.
    """
    parser = argparse.ArgumentParser(
        prog="factorygate-install",
        description="Install a gateway on this machine: Debian 13 or Ubuntu 24.04, as root.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="?", default="install", choices=("install", "release", "uninstall"))
    parser.add_argument("--purge", action="store_true", help="with uninstall: remove data, keys and backups as well")
    parser.add_argument("--yes", action="store_true", help="with uninstall --purge: do not ask")
    options.add(parser)
    given = parser.parse_args(argv)
    os.environ.pop(
        "PYTHONPATH", None
    )  # it names this program's folder, from which pip and the release's programs must not import
    os.umask(0o022)  # files that root writes here must be readable for the accounts of the services
    machine = Machine()
    try:
        with _alone():
            return _run(machine, given)
    except InstallerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:  # a full disk, a file that cannot be written, a program that is missing
        sys.stderr.write(f"{parser.prog} stopped: {error}. Mend that, then run it again; what is done stays.\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. Run it again to complete it.\n")
        return 130


def _run(machine: Machine, given: argparse.Namespace) -> int:
    if given.what == "uninstall":
        return install.uninstall(machine, given.purge, given.yes)
    if given.what == "release":
        sys.stdout.write(f"{install.build(machine, release_sources.own())}\n")
        return 0
    return install.install(machine, options.chosen(vars(given), options.of_json(machine.options_text())))


@contextmanager
def _alone() -> Iterator[None]:
    """Hold a lock during the block, so that only one installer runs.

    Raises InstallerError if another one runs, or if this process does not run as root.
    """
    if os.geteuid() != 0:
        raise InstallerError("This needs root: run it with sudo.")
    with open(_LOCK, "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InstallerError("Another factorygate-install is at work on this machine.") from error
        yield
