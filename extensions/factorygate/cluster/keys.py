"""What a cluster's scheduler, workers and clients trust each other by."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any, cast

from distributed.security import Security

from factorycommon.models import Scheduler
from factorygate.cluster import tls
from factorygate.cluster.versions import versions


class Keys(Security):
    """Dask's own, but for the sockets: a connection that fails must not take others with it. See ``tls``."""

    @classmethod
    def new(cls) -> Keys:
        """Made now, in memory; one pair for scheduler, workers and clients."""
        return cast(Keys, cls.temporary())

    @classmethod
    def of(cls, values: Scheduler) -> Keys:
        """Those that a scheduler told."""
        role = {"cert": values.certificate, "key": values.key}
        named = {
            f"tls_{who}_{what}": value for who in ("scheduler", "worker", "client") for what, value in role.items()
        }
        return cls(tls_ca_file=values.ca, require_encryption=True, **named)

    def tell(self, address: str) -> Scheduler:
        """For workers and clients of the scheduler at ``address``; whoever reads it may use the cluster."""
        mine = self.get_tls_config_for_role("worker")
        return Scheduler(
            address=address, ca=mine["ca_file"], certificate=mine["cert"], key=mine["key"], versions=versions()
        )

    @classmethod
    def like(cls, theirs: Security) -> Keys:
        """Somebody's own, for workers: read from where they lie, if they are in files. Raises ValueError, OSError."""
        named = {name: _pem(value) for name, value in theirs.get_tls_config_for_role("worker").items() if value}
        if not {"ca_file", "cert", "key"} <= named.keys():
            raise ValueError("security= lacks a CA file, or a certificate or key for workers.")
        return cls(
            tls_ca_file=named["ca_file"],
            tls_worker_cert=named["cert"],
            tls_worker_key=named["key"],
            require_encryption=True,
        )

    def _get_tls_context(self, config: Any, purpose: ssl.Purpose) -> ssl.SSLContext | None:
        return _mended_context(self, config, purpose)


class _Mended(Security):
    """The same for somebody's own: what an object of theirs becomes. Dask takes its slots for its parameters, so this
    class has none, is never made, and ``Keys`` cannot be it."""

    __slots__ = ()

    def _get_tls_context(self, config: Any, purpose: ssl.Purpose) -> ssl.SSLContext | None:
        return _mended_context(self, config, purpose)


def _mended_context(security: Security, config: Any, purpose: ssl.Purpose) -> ssl.SSLContext | None:
    made: ssl.SSLContext | None = Security._get_tls_context(security, config, purpose)
    if made is not None:
        tls.mend(made)
    return made


def mend(theirs: Security) -> None:
    """Give the connections of somebody's own, which a cluster and its clients use as it is, such sockets, too."""
    if type(theirs) is Security:
        theirs.__class__ = _Mended


def in_files(security: Security | None) -> bool:
    """Whether it names files, so that it may be shown, and has no key in itself."""
    named = {} if security is None else security.get_tls_config_for_role("worker")
    return bool(named) and not any("\n" in value for value in named.values() if value)


def _pem(value: str) -> str:
    """The text itself, or that of the file of that name: without what stands around it."""
    text = value if "\n" in value else Path(value).read_text(encoding="utf-8")
    blocks = re.findall(r"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", text, re.DOTALL)
    return "\n".join(blocks) + "\n"
