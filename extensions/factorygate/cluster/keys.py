"""Makes the TLS keys with which a cluster's scheduler, workers and clients trust each other, or reads given ones."""

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
    """The TLS keys of a Dask cluster, as an object of Dask's Security.

    Connections with these keys use the sockets of the module ``tls``, so that one failed connection does not break
    others.
    """

    @classmethod
    def new(cls) -> Keys:
        """Return new keys, made in memory: one self-signed certificate, and the private key for it.

        Scheduler, workers and clients share this pair.
        """
        return cast(Keys, cls.temporary())

    @classmethod
    def of(cls, values: Scheduler) -> Keys:
        """Return the keys that ``values``, the description of a Dask scheduler, contains."""
        role = {"cert": values.certificate, "key": values.key}
        named = {
            f"tls_{who}_{what}": value for who in ("scheduler", "worker", "client") for what, value in role.items()
        }
        return cls(tls_ca_file=values.ca, require_encryption=True, **named)

    def tell(self, address: str) -> Scheduler:
        """Return the description of the scheduler at ``address``, for its workers and clients.

        The description has the versions of Python and packages in this process, and the keys: whoever reads it may use
        the cluster.
        """
        mine = self.get_tls_config_for_role("worker")
        return Scheduler(
            address=address, ca=mine["ca_file"], certificate=mine["cert"], key=mine["key"], versions=versions()
        )

    @classmethod
    def like(cls, theirs: Security) -> Keys:
        """Return the keys for workers from ``theirs``, a Security that the caller made.

        Files that ``theirs`` names are read. Raises ValueError if ``theirs`` lacks a CA, or a certificate or key for
        workers; OSError if a file cannot be read.
        """
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
    """The class that ``mend`` gives to a Security that the caller made; opens the same sockets as ``Keys``.

    Python can give this class to an existing object only because ``__slots__`` is empty when the class is made. Dask
    reads the names of a Security's parameters from ``__slots__`` of the object's class, so this module afterwards sets
    ``_Mended.__slots__`` to ``Security.__slots__``.
    """

    __slots__ = ()

    def _get_tls_context(self, config: Any, purpose: ssl.Purpose) -> ssl.SSLContext | None:
        return _mended_context(self, config, purpose)


_Mended.__slots__ = Security.__slots__


def _mended_context(security: Security, config: Any, purpose: ssl.Purpose) -> ssl.SSLContext | None:
    made: ssl.SSLContext | None = Security._get_tls_context(security, config, purpose)
    if made is not None:
        tls.mend(made)
    return made


def mend(theirs: Security) -> None:
    """Change ``theirs``, the caller's own Security: its connections then use the sockets of the module ``tls``.

    The cluster and its clients use this Security object directly. An object of a subclass of Security stays unchanged.
    """
    if type(theirs) is Security:
        theirs.__class__ = _Mended


def in_files(security: Security | None) -> bool:
    """Return True if the keys for workers in ``security`` are names of files, which a job script may contain.

    Return False if one of them is PEM text, which no job script may contain, or if ``security`` is None.
    """
    named = {} if security is None else security.get_tls_config_for_role("worker")
    return bool(named) and not any("\n" in value for value in named.values() if value)


def _pem(value: str) -> str:
    """Return only the PEM blocks of ``value``, which is PEM text or the name of a PEM file."""
    text = value if "\n" in value else Path(value).read_text(encoding="utf-8")
    blocks = re.findall(r"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", text, re.DOTALL)
    return "\n".join(blocks) + "\n"
