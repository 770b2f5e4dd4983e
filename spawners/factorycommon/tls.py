"""Makes the SSL contexts for mutual TLS between hub, link, workshops service and proxy.

One authority issues a certificate for each process, with the process's name as the common name. ``listening`` and
``dialing`` return contexts that any server and any client can use. If the certificate files have changed, the next
connection uses their new content or, while that cannot be used, the last content that could. So a certificate or an
authority can be replaced while the process runs; open connections continue until they end. TLS sessions are not
resumed, so each new connection is checked against the present authority.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, cast

from factorycommon.models.base import Model
from factorycommon.private_files import open_to_others

log = logging.getLogger(__name__)

HUB, LINK, PROXY, WORKSHOPS = "hub", "link", "proxy", "workshops"  # the process names that certificates contain
HANDSHAKE_SECONDS = 10.0  # maximum time that a server waits for a client's handshake

_Stamp = tuple[tuple[int, int, int], ...]
_NO_PASSPHRASE = b""


class TlsError(ValueError):
    """Raised if the TLS files cannot be used. The message is for the operator and names the file."""


class TlsFiles(Model):
    """PEM files for TLS.

    ``certificate``: this process's certificate, followed by intermediate ones; ``key``: its private key; ``authority``:
    one or more trusted CA certificates.
    """

    certificate: Path
    key: Path
    authority: Path

    def rebased(self, base: Path) -> TlsFiles:
        """Return a copy in which relative paths are taken from ``base``."""
        return TlsFiles(certificate=base / self.certificate, key=base / self.key, authority=base / self.authority)


def listening(files: TlsFiles, names: Collection[str] | None) -> ssl.SSLContext:
    """Return an SSL context for a server, which accepts only clients with a certificate of the authority.

    ``names``: the common names that are accepted; None: any name. Raises TlsError if the files cannot be used.
    """
    return _Renewed(ssl.PROTOCOL_TLS_SERVER).of(files, None if names is None else frozenset(names))


def dialing(files: TlsFiles) -> ssl.SSLContext:
    """Return an SSL context for a client, which presents this process's certificate.

    The client accepts only servers that have a certificate of the authority for the host to which it connects. Raises
    TlsError if the files cannot be used.
    """
    return _Renewed(ssl.PROTOCOL_TLS_CLIENT).of(files, None)


def is_loopback_host(host: str) -> bool:
    """Return True if a host is ``localhost`` or a loopback address: such traffic stays on the machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def common_name(peer: Any) -> str:
    """Return the common name in ``peer``, a certificate as ``getpeercert`` gives it; "" if it has none or several."""
    parts = [part for group in (peer or {}).get("subject", ()) for part in group]
    names = [value for key, value in parts if key == "commonName"]
    return names[0] if len(names) == 1 else ""


class _Context(ssl.SSLContext):
    """An SSL context made from the contents that the files had when it was made.

    ``names``: the common names of clients that are accepted; None: all.
    """

    names: frozenset[str] | None = None

    def check(self, peer: Any) -> None:
        """Raise SSLCertVerificationError unless ``names`` is None or has the common name of ``peer``.

        ``peer``: the other side's certificate, as ``getpeercert`` gives it.
        """
        if self.names is None or (name := common_name(peer)) in self.names:
            return
        allowed = ", ".join(sorted(self.names))
        log.warning("A client with a certificate of the name %r is refused; allowed: %s", name, allowed)
        # A numeric value comes first, as in OpenSSL: servers read it.
        raise ssl.SSLCertVerificationError(ssl.SSL_ERROR_SSL, f"the client's certificate names {name!r}: {allowed}")


class _Object(ssl.SSLObject):
    def do_handshake(self) -> None:
        super().do_handshake()
        cast(_Context, self.context).check(self.getpeercert())


class _Socket(ssl.SSLSocket):
    shaken = False  # whether the handshake is done

    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        cast(_Context, self.context).check(self.getpeercert())
        self.shaken = True

    def drop_unless_shaken(self) -> None:
        """Shut the connection down if its client has not finished its handshake.

        The next read from the socket then sees the end.
        """
        if not self.shaken:
            with contextlib.suppress(OSError):  # the socket is closed already
                socket.socket.shutdown(
                    self, socket.SHUT_RDWR
                )  # SSLSocket's own shutdown would also remove the TLS layer


class _Renewed(ssl.SSLContext):
    """The SSL context that servers and clients get; each connection uses a context made from the present files.

    While the files cannot be used (the key was replaced, its certificate not yet), the last good context is used.
    """

    def of(self, files: TlsFiles, names: frozenset[str] | None) -> ssl.SSLContext:
        """Read the files, so that this object can be used, and return the object itself. Raises TlsError.

        Call this once, before any other method. Later connections read the files again if they have changed.
        ``names``: the common names of the clients that are accepted; None: any.
        """
        self._files, self._names, self._lock = files, names, threading.Lock()
        self._stamp = _stamp(files)
        self._now = self._read()
        return self

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Return an SSL object that uses the newest usable contents of the TLS files; asyncio calls this method."""
        return self._present().wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Return a TLS socket that uses the newest usable contents of the TLS files; Tornado calls this method.

        Tornado itself would give a client an hour for its handshake; here the client has ``HANDSHAKE_SECONDS``.
        """
        made = self._present().wrap_socket(*args, **kwargs)
        if made.server_side and isinstance(made, _Socket):
            with contextlib.suppress(RuntimeError):  # no loop runs
                asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, made.drop_unless_shaken)
        return made

    def __deepcopy__(self, _memo: object) -> ssl.SSLContext:
        """Return the context itself: traitlets copies configuration values, and an SSL context cannot be copied."""
        return self

    def _present(self) -> _Context:
        with self._lock:
            stamp = _stamp(self._files)
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._now = self._read()
                    log.info("The certificate %s has been read again", self._files.certificate)
                except TlsError as error:
                    log.error("The last good certificate stays in use: %s", error)  # noqa: TRY400  # words say it all
            return self._now

    def _read(self) -> _Context:
        files, protocol = self._files, self.protocol
        context = _Context(protocol)
        context.names = self._names
        context.sslobject_class, context.sslsocket_class = _Object, _Socket
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        # Python 3.13 and newer check by default that a CA certificate is marked as a CA.
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0  # no TLS session may be resumed
        _try(files, "authority", lambda: context.load_verify_locations(files.authority))
        _closed(files.key)
        _try(
            files,
            "certificate",
            lambda: context.load_cert_chain(files.certificate, files.key, password=lambda: _NO_PASSPHRASE),
        )
        return context


def _try(files: TlsFiles, key: Literal["certificate", "authority"], read: Callable[[], object]) -> None:
    path = getattr(files, key)
    try:
        read()
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"{files.key}: is not the key of {path}") from error
        also = f" with its key {files.key}" if key == "certificate" else ""
        raise TlsError(f"{path}: cannot be read as {key} in PEM{also}: {error.reason or error}") from error
    except OSError as error:
        raise TlsError(f"{path}: {error.strerror or error}") from error


def _closed(key: Path) -> None:
    try:
        found = key.stat()
    except OSError as error:
        raise TlsError(f"{key}: {error.strerror}") from error
    if open_to_others(found):
        raise TlsError(f"{key}: others may read this key: run chmod 600 {key}")


def _stamp(files: TlsFiles) -> _Stamp:
    """Return a value that changes whenever one of the files, its mode or its owner changes, or the file is removed."""
    return tuple(_seen(path) for path in (files.certificate, files.key, files.authority))


def _seen(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()  # of the file behind a symbolic link, since a Secret volume changes its links
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_ctime_ns, found.st_size  # ctime: of content, mode and owner
