"""Checks the system, the machine, the domain's name and the ports, before the installer changes anything."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from factoryinstaller.errors import InstallerError

SYSTEMS = {("debian", "13"): "Debian 13", ("ubuntu", "24.04"): "Ubuntu 24.04"}
# By port, the service of this gateway that may use it already.
PORTS = {
    80: "caddy.service",
    443: "caddy.service",
    8000: "factorygate-proxy.service",
    8001: "factorygate-proxy.service",
    8002: "factorygate-proxy.service",
    8081: "factorygate-hub.service",
    8090: "factorygate-link.service",
    8092: "factorygate-workshops.service",
    9099: "factorygate-link.service",
}
_TCP_LISTEN = "0A"
_NEEDED_GB = 3  # disk space for a release and its downloads


def system(os_release: str) -> str:
    """Return the system's name from the text of /etc/os-release. Raises InstallerError for an unsupported system."""
    values = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    found = (values.get("ID", "").strip('"'), values.get("VERSION_ID", "").strip('"'))
    if found not in SYSTEMS:
        known = " and ".join(SYSTEMS.values())
        name = values.get("PRETTY_NAME", "").strip('"') or "a system without a name"
        raise InstallerError(
            f"This is {name}; factorygate-install is made for {known}. On others: docs/operators.md, by hand."
        )
    return SYSTEMS[found]


def machine(folder: Path) -> None:
    """Raise InstallerError if the installer cannot run as this user or on this machine.

    The installer needs root, Python 3.11 or newer, systemd, and 3 GB of free space. ``folder``: a folder on the file
    system that must have this space.
    """
    if os.geteuid() != 0:
        raise InstallerError("This needs root: run it with sudo.")
    if sys.version_info < (3, 11):  # noqa: UP036  # this file is what finds that out
        raise InstallerError(f"This needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    if not Path("/run/systemd/system").is_dir():
        raise InstallerError("systemd does not run here, and it is what keeps the services running.")
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize / 2**30
    if free < _NEEDED_GB:
        raise InstallerError(f"{folder} has {free:.1f} GB free; {_NEEDED_GB} GB are needed.")


def name(domain: str, resolve: Callable[[str], Sequence[str]], is_ours: Callable[[str], bool]) -> str:
    """Return a warning if none of the domain's addresses is this machine's, else "".

    ``resolve``: returns the addresses of a name; ``is_ours``: returns whether an address is this machine's. Raises
    InstallerError if the domain has no address, or its addresses cannot be found.
    """
    try:
        addresses = sorted(set(resolve(domain)))
    except OSError as error:
        raise InstallerError(
            f"The name {domain} does not resolve ({error.strerror}). Let it lead to this machine first: the "
            "certificate authority must reach the gateway by this name, on the ports 80 and 443."
        ) from error
    if any(is_ours(address) for address in addresses):
        return ""
    return (
        f"{domain} leads to {', '.join(addresses)}, which is no address of this machine. That is right only behind a "
        "router or load balancer that passes on the ports 80 and 443."
    )


def resolve(domain: str) -> list[str]:
    """Return the addresses of a host name. Raises OSError if there are none, or if they cannot be found."""
    return [str(found[4][0]) for found in socket.getaddrinfo(domain, 443, type=socket.SOCK_STREAM)]


def is_ours(address: str) -> bool:
    """Return True if an address belongs to this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def ports(is_active: Callable[[str], bool], wanted: Mapping[int, str] | None = None) -> None:
    """Raise InstallerError if other programs use ports of the gateway; the message names the ports and the programs.

    ``is_active``: returns whether a systemd unit runs; ``wanted``: the ports to check, each with the unit of this
    gateway that may use it, None: all ports of a gateway (``PORTS``).
    """
    taken = [
        f"Port {port} is used by {' and '.join(listeners(port)) or 'another program'}: stop it first, and keep it from "
        "starting again."
        for port, service in (PORTS if wanted is None else wanted).items()
        if _in_use(port) and not is_active(service)
    ]
    if taken:
        raise InstallerError("\n".join(taken))


def _in_use(port: int) -> bool:
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104  # nosec B104
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
    return False


def listeners(port: int) -> list[str]:
    """Return the names of the programs that listen on a port of this machine, as far as this user may see them."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    names = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(_target(link) in sockets for link in (process / "fd").iterdir()):
                names.add((process / "comm").read_text(encoding="utf-8").strip())
        except OSError:  # the process has ended, or belongs to somebody else
            continue
    return sorted(names)


def _target(link: Path) -> str | None:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # the process has closed the descriptor meanwhile
        return None


def _inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == _TCP_LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                yield words[9]
