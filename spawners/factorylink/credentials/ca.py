"""The gateway's own SSH CA, which signs user certificates with a short validity, by default 15 minutes.

The certified key never leaves this process's memory. The site trusts the CA's public key (``TrustedUserCAKeys``); its
sshd then accepts the certificate for the account that the certificate names as principal, and for no other. A stolen
certificate can be used only until it expires and, if addresses are configured, only from these.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import asyncssh

from factorylink.config import CaCredentials
from factorylink.credentials.base import Login, read_private_key

# seconds by which a site's clock may be behind ours; a certificate with an earlier start does no harm, since its key is
# new
SKEW = 900
RENEW_AT = 1 / 3  # share of the validity that is left when the certificate is replaced


class CertificateAuthority:
    """Makes logins with certificates that it signs itself, one for each site account.

    ``watcher``: the site account that asks the scheduler about all jobs. ``gateway``: the hub's name, for key ids.
    ``forwarding``: whether doors are reached by port forwarding through the login host. Raises OSError and ValueError
    for an unusable CA key.
    """

    def __init__(
        self,
        settings: CaCredentials,
        watcher: str,
        gateway: str,
        *,
        forwarding: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._watcher = watcher
        self._gateway = gateway
        self._forwarding = forwarding
        self._clock = clock
        self._ca = read_private_key(settings.key)
        self._serial = 0
        self._logins: dict[str, Login] = {}

    async def login(self, account: str | None) -> Login:
        """Return a login with the account's certificate.

        ``account`` None: with the certificate of the watcher, the site account that asks the scheduler about all jobs.

        A new certificate is signed first if the account has none, if its certificate expires soon, or if this machine's
        clock was set back to a time before the certificate was signed.
        """
        name = self._watcher if account is None else account
        now = self._clock()
        known = self._logins.get(name)
        if known is not None and known.expires is not None:
            left = known.expires.timestamp() - now
            # More validity left than a new certificate has: our clock was set back, and the site would not accept the
            # certificate yet.
            if self._life * RENEW_AT <= left <= self._life:
                return known
        made = self._logins[name] = self._sign(name, int(now))
        return made

    def valid_until(self, account: str | None) -> datetime | None:  # noqa: ARG002
        """Return None: an account's login has no end, since a new certificate is signed whenever one is needed."""
        return None

    @property
    def _life(self) -> int:
        return self._settings.minutes * 60

    def _sign(self, account: str, now: int) -> Login:
        # Microseconds, so that serials are also unique over restarts, and a site can revoke one certificate by its
        # serial (KRL).
        self._serial = max(self._serial + 1, int(self._clock() * 1e6))
        key = asyncssh.generate_private_key("ssh-ed25519")
        key_id = f"factorygate-{self._gateway}/{account}/{self._serial}"
        certificate = self._ca.generate_user_certificate(
            key,
            key_id,
            serial=self._serial,
            principals=[account],
            valid_after=now - SKEW,
            valid_before=now + self._life,
            force_command=self._settings.force_command,
            source_address=list(self._settings.source) or None,
            permit_x11_forwarding=False,
            permit_agent_forwarding=False,
            permit_port_forwarding=self._forwarding,
            permit_pty=False,
            permit_user_rc=False,
        )
        return Login(account, key, certificate, key_id, datetime.fromtimestamp(now + self._life, UTC))
