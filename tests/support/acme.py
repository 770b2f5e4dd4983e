"""An ACME server (pebble) in a machine's network, with a DNS server that returns the machine's
address for every name."""

from __future__ import annotations

import datetime
import json
import ssl
import time
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from testbed.install import system
from tests.support.vm import ADDRESS, PATIENCE, Vm

_DNS_PORT = 8053
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME of the tests")])


class Acme:
    """A running ACME server.

    ``directory``: its URL; ``root``: the path in the machine of the CA certificate that verifies the server's own
    certificate.
    """

    directory = "https://127.0.0.1:14000/dir"
    root = "/root/acme-root.pem"

    def __init__(self, vm: Vm, folder: Path) -> None:
        self._vm = vm
        folder.mkdir()
        _certificate(folder)
        config = {
            "pebble": {
                "listenAddress": "127.0.0.1:14000",
                "managementListenAddress": "127.0.0.1:15000",
                "certificate": str(folder / "certificate.pem"),
                "privateKey": str(folder / "key.pem"),
                "httpPort": 80,
                "tlsPort": 443,
            }
        }
        (folder / "config.json").write_text(json.dumps(config))
        (vm.root / self.root.lstrip("/")).write_bytes((folder / "certificate.pem").read_bytes())
        vm.beside(
            *(system.program("pebble-challtestsrv"), "-dns01", f"127.0.0.1:{_DNS_PORT}", "-defaultIPv4", ADDRESS),
            *("-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""),
        )
        vm.beside(
            *(system.program("pebble"), "-config", str(folder / "config.json"), "-dnsserver", f"127.0.0.1:{_DNS_PORT}"),
            PEBBLE_VA_NOSLEEP="1",
        )

    def trust(self) -> None:
        """Make the machine trust the certificates that this server issues, like those of a public CA."""
        read = (
            f"import ssl, urllib.request as r; c = ssl.create_default_context(cafile={self.root!r})\n"
            "print(r.urlopen('https://127.0.0.1:15000/roots/0', context=c).read().decode())"
        )
        deadline = time.monotonic() + PATIENCE
        while (said := self._vm.run("python3", "-c", read, check=False)).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(f"pebble does not answer: {said.stderr}")
            time.sleep(0.1)
        root = self._vm.root / "usr/local/share/ca-certificates/issued.crt"
        root.parent.mkdir(parents=True, exist_ok=True)
        root.write_text(said.stdout)
        self._vm.run("update-ca-certificates")

    def context(self) -> ssl.SSLContext:
        """Return the SSL context of a client that trusts the certificates which this server issues.

        Call ``trust`` first.
        """
        return ssl.create_default_context(cafile=str(self._vm.root / "usr/local/share/ca-certificates/issued.crt"))


def _certificate(folder: Path) -> None:
    """Write a self-signed certificate for 127.0.0.1, and its private key, into ``folder``.

    The files are ``certificate.pem`` and ``key.pem``.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, True, True, False, False),
            critical=True,
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
