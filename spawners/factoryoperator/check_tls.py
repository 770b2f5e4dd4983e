"""Checks the certificates of hub, link, workshops service and proxy on separate hosts."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from factorycommon.tls import HUB, LINK, WORKSHOPS, TlsError, TlsFiles, dialing, listening
from factoryoperator import certificates
from factoryoperator.certificates import CertificateProblem, TlsCertificate
from factoryoperator.findings import Finding, note
from factoryoperator.gateway import Gateway

SECONDS = 5.0  # seconds for one answer
SOON = timedelta(days=14)  # a certificate that ends sooner is reported
_HELLOS = 4  # message rounds in which a TLS handshake between two ends is complete


def own(gateway: Gateway) -> Iterator[Finding]:
    """Yield why other processes would refuse the certificates of hub, link and workshops service.

    For example, a certificate may have a wrong name, may lack the host to which the others connect, or may be signed by
    an authority that the others do not trust. A certificate that ends within ``SOON`` is reported, too.
    """
    hub, link, workshops = gateway.hub.config, gateway.link.config, gateway.workshops.config
    if hub is not None and hub.tls is not None:
        yield from _usable(hub.tls, HUB, _dialed(hub.hub_url), gateway.hub.at)
    if link is not None and link.tls is not None:
        own_hosts = set() if hub is None else _dialed(hub.link_url, "" if hub.link is None else hub.link.url)
        yield from _usable(link.tls, LINK, {link.sessions.dialed, *own_hosts}, gateway.link.at)
    if workshops is not None and workshops.tls is not None:
        theirs = None if hub is None else hub.workshops
        own_hosts = set() if theirs is None else _dialed(theirs.url, theirs.hub_api_url or "")
        yield from _usable(workshops.tls, WORKSHOPS, own_hosts, gateway.workshops.at)
    # Link and workshops service connect to each other by a Unix socket, without certificates.
    for one, its in ((link, gateway.link), (workshops, gateway.workshops)):
        if hub is None or hub.tls is None or one is None or one.tls is None:
            continue
        for files, other, where in (
            (hub.tls, one.tls, gateway.hub.at("tls", "authority")),
            (one.tls, hub.tls, its.at("tls", "authority")),
        ):
            if _of_another_authority(files.authority, other.certificate):
                yield Finding(where, f"{files.authority} has no authority that signed {other.certificate}")


def _dialed(*urls: str) -> set[str]:
    return {host for url in urls if (host := urlsplit(url).hostname)}


def _usable(files: TlsFiles, name: str, hosts: set[str], at: Callable[..., str]) -> Iterator[Finding]:
    try:
        server, client, found = listening(files, [name]), dialing(files), certificates.read(files.certificate)
    except (TlsError, CertificateProblem, OSError) as error:
        yield Finding(at("tls"), str(error))
        return
    where = at("tls", "certificate")
    if found.name != name:
        yield Finding(where, f"{found.path} has the name {found.name!r}: the others let in {name} only")
    missing = sorted(host for host in hosts if not _covers(found, host))
    if missing:
        yield Finding(where, f"{found.path} is not for {', '.join(missing)}, where others dial; it is for {_of(found)}")
    if problem := _refused(server, client, found):
        yield Finding(where, f"{found.path} would be refused: {problem}")
    elif found.ends - datetime.now(UTC) < SOON:
        left = (found.ends - datetime.now(UTC)).days
        yield Finding(where, f"{found.path} ends in {left} days: run factorygate certificates renew")


def _covers(found: TlsCertificate, host: str) -> bool:
    wide = f"*.{host.partition('.')[2]}"
    return host.lower() in found.hosts or wide in found.hosts


def _of(found: TlsCertificate) -> str:
    return ", ".join(found.hosts) or "no host"


def _refused(server: ssl.SSLContext, client: ssl.SSLContext, found: TlsCertificate) -> str:
    """Return why a process with the same authority would refuse the certificate ``found``; "" if it would not.

    ``server``, ``client``: TLS contexts with this certificate, which are connected to each other here. Other checks
    compare the names in the certificate. A certificate without a host is not tried here; the result is "".
    """
    if not found.hosts:
        return ""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    host = found.hosts[0].replace("*.", "any.")
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for end in ends * _HELLOS:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return str(getattr(error, "verify_message", ""))
        except ssl.SSLError as error:
            return error.reason or str(error)
    return ""


def _of_another_authority(authority: Path, certificate: Path) -> bool:
    """Return whether no authority in ``authority`` has signed the first certificate in ``certificate`` (PEM files).

    Return False if one of the files cannot be read, which another check reports.
    """
    try:
        return not certificates.believes(authority, certificate)
    except (OSError, CertificateProblem):
        return False


def peers(gateway: Gateway) -> Iterator[Finding]:
    """Yield what is wrong with the gateway's own TLS servers, to which hub, link and workshops service connect.

    Each server must have a trusted certificate, and must accept the certificate of the process that connects to it. For
    a server that does not answer, there is a hint only.
    """
    hub, link, workshops = gateway.hub.config, gateway.link.config, gateway.workshops.config
    if hub is not None and hub.tls is not None:
        urls = {"link_url": hub.link_url, "proxy_api_url": hub.proxy_api_url}
        if hub.link is not None:
            urls["link"] = hub.link.url
        if hub.workshops is not None:
            urls["workshops"] = hub.workshops.hub_api_url or hub.workshops.url
        for key, url in urls.items():
            yield from _look(gateway.hub.at(key), url, hub.tls)
    if link is not None and link.tls is not None:
        yield from _look(gateway.link.at("hub", "url"), link.hub.url, link.tls)
    if workshops is not None and workshops.tls is not None:
        yield from _look(gateway.workshops.at("hub", "url"), workshops.hub.url, workshops.tls)


def _look(where: str, url: str, tls: TlsFiles) -> Iterator[Finding]:
    parts = urlsplit(url)
    if parts.scheme != "https":
        return
    try:
        context = dialing(tls)
    except TlsError:  # another check reports this
        return
    connection = http.client.HTTPSConnection(
        cast(str, parts.hostname), parts.port or 443, timeout=SECONDS, context=context
    )
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        yield Finding(where, f"the certificate of {parts.netloc} cannot be trusted: {error.verify_message}")
        return
    except OSError as error:
        yield note(where, f"{url} does not answer, so its certificate was not looked at ({error})")
        return
    try:
        connection.request("HEAD", "/")
        connection.getresponse()
    # with TLS 1.3 the server accepts or refuses our certificate only after the handshake
    except (OSError, http.client.HTTPException) as error:
        yield Finding(where, f"{parts.netloc} does not take our certificate {tls.certificate}: {error}")
    finally:
        connection.close()
