"""Describes where link and workshops service listen, and makes the HTTP transport for requests to them.

They listen on a Unix socket or, for clients on another host, with TLS.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx

from factorycommon.tls import TlsFiles, dialing


@dataclass(frozen=True)
class NetworkAddress:
    """The address of a service on another host.

    ``tls``: the certificate and key of the process that connects to the service, and the authority that this process
    trusts.
    """

    url: str
    tls: TlsFiles


ServiceAddress = Path | NetworkAddress  # path of a Unix socket, or an address in the network


def transport_to(at: ServiceAddress, name: str, limits: httpx.Limits) -> tuple[str, httpx.AsyncHTTPTransport]:
    """Return the base URL and the transport for requests to a service. Raises TlsError.

    ``name``: the host name that requests over a Unix socket have.
    """
    if isinstance(at, NetworkAddress):
        return at.url, httpx.AsyncHTTPTransport(verify=dialing(at.tls), limits=limits)
    return f"http://{name}", httpx.AsyncHTTPTransport(uds=str(at), limits=limits)
