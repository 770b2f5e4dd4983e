"""Parses the host keys that are trusted at a site: those of link.yaml or, if it has none, of the catalogue.

The link never learns a key when connecting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncssh
from asyncssh.public_key import get_default_certificate_algs, get_default_public_key_algs


@dataclass(frozen=True)
class HostKeys:
    """The public keys that the link trusts at a site: of hosts, and of CAs that sign host keys; at least one key."""

    keys: tuple[asyncssh.SSHKey, ...]
    cas: tuple[asyncssh.SSHKey, ...]

    def known(self) -> tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]:
        """Return the keys in the form of asyncssh's ``known_hosts``: host keys, CA keys, revoked keys."""
        return list(self.keys), list(self.cas), []

    def algorithms(self) -> list[str]:
        """Return the key algorithms to request from a host, in the order of preference.

        If CA keys are pinned, the algorithms of certificates come first. Then come the algorithms of the pinned host
        keys, and then asyncssh's other default algorithms. So the connection to a host with another key fails because
        of this key, and not because there is no common algorithm.
        """
        first = [name for key in self.keys for name in key.sig_algorithms]
        certificates = get_default_certificate_algs() if self.cas else []
        names = [*certificates, *first, *get_default_public_key_algs()]
        return [name.decode("ascii") for name in dict.fromkeys(names)]


def pinned(own: tuple[Sequence[str], Sequence[str]], site: tuple[Sequence[str], Sequence[str]]) -> HostKeys:
    """Parse the pinned host keys and CA keys.

    ``own``: the host keys and the CA keys of link.yaml; if there are any, those of the catalogue (``site``) are
    ignored. Raises ValueError, with an explanation for the operator, if there is no key or if a key cannot be parsed.
    """
    keys, cas = own if any(own) else site
    if not keys and not cas:
        raise ValueError(
            "no host key is pinned, so nobody could tell the site from somebody who pretends to be it: write what the "
            "site publishes into transport.host_keys or transport.host_cas, or into site.host_keys of the catalogue"
        )
    return HostKeys(tuple(map(_read, keys)), tuple(map(_read, cas)))


def _read(line: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(line)
    except asyncssh.KeyImportError as error:
        raise ValueError(f"the host key {line[:60]!r} cannot be read: {error}") from error
