"""The SSH CA of the EuroHPC Federation Platform, which exchanges a person's token for a certificate of some hours.

The protocol, as far as it is public: the CA is DeiC's (github.com/wayf-dk/sshca, read 2026-10). The request is
``POST {url}/sign`` with JSON: ``PublicKey`` (a line of authorized_keys), ``OTT`` (the token) and ``Resource`` (the name
of the hosts that the certificate is for). The answer is the certificate, as a line of authorized_keys. The certificate
is for one principal, ``ID@myaccessid.org``, which the site maps to the account; its extension
``ssh-domain-grant@core.aai.geant.org`` lists host patterns (integration.docs.my-eurohpc.eu/aai). This module was never
tested with the platform itself.

Tokens and people's keys are in this process's memory only. The answer is not trusted: the link checks the certificate's
key, kind, validity and hosts.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import asyncssh
import httpx
from asyncssh.packet import PacketDecodeError, SSHPacket

from factorylink.config import EfpCredentials, address
from factorylink.credentials.base import Login, read_private_key
from factorylink.errors import Expired, FactoryError, Misread, Refused, Unreachable

log = logging.getLogger(__name__)

RENEW_AT = 1 / 3  # share of the validity that is left when the CA is asked for another certificate with the same token
LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()  # a certificate without an end has 2**64 - 1
NEVER = datetime.fromtimestamp(0, UTC)  # the end of validity if there is no certificate
ANSWER_SECONDS = 15.0
RETRY_SECONDS = 60.0  # from a renewal that failed to the next one with the same token
# Statuses of an answer that says that the token, or what was requested with it, is not accepted. All others, such as
# 429, tell nothing about the token.
_REFUSALS = frozenset({400, 401, 403, 409, 410, 422})
LONGEST_ANSWER = 65536  # bytes
_GRANT = b"ssh-domain-grant@core.aai.geant.org"


@dataclass(frozen=True)
class Held:
    """A person's key and certificate, and the token with which the certificate is renewed.

    ``token`` None: a renewal with the person's token was refused. ``begins``, ``ends``: the certificate's validity;
    ``not_before``: after a renewal that failed, the earliest time of the next one. Times are seconds since the epoch.
    """

    login: Login
    begins: float
    ends: float
    token: str | None = field(repr=False)
    not_before: float = 0.0


class FederationAuthority:
    """Provides logins for a factory that trusts the EuroHPC Federation Platform.

    A person's login is a certificate, which the gateway gets from the platform with the person's token and keeps in
    memory. ``watcher``: the site account that asks the scheduler about all jobs; its login is a key. ``hosts``: the
    factory's login hosts, each HOST or HOST:PORT. The constructor raises OSError or ValueError if the watcher's key
    cannot be used.
    """

    def __init__(
        self,
        settings: EfpCredentials,
        watcher: str,
        hosts: Sequence[str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._hosts = [address(host)[0].lower() for host in hosts]
        self._clock = clock
        key = read_private_key(settings.watcher_key)
        self._watcher = Login(watcher, key, None, key.get_fingerprint(), None)
        self._held: dict[str, Held] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def renew_url(self) -> str:
        """Return the URL where a person gets a token."""
        return self._settings.renew_url

    async def login(self, account: str | None) -> Login:
        """Return the login for a person's account, by certificate; ``account`` None: the watcher's, by key.

        The watcher is the site account that asks the scheduler about all jobs. A certificate that expires soon is first
        renewed, as long as the CA accepts the person's token. Raises Expired if there is no valid certificate.
        """
        if account is None:
            return self._watcher
        async with self._locks.setdefault(account, asyncio.Lock()):
            held = self._held.get(account)
            if held is None:
                raise Expired(f"The gateway has no login of yours for this factory. {self._how()}")
            now = self._clock()
            is_due = held.ends - now < (held.ends - held.begins) * RENEW_AT and now >= held.not_before
            if held.token is not None and is_due:
                held = await self._renewed(account, held, held.token)
            if held.ends <= self._clock():
                raise Expired(f"Your login for this factory is over. {self._how()}")
            return held.login

    def valid_until(self, account: str | None) -> datetime | None:
        """Return when the account's certificate expires; ``NEVER``, a time in the past, if there is no certificate.

        ``account`` None: return None, because the watcher logs in with a key, which does not expire.
        """
        if account is None:
            return None
        held = self._held.get(account)
        return NEVER if held is None else held.login.expires

    async def renew(self, account: str, token: str) -> datetime:
        """Get a certificate with a person's token; return until when the certificate is valid.

        Raises Refused and Unreachable, with an explanation for the person.
        """
        async with self._locks.setdefault(account, asyncio.Lock()):
            self._held[account] = held = await self._buy(account, token)
        return datetime.fromtimestamp(held.ends, UTC)

    async def _renewed(self, account: str, held: Held, token: str) -> Held:
        try:
            held = await self._buy(account, token)
        except Refused as error:
            log.info("The token for %s no longer works: %s", account, error.message)
            held = replace(held, token=None)
        except FactoryError as error:  # the certificate may be valid for some time yet
            log.warning("The certificate of %s is not renewed: %s", account, error.message)
            held = replace(held, not_before=self._clock() + RETRY_SECONDS)
        self._held[account] = held
        return held

    async def _buy(self, account: str, token: str) -> Held:
        key = asyncssh.generate_private_key("ssh-ed25519")
        public = key.export_public_key().decode().strip()
        body = {"PublicKey": public, "OTT": token, "Resource": self._settings.resource}
        line = await self._post(self._settings.url.rstrip("/") + "/sign", body)
        known = read_certificate(line, key)
        now = self._clock()
        if not known.begins <= now < known.ends:
            raise Misread("The platform gave a certificate that is not valid now; its clock or ours is wrong.")
        if known.hosts is not None and not any(grants(known.hosts, host) for host in self._hosts):
            raise Refused("The platform gave a certificate that is not for this factory: your project may not have it.")
        expires = datetime.fromtimestamp(known.ends, UTC)
        login = Login(account, key, known.certificate, f"{known.key_id} serial {known.serial}", expires)
        return Held(login, known.begins, known.ends, token)

    async def _post(self, url: str, body: dict[str, str]) -> str:
        """Send the request and return the text of the answer.

        Raises Refused if the CA does not accept the token, Unreachable if the CA does not answer or its answer says
        nothing about the token, such as HTTP 429. The errors do not contain the platform's own error message, since
        that message may repeat the token.
        """
        try:
            async with (
                httpx.AsyncClient(timeout=ANSWER_SECONDS) as http,
                http.stream("POST", url, json=body, follow_redirects=False) as response,
            ):
                said = b""
                async for part in response.aiter_bytes():
                    said += part
                    if len(said) > LONGEST_ANSWER:
                        raise Misread("The platform's SSH CA answered at too great length.")
                status = response.status_code
        except httpx.HTTPError as error:
            raise Unreachable(f"The platform's SSH CA does not answer ({type(error).__name__}).") from error
        if status in _REFUSALS:
            raise Refused(f"The platform's SSH CA did not take the token (HTTP {status}). {self._how()}")
        if status != 200:
            raise Unreachable(f"The platform's SSH CA is in trouble (HTTP {status}).")
        text = said.decode(errors="replace").strip()
        if not text.startswith("ssh-ed25519-cert-v01@openssh.com "):
            raise Misread("The platform's SSH CA did not answer with a certificate.")
        return text

    def _how(self) -> str:
        return f"Get a new token at {self._settings.renew_url} and paste it on Home."


@dataclass(frozen=True)
class Certificate:
    """The fields of a user certificate that the link reads. Times are seconds since the epoch.

    ``hosts``: patterns of the hosts for which the certificate is valid; None: it does not restrict the hosts.
    """

    certificate: asyncssh.SSHCertificate
    key_id: str
    serial: int
    begins: float
    ends: float
    hosts: tuple[str, ...] | None


def read_certificate(line: str, key: asyncssh.SSHKey) -> Certificate:
    """Read a certificate for ``key`` from a line of authorized_keys. Raises Misread if the line is no such certificate.

    Format: OpenSSH's PROTOCOL.certkeys, ``ssh-ed25519-cert-v01@openssh.com``.
    """
    try:
        certificate = asyncssh.import_certificate(line)
        packet = SSHPacket(certificate.public_data)
        for _ in ("algorithm", "nonce"):
            packet.get_string()
        public, serial, kind = packet.get_string(), packet.get_uint64(), packet.get_uint32()
        key_id = packet.get_string().decode()
        principals = SSHPacket(packet.get_string())
        begins, ends = packet.get_uint64(), packet.get_uint64()
        packet.get_string()  # critical options, which asyncssh and sshd check
        extensions = SSHPacket(packet.get_string())
        hosts = None
        while extensions:
            name, data = extensions.get_string(), extensions.get_string()
            if name == _GRANT:
                hosts = tuple(str(pattern) for pattern in json.loads(SSHPacket(data).get_string()))
    except (asyncssh.KeyImportError, PacketDecodeError, ValueError, TypeError) as error:
        raise Misread("The platform's answer is not a certificate that we understand.") from error
    own = SSHPacket(key.public_data)
    own.get_string()
    if kind != 1 or public != own.get_string() or not principals:
        raise Misread("The platform's certificate is not a user's, or not for the key that it was asked for.")
    return Certificate(certificate, re.sub(r"[^!-~]", "?", key_id)[:200], serial, begins, min(ends, LATEST), hosts)


def grants(patterns: Sequence[str], host: str) -> bool:
    """Return whether a host matches one of the patterns of hosts in a certificate.

    ``*`` matches one or more characters of one label; letter case of the patterns is ignored, ``host`` is in lower
    case.
    """
    return any(
        re.fullmatch("[^.]+".join(re.escape(part) for part in pattern.lower().split("*")), host) for pattern in patterns
    )
