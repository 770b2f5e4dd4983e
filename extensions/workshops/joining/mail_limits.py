"""Limits how many one-time codes a mail address gets, so that strangers cannot use up a guest's codes. Pure.

A request for a code is of one of three kinds, and counts for its own kind only:

- ``browser``: the guest has logged in from this browser before, which a signed cookie of the hub proves.
- ``code``: the requester has sent a right join code.
- ``address``: any other requester, who needs to know no more than the mail address.

Within an hour, a mail address gets at most ``address_mails`` codes for requests of one kind from one client network,
and ``NETWORKS`` times as many from all networks together. So nobody gets very many mails, however many networks ask.
All browsers of a guest count as one network.
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
    """Return a text that stands for a client who requests a one-time code; codes are counted for each such text.

    The text consists of the kind of the request and a hash of the client's network. ``secret``: the key of the hash;
    ``address``: the client's IP address, which does not matter for the kind ``browser``.
    """
    network = "" if kind == "browser" else network_of(address)
    return prefix(kind) + hmac.new(secret, f"network\0{network}".encode(), hashlib.sha256).hexdigest()


def prefix(requester: str) -> str:
    """Return the common prefix of all results of ``requester_of`` for one kind of request.

    ``requester``: one of these results, or the kind.
    """
    return f"{requester.partition(':')[0]}:"


def network_of(address: str) -> str:
    """Return the network of a client's address: an IPv4 address itself, or the first 64 bits of an IPv6 address.

    An IPv4 address that is written as IPv6 counts as IPv4. A text that is no address is returned unchanged.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))
    return str(found)
