"""Checks the address of a repository: its form, and that its host is on the public internet or allowed.

Without this check, a trainer could make the gateway send requests to the gateway's own machine or private
network.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from factorycommon.messages import Message

_HTTPS = re.compile(
    r"https://(?P<host>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)(:(?P<port>[1-9][0-9]{0,4}))?"
    r"(/[A-Za-z0-9_~][A-Za-z0-9._~+-]*)+/?"
)
_FILE = re.compile(r"file://(/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_LONGEST = 500
# Addresses in which others are embedded, so that a public one may reach a private network.
_EMBEDDING = (
    ip_network("64:ff9b::/96"),
    ip_network("64:ff9b:1::/48"),
    ip_network("2002::/16"),
    ip_network("2001::/32"),
)

Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]


class BadRepository(Exception):
    """Raised for an address from which the gateway does not fetch. ``message``: the reason, for people."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class RepositoryAddress:
    """The address of a git repository. ``host``: "" for a ``file://`` address, which only tests use."""

    url: str
    host: str = ""
    port: int = 443


def parse(url: str, local: bool = False) -> RepositoryAddress:
    """Return the parts of a repository's address. ``local``: allow ``file://``.

    Raises BadRepository if the form of the address is wrong. Looks up no host.
    """
    if len(url) <= _LONGEST and local and _FILE.fullmatch(url):
        return RepositoryAddress(url)
    found = _HTTPS.fullmatch(url) if len(url) <= _LONGEST else None
    port = int(found["port"] or 443) if found is not None else 0
    if found is None or not 0 < port < 65536:
        raise BadRepository(
            Message(
                "material-address",
                "The repository needs an address such as https://git.example.org/group/name.git, with a host in small "
                "letters, and without a password or a query.",
            )
        )
    return RepositoryAddress(url, found["host"], port)


def check(address: RepositoryAddress, networks: Iterable[Network], resolve: Resolve | None = None) -> list[str]:
    """Return the IP addresses of a repository's host.

    Raises BadRepository if the host cannot be looked up, or if the gateway may not fetch from one of its addresses.
    ``networks``: networks that are allowed besides the public internet; ``resolve``: finds the IP addresses of a host
    and port, None: ``resolved``.
    """
    try:
        found = (resolve or resolved)(address.host, address.port)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label of the host is empty or too long
        said = Message("material-no-host", "There is no host {host}.")
        raise BadRepository(said.format(host=address.host)) from error
    networks = tuple(networks)
    if not found or not all(may_be_fetched_from(one, networks) for one in found):
        said = Message(
            "material-private-host",
            "{host} is not of the public internet. The operators of this gateway can allow its network.",
        )
        raise BadRepository(said.format(host=address.host))
    return list(found)


def resolved(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host.

    Raises OSError if they cannot be looked up; UnicodeError if a label of the host name is empty or too long.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def may_be_fetched_from(text: str, networks: Iterable[Network]) -> bool:
    """Return whether an IP address is on the public internet, or in one of these networks."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address.version == network.version and address in network for network in networks):
        return True
    if any(address.version == network.version and address in network for network in _EMBEDDING):
        return False
    return address.is_global and not address.is_multicast


def fault_of(url: str) -> Message | None:
    """Return why the form of a repository's address is refused; None: the form is right. Looks up no host."""
    try:
        parse(url)
    except BadRepository as error:
        return error.message
    return None
