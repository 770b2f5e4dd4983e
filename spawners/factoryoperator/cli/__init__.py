"""The command ``factorygate``: all commands of the link, and those that also concern the hub or workshops."""

from __future__ import annotations

from collections.abc import Sequence

from factorylink.cli import main as cli
from factoryoperator.cli import backup, certificates, check, passwords, upgrade, workshops


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with the arguments ``argv`` (None: those of this process); return its exit code.

    0: done; 1: the command failed, or found a problem; 2: neither an option nor an environment variable says where the
    link, or the workshops service, is; 130: interrupted. Raises SystemExit with code 2 for a wrong command line.
    """
    more = (check, backup, certificates, passwords, upgrade, workshops)
    return cli.main(argv, [part.add for part in more])
