"""Runs the checks that use the network: ports, host names, certificates, clocks. The checks change nothing."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from factorycommon.tls import TlsError, TlsFiles, dialing
from factorylink.config import EfpCredentials, LinkConfig, SshTransportSettings
from factoryoperator.findings import Finding, note
from factoryoperator.gateway import Gateway
from factoryspawner.config.hub_config import HubConfig
from factoryspawner.config.login_settings import is_loopback
from workshops.config import WorkshopsConfig

SECONDS = 5.0  # seconds for one answer
SOON = 14  # days; a certificate that ends sooner is reported
SKEW = 30  # seconds that clocks may differ
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT = {"http": 80, "https": 443}


# --- ports


@dataclass(frozen=True)
class GatewayPort:
    """A port on which a part of the gateway listens when it runs.

    ``where``: the setting that names the port, as in a Finding; ``what``: the part's name; ``answers``: returns True if
    the part seems to be running, a text with the problem if the part runs but has a problem, and otherwise False.
    """

    where: str
    what: str
    host: str
    port: int
    answers: Callable[[], bool | str]  # True: the part answers; a text: it answers, but with this problem


def ports(gateway: Gateway) -> Iterator[Finding]:
    """Yield a finding for each port that two parts are to use, or on which a part cannot listen.

    A part cannot listen if, for example, another program uses the port. If the running proxy refuses the hub's token,
    there is a finding for the port of the proxy's API. There are further findings if the range ``session_ports`` of
    link.yaml contains the port of a part, or ephemeral ports of this machine.
    """
    wanted = [*_hub_ports(gateway), *_link_ports(gateway), *_workshops_ports(gateway)]
    seen: dict[int, GatewayPort] = {}
    for one in wanted:
        if one.port in seen and seen[one.port].what != one.what:
            yield Finding(
                one.where, f"port {one.port} is also that of the {seen[one.port].what} ({seen[one.port].where})"
            )
        seen.setdefault(one.port, one)
    for one in seen.values():
        yield from _in_use(one)
    if gateway.link.config is not None:
        yield from _session_ports(gateway, gateway.link.config, seen)


def _hub_ports(gateway: Gateway) -> Iterator[GatewayPort]:
    config, at = gateway.hub.config, gateway.hub.at
    if config is None:
        return
    hub, api, public = urlsplit(config.hub_url), urlsplit(config.proxy_api_url), urlsplit(config.public_url)
    if is_loopback(config.hub_url):
        yield GatewayPort(at("hub_url"), "hub", *_address(hub), lambda: _is_hub(config.hub_url, config))
    if is_loopback(config.proxy_api_url):
        yield GatewayPort(at("proxy_api_url"), "proxy's API", *_address(api), lambda: _is_proxy(config))
    if is_loopback(config.public_url):
        yield GatewayPort(at("public_url"), "proxy", *_address(public), lambda: _is_hub(config.public_url, config))


def _link_ports(gateway: Gateway) -> Iterator[GatewayPort]:
    config = gateway.link.config
    if config is None:
        return
    at, host, port = gateway.link.at, config.listen_host, config.listen_port
    yield GatewayPort(at("listen_port"), "link", host, port, lambda: _is_link(config))
    if (own := config.hub_listener) is not None:
        what = "link, for the hub"
        yield GatewayPort(at("hub_listener", "port"), what, own.host, own.port, lambda: _is_link(config))
    if (read := config.metrics) is not None:
        what = "link, for Prometheus"
        yield GatewayPort(at("metrics", "port"), what, read.host, read.port, lambda: _is_link(config))


def _workshops_ports(gateway: Gateway) -> Iterator[GatewayPort]:
    config = gateway.workshops.config
    if config is not None:
        where, port = gateway.workshops.at("listen_port"), config.listen_port
        yield GatewayPort(where, "workshops service", config.listen_host, port, lambda: _is_workshops(config))
        if (own := config.hub_listener) is not None:
            where, what = gateway.workshops.at("hub_listener", "port"), "workshops service, for the hub"
            yield GatewayPort(where, what, own.host, own.port, lambda: _is_workshops(config))


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or _DEFAULT[url.scheme]


def _in_use(one: GatewayPort) -> Iterator[Finding]:
    family = socket.AF_INET6 if ":" in one.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((one.host, one.port))
        except PermissionError:
            return  # only root can listen on ports below 1024
        except OSError as error:
            taken = error
        else:
            return
    answer = one.answers()
    if answer is not True:
        said = answer or f"port {one.port} of {one.host} is not for the {one.what} to have: {taken.strerror}"
        yield Finding(one.where, str(said))


def _is_hub(url: str, config: HubConfig) -> bool:
    answer = _get(f"{url}{config.base_url}hub/health", tls=config.tls)
    return answer is not None and "x-jupyterhub-version" in answer.headers


def _is_proxy(config: HubConfig) -> bool | str:
    try:
        token = config.proxy_token_file.read_text(encoding="utf-8").strip()
    except OSError:  # the checks of secrets report this
        return True
    answer = _get(f"{config.proxy_api_url}/api/routes", {"Authorization": f"token {token}"}, config.tls)
    if answer is None:
        return False
    if answer.status_code == httpx.codes.FORBIDDEN:
        return f"the proxy that runs there does not take the token in {config.proxy_token_file}"
    return answer.status_code == httpx.codes.OK


def _is_link(config: LinkConfig) -> bool:
    host = f"[{config.listen_host}]" if ":" in config.listen_host else config.listen_host
    if config.tls is not None:
        host = "localhost"  # every certificate of the gateway's authority has this name
    scheme = "http" if config.tls is None else "https"
    answer = _get(
        f"{scheme}://{host}:{config.listen_port}{config.hub.base_url}services/factories/health", tls=config.tls
    )
    return answer is not None and answer.status_code == httpx.codes.OK


def _is_workshops(config: WorkshopsConfig) -> bool:
    host = f"[{config.listen_host}]" if ":" in config.listen_host else config.listen_host
    host = host if config.tls is None else "localhost"
    scheme = "http" if config.tls is None else "https"
    path = f"{config.hub.base_url}services/workshops/health"
    answer = _get(f"{scheme}://{host}:{config.listen_port}{path}", tls=config.tls)
    return answer is not None and answer.status_code == httpx.codes.OK


def _get(url: str, headers: dict[str, str] | None = None, tls: TlsFiles | None = None) -> httpx.Response | None:
    try:
        verify = True if tls is None else dialing(tls)
        return httpx.get(url, headers=headers, timeout=SECONDS, trust_env=False, follow_redirects=False, verify=verify)
    except (httpx.HTTPError, httpx.InvalidURL, TlsError):
        return None


def _session_ports(gateway: Gateway, config: LinkConfig, seen: dict[int, GatewayPort]) -> Iterator[Finding]:
    where = gateway.link.at("session_ports")
    first, last = config.session_ports
    for port, one in seen.items():
        if first <= port <= last:
            yield Finding(where, f"{first} to {last} has port {port} of the {one.what} in it ({one.where})")
    try:
        low, high = map(int, _EPHEMERAL.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return
    if first <= high and low <= last:
        yield Finding(
            where,
            f"{first} to {last} meets the ephemeral ports {low} to {high} ({_EPHEMERAL}), of which any connection may "
            "take one",
        )


# --- names


def names(gateway: Gateway) -> Iterator[Finding]:
    """Yield a finding for each of the following host names that does not resolve on this machine.

    From hub.yaml: the hosts at which hub, proxy, link and database are reached, and those of the login providers'
    issuers. From link.yaml: the hosts of the hub, the ledger, the mail server, and servers that issue SSH certificates,
    and the hosts to which the link connects directly at a factory. From workshops.yaml: the mail server.
    """
    all_hosts = [*_hub_hosts(gateway), *_link_hosts(gateway), *_workshops_hosts(gateway)]
    wanted = {(where, host) for where, host in all_hosts if host}
    with ThreadPoolExecutor(max_workers=16) as pool:
        asked = [(where, host, pool.submit(_resolves, host)) for where, host in sorted(wanted)]
        for where, host, answer in asked:
            if problem := answer.result():
                yield Finding(where, f"the name {host} does not resolve on this machine: {problem}")


def _resolves(host: str) -> str:
    """Return why a host name does not resolve; "" if it does."""
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def _workshops_hosts(gateway: Gateway) -> Iterator[tuple[str, str]]:
    config = gateway.workshops.config
    if config is not None and config.joining.smtp is not None:
        yield gateway.workshops.at("joining", "smtp", "host"), config.joining.smtp.host


def _hub_hosts(gateway: Gateway) -> Iterator[tuple[str, str]]:
    config, at = gateway.hub.config, gateway.hub.at
    if config is None:
        return
    for key in ("public_url", "hub_url", "proxy_api_url", "link_url", "db_url"):
        url = getattr(config, key)
        if url is not None:
            yield at(key), urlsplit(url).hostname or ""
    if config.link is not None:
        yield at("link", "url"), urlsplit(config.link.url).hostname or ""
    if config.login is not None:
        for provider in config.login.providers:
            yield at("login", "providers", provider.id, "issuer"), urlsplit(provider.issued_by).hostname or ""


def _link_hosts(gateway: Gateway) -> Iterator[tuple[str, str]]:
    config, at = gateway.link.config, gateway.link.at
    if config is None:
        return
    yield at("hub", "url"), urlsplit(config.hub.url).hostname or ""
    yield at("ledger"), config.database.url.host or ""
    if config.mail is not None:
        yield at("mail", "smtp_host"), config.mail.smtp_host
    for name, access in config.factories.items():
        transport = access.transport
        key, hosts = transport.dialed()
        for host in hosts:
            yield at("factories", name, "transport", key), _host(host)
        if isinstance(transport, SshTransportSettings) and isinstance(transport.credentials, EfpCredentials):
            url = urlsplit(transport.credentials.url)
            yield at("factories", name, "transport", "credentials", "url"), url.hostname or ""
        if transport.dials_nodes and access.door.carrier == "tcp" and access.door.host is not None:
            yield at("factories", name, "door", "host"), access.door.host


def _host(text: str) -> str:
    """Return the host of ``HOST`` or ``HOST:PORT``; a text with several colons is an IPv6 address without a port."""
    host, _, port = text.rpartition(":")
    return host if port.isdigit() and ":" not in host and host else text


# --- certificates and clocks


def certificates(gateway: Gateway) -> Iterator[Finding]:
    """Yield what is wrong with the TLS certificates of the servers named below, and with this machine's clock.

    The servers are the one at the hub's ``public_url``, login providers, and servers that issue SSH certificates. The
    clock is compared with theirs. For a server that does not answer, there is a hint only. An address without https is
    a mistake, unless it is on this machine.
    """
    for where, address in [*_hub_addresses(gateway), *_link_addresses(gateway)]:
        url = urlsplit(address)
        try:
            yield from _look(where, url)
        except ssl.SSLCertVerificationError as error:
            yield Finding(where, f"the certificate of {url.hostname} cannot be trusted: {error.verify_message}")
        except (OSError, http.client.HTTPException) as error:
            yield note(where, f"{address} does not answer, so its certificate and clock were not looked at ({error})")


def _hub_addresses(gateway: Gateway) -> Iterator[tuple[str, str]]:
    config, at = gateway.hub.config, gateway.hub.at
    if config is None:
        return
    yield at("public_url"), config.public_url
    if config.login is not None:
        for provider in config.login.providers:
            yield at("login", "providers", provider.id, "issuer"), provider.issued_by


def _link_addresses(gateway: Gateway) -> Iterator[tuple[str, str]]:
    config = gateway.link.config
    for name, access in {} if config is None else config.factories.items():
        transport = access.transport
        if isinstance(transport, SshTransportSettings) and isinstance(transport.credentials, EfpCredentials):
            yield gateway.link.at("factories", name, "transport", "credentials", "url"), transport.credentials.url


def _look(where: str, url: SplitResult) -> Iterator[Finding]:
    host, port = _address(url)
    if url.scheme == "http" and not is_loopback(url.geturl()):
        yield Finding(where, "is not https: passwords and tokens would go over the network in the clear")
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    made = (
        http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)
        if url.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=SECONDS)
    )
    try:
        made.connect()
        if isinstance(made.sock, ssl.SSLSocket):
            yield from _end(where, host, made.sock)
        made.request("HEAD", url.path or "/")
        date = made.getresponse().headers.get("Date")
    finally:
        made.close()
    if date is not None:
        yield from _clock(where, host, date)


def _end(where: str, host: str, sock: ssl.SSLSocket) -> Iterator[Finding]:
    ends = ssl.cert_time_to_seconds(str((sock.getpeercert() or {}).get("notAfter")))
    left = datetime.fromtimestamp(ends, UTC) - datetime.now(UTC)
    if left.days < SOON:
        yield Finding(where, f"the certificate of {host} ends in {left.days} days: is it renewed by itself?")


def _clock(where: str, host: str, date: str) -> Iterator[Finding]:
    try:
        ahead = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    except (TypeError, ValueError):
        return
    if abs(ahead) > SKEW:
        side = "ahead of" if ahead > 0 else "behind"
        yield Finding(
            where,
            f"this machine's clock is {abs(ahead):.0f} s {side} that of {host}: logins and certificates depend on it. "
            "Let a time service (chrony, systemd-timesyncd) set it",
        )
