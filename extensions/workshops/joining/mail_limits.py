"""Limits of one-time codes to one mail address, which a stranger who knows the address cannot use up for its guest.

A request is of one of three kinds, and counts in no other:

- ``browser``: the guest has logged in from this browser before, which a signed cookie of the hub proves.
- ``code``: whoever asks has sent a right join code.
- ``address``: anybody else, who need not know more than the mail address.

Within an hour, each kind has ``address_mails`` codes for a client network, and ``NETWORKS`` times as many for all
networks together, so that nobody gets very many mails, however many networks ask. Of a guest's own browsers there is
only one such count. Pure functions.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import Literal

NETWORKS = 3  # networks whose requests one kind has room for
_IPV6_NETWORK = 64  # bits: the addresses of one connection

RequestKind = Literal["browser", "code", "address"]


def requester_of(secret: bytes, kind: RequestKind, address: str) -> str:
    """Return who asks for a one-time code: the kind, and a keyed hash of the client's network. ``address``: of the
    client; it does not matter for a guest's own browsers."""
    network = "" if kind == "browser" else network_of(address)
    return prefix(kind) + hmac.new(secret, f"network\0{network}".encode(), hashlib.sha256).hexdigest()


def prefix(requester: str) -> str:
    """Return what all requesters of a kind begin with. ``requester``: one of them, or the kind."""
    return f"{requester.partition(':')[0]}:"


def network_of(address: str) -> str:
    """Return the network of a client's address: the address itself, of IPv6 its first half. What is no address is its
    own network."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))
    return str(found)
