"""Runs a small certificate authority for hub, link, workshops service and proxy, with all files in one folder.

``FOLDER/ca.key`` is the private key of the newest authority; ``FOLDER/ca.crt`` has the trusted authorities, the newest
first. ``FOLDER/NAME/`` has the files for the process of that name: ``tls.crt``, ``tls.key``, ``ca.crt``.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"  # the keys of a Kubernetes TLS Secret
LONGEST_DAYS = 3650
_AUTHORITY_KEY = "ca.key"
_SKEW = timedelta(hours=1)  # the clocks of other hosts may be behind by this time
_HERE = ("localhost", "127.0.0.1", "::1")  # in every certificate, so that each host can connect to its own process
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_DNS = re.compile(r"(?=.{1,253}$)(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,62}\.?)*")

Key = ec.EllipticCurvePrivateKey


class CertificateProblem(Exception):
    """Raised if a certificate or authority cannot be made, read or dropped. The message is for the operator."""


@dataclass(frozen=True)
class TlsCertificate:
    """A certificate in a file.

    ``name``: its common name, "" if it has none or several; ``hosts``: the host names and addresses by which clients
    connect.
    """

    path: Path
    name: str
    hosts: tuple[str, ...]
    begins: datetime
    ends: datetime


def make(folder: Path, name: str, hosts: Sequence[str], days: int) -> TlsCertificate | None:
    """Make the files of one process, and the authority if there is none yet; return the new certificate.

    ``name``: the process, for example ``link``; the certificate's common name and the folder of the files get this
    name. ``hosts``: the host names and addresses by which clients connect; ``localhost`` and its addresses are added.
    ``days``: how long the certificate is valid.

    If the process has a good certificate already, makes no files and returns None. A certificate is good if it is for
    exactly these hosts, signed by an authority of the folder, and valid for more than a third of ``days`` from now.
    Raises CertificateProblem, OSError.
    """
    if not _NAME.fullmatch(name):
        raise CertificateProblem(f"--name {name!r}: allowed are lower-case letters, digits and hyphens, such as link")
    wanted = tuple(dict.fromkeys((*map(_host, hosts), *_HERE)))
    if not (folder / AUTHORITY).exists():
        new_authority(folder)
    known = _known(folder / name / CERTIFICATE)
    signed = known is not None and _authority_of(folder, known.path) is not None
    if known is not None and signed and set(known.hosts) == set(wanted) and _left(known) > timedelta(days=days) / 3:
        return None
    return _sign(folder, name, wanted, days)


def paths(folder: Path) -> list[Path]:
    """Return the path of the certificate of each process that has one in the folder, sorted."""
    return sorted(folder.glob(f"*/{CERTIFICATE}"))


def renew(folder: Path, within: timedelta | None, days: int) -> list[TlsCertificate]:
    """Renew certificates in the folder; return the new ones. Raises CertificateProblem, OSError.

    Renews the certificates that end ``within`` the given time, and those that the newest authority has not signed.
    ``within`` None: renews all certificates. ``days``: how long the new certificates are valid.
    """
    done = []
    for path in paths(folder):
        known = read(path)
        if within is None or _left(known) < within or _authority_of(folder, path) != 0:
            done.append(_sign(folder, path.parent.name, known.hosts, days))
    return done


def new_authority(folder: Path) -> None:
    """Make a new authority, which signs from now on. Raises OSError.

    The earlier authorities stay trusted until ``drop_old``, so that certificates can be replaced one by one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key, begins = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC) - _SKEW
    # The time makes its name different from the earlier authority's.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"factorygate internal {begins:%Y%m%dT%H%M%S.%f}")])
    public = key.public_key()
    made = (
        _builder(subject, subject, public, begins, LONGEST_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    before = (folder / AUTHORITY).read_bytes() if (folder / AUTHORITY).exists() else b""
    _write(folder / _AUTHORITY_KEY, _pem(key), 0o600)
    _believe(folder, made.public_bytes(serialization.Encoding.PEM) + before)


def drop_old(folder: Path) -> None:
    """Trust only the newest authority.

    Raises CertificateProblem if any certificate in the folder was not signed by the newest authority. Raises OSError.
    """
    for path in paths(folder):
        if _authority_of(folder, path) != 0:
            raise CertificateProblem(f"{path} is of an authority before: run certificates renew first, with --all")
    newest = _authorities(folder)[0]
    _believe(folder, newest.public_bytes(serialization.Encoding.PEM))


def read(path: Path) -> TlsCertificate:
    """Return the first certificate in a file. Raises OSError, CertificateProblem."""
    found = _parsed(path)[0]
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    try:
        others = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        others = x509.SubjectAlternativeName([])
    hosts = [*others.get_values_for_type(x509.DNSName), *map(str, others.get_values_for_type(x509.IPAddress))]
    name = str(names[0].value) if len(names) == 1 else ""
    return TlsCertificate(path, name, tuple(hosts), found.not_valid_before_utc, found.not_valid_after_utc)


def believes(authority: Path, certificate: Path) -> bool:
    """Return whether an authority in ``authority`` has signed the first certificate in ``certificate`` (PEM files).

    Raises OSError, CertificateProblem.
    """
    signed = _parsed(certificate)[0]
    return any(_has_signed(one, signed) for one in _parsed(authority))


def _sign(folder: Path, name: str, hosts: Sequence[str], days: int) -> TlsCertificate:
    authority = _authorities(folder)[0]
    try:
        signing = serialization.load_pem_private_key((folder / _AUTHORITY_KEY).read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise CertificateProblem(f"{folder / _AUTHORITY_KEY}: is not a private key without passphrase") from error
    if not isinstance(signing, Key) or signing.public_key() != authority.public_key():
        raise CertificateProblem(f"{folder / _AUTHORITY_KEY}: is not the key of the first in {folder / AUTHORITY}")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = (
        _builder(subject, authority.subject, key.public_key(), datetime.now(UTC) - _SKEW, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA256())
    )
    (folder / name).mkdir(mode=0o755, exist_ok=True)
    _write(folder / name / AUTHORITY, (folder / AUTHORITY).read_bytes(), 0o644)
    _write(folder / name / KEY, _pem(key), 0o600)
    _write(folder / name / CERTIFICATE, made.public_bytes(serialization.Encoding.PEM), 0o644)
    return read(folder / name / CERTIFICATE)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, begins: datetime, days: int
) -> x509.CertificateBuilder:
    if not 1 <= days <= LONGEST_DAYS:
        raise CertificateProblem(f"--days {days}: allowed are 1 to {LONGEST_DAYS}")
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + _SKEW + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    """Return the key usage extension. Python 3.13 refuses an authority's certificate without this extension."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(text: str) -> str:
    """Return a host name in lower case, or an IP address in its usual short form.

    Raises CertificateProblem if the text is neither.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if _DNS.fullmatch(text):
            return text.lower()
        raise CertificateProblem(f"{text!r} is neither a host name nor an address") from None


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _known(path: Path) -> TlsCertificate | None:
    return read(path) if path.exists() else None


def _left(certificate: TlsCertificate) -> timedelta:
    return certificate.ends - datetime.now(UTC)


def _authorities(folder: Path) -> list[x509.Certificate]:
    return _parsed(folder / AUTHORITY)


def _authority_of(folder: Path, path: Path) -> int | None:
    """Return the index of the folder's authority that signed the certificate at ``path``; None if none of them did.

    The index 0 is the newest authority.
    """
    signed = _parsed(path)[0]
    return next((n for n, one in enumerate(_authorities(folder)) if _has_signed(one, signed)), None)


def _has_signed(authority: x509.Certificate, signed: x509.Certificate) -> bool:
    try:
        signed.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _parsed(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as error:
        raise CertificateProblem(f"{path}: is not a certificate in PEM") from error


def _believe(folder: Path, authorities: bytes) -> None:
    """Write ``authorities`` (PEM), which are trusted from now on, to ``ca.crt`` of the folder and of each process."""
    _write(folder / AUTHORITY, authorities, 0o644)
    for path in folder.glob(f"*/{AUTHORITY}"):
        _write(path, authorities, 0o644)


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file atomically, so that no reader sees a part of it."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), mode)
    new.replace(path)
