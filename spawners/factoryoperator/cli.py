"""The command ``factorygate``: the link's commands, and those that read the hub's configuration, too."""

from __future__ import annotations

from collections.abc import Sequence

from factorylink.cli import main as cli
from factoryoperator import cli_backup, cli_certificates, cli_check


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code as of ``factorylink.cli.main``."""
    return cli.main(argv, (cli_check.add, cli_backup.add, cli_certificates.add))
