"""``factorygate check``: check a gateway's whole configuration, and explain each mistake."""

from __future__ import annotations

import argparse
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from typing import Any

from factoryoperator import check_files, check_network, check_secrets, check_tls, check_workshops
from factoryoperator.findings import Finding
from factoryoperator.gateway import Gateway, add_files, read

Check = Callable[[Gateway], Iterator[Finding]]

LOCAL: tuple[tuple[str, Check], ...] = (
    ("hub.yaml", check_files.hub_file),
    ("link.yaml", check_files.link_file),
    ("the catalogue", check_files.catalogue),
    ("the projects", check_files.project_file),
    ("the ledger", check_files.ledger),
    ("the hub's secrets", check_secrets.hub_secrets),
    ("the link's secrets", check_secrets.link_secrets),
    ("the certificates of hub and link", check_tls.own),
    ("both sides", check_secrets.sides),
    ("ports", check_network.ports),
)
WORKSHOPS: tuple[tuple[str, Check], ...] = (
    ("workshops.yaml", check_workshops.workshops_file),
    ("the pools of workshops", check_workshops.pools),
)
NETWORK: tuple[tuple[str, Check], ...] = (
    ("names of hosts", check_network.names),
    ("certificates and clocks", check_network.certificates),
    ("hub, link and proxy on other hosts", check_tls.peers),
)


def add(parts: Any) -> None:
    """Add the command ``check`` to the subparsers ``parts``."""
    command: argparse.ArgumentParser = parts.add_parser(
        "check", help="read the configuration of hub and link, and say what cannot work"
    )
    add_files(command)
    command.add_argument("--offline", action="store_true", help="resolve no names, look at no certificate or clock")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Run the check; return 0 if there is no mistake, else 1."""
    gateway = read(options.hub, options.link)
    become_owner(gateway)
    mistakes = 0
    for side in (gateway.hub, gateway.link):
        if side.config is None and not side.problems:
            _say(f"note  {side.path}: is not there, so this machine's other half is looked at alone")
    checks = (*LOCAL, *(WORKSHOPS if gateway.has_workshops else ()), *(() if options.offline else NETWORK))
    for title, check in checks:
        found = list(dict.fromkeys(check(gateway)))
        mistakes += sum(one.mistake for one in found)
        for one in found:
            _say(str(one))
        if not any(one.mistake for one in found):
            _say(f"good  {title}")
    unread = [str(side.path) for side in (gateway.hub, gateway.link, gateway.workshops) if side.problems]
    if unread:
        _say(f"What {' and '.join(unread)} would say else was not looked at: mend this first, then check again.")
    _say(f"{mistakes} {'mistake' if mistakes == 1 else 'mistakes'}." if mistakes else "Nothing is wrong.")
    return 1 if mistakes else 0


def become_owner(gateway: Gateway) -> None:
    """Continue as the account that runs the link (the owner of ``state_dir``), if root runs this check.

    The check must see only the files that this account may read. Nothing changes if link.yaml or ``state_dir`` cannot
    be used, or if ``state_dir`` belongs to root or to an unknown account.
    """
    config = gateway.link.config
    if os.geteuid() != 0 or config is None or not config.state_dir.exists():
        return
    owner = config.state_dir.stat().st_uid
    if owner == 0:
        return
    try:
        account = pwd.getpwuid(owner)
    except KeyError:
        return
    os.initgroups(account.pw_name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(owner)
    _say(f"note  looking as {account.pw_name}, who owns {config.state_dir}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
