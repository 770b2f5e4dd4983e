"""The command ``factorygate``: all commands of the link, those of workshops, and those that also read the hub's
configuration."""

from __future__ import annotations

from collections.abc import Sequence

from factorylink.cli import main as cli
from factoryoperator.cli import backup, certificates, check, passwords, upgrade, workshops


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code, as ``factorylink.cli.main`` does."""
    more = (check, backup, certificates, passwords, upgrade, workshops)
    return cli.main(argv, [part.add for part in more])
