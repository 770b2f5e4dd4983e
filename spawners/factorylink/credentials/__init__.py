"""How the link logs in at a factory's login hosts: defines one interface, and a class for each kind of credentials."""

from __future__ import annotations

from typing import assert_never

from factorylink.config import (
    CaCredentials,
    DoorAccess,
    EfpCredentials,
    KeyCredentials,
    SshTransportSettings,
    WrapperCredentials,
)
from factorylink.credentials.base import Credentials
from factorylink.credentials.ca import CertificateAuthority
from factorylink.credentials.efp import FederationAuthority
from factorylink.credentials.key import KeyFiles
from factorylink.credentials.service import ServiceAccount


def credentials_of(transport: SshTransportSettings, door: DoorAccess, gateway: str) -> Credentials:
    """Return the credentials that are configured for a factory; ``gateway``: the hub's name.

    ``door``: how the link reaches the doors; certificates of the gateway's own CA allow port forwarding only if the
    doors are reached by the carrier ``tcp``. Raises OSError and ValueError, with an explanation for the operator, if a
    private key cannot be used or others can read it.
    """
    settings, watcher = transport.credentials, transport.watcher
    match settings:
        case KeyCredentials():
            return KeyFiles(settings.keys, watcher)
        case CaCredentials():
            return CertificateAuthority(settings, watcher, gateway, forwarding=door.carrier == "tcp")
        case WrapperCredentials():
            return ServiceAccount(settings, watcher)
        case EfpCredentials():
            return FederationAuthority(settings, watcher, transport.hosts)
    assert_never(settings)
