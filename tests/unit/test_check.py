"""``factorygate check``: each mistake in a gateway's configuration is explained, with file, line and key."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import os
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from factoryoperator import check_network, check_secrets
from factoryoperator.cli import main
from factoryspawner.config.hub_config import HubConfigError
from factoryspawner.login.password_file import write_passwords
from tests.unit.test_catalogue import GOOD

HUB = """\
public_url: http://{host}:8000
hub_url: http://{host}:8081
proxy_api_url: http://{host}:8001
proxy_token_file: proxy-token
link_socket: link.sock
link_url: http://{host}:8090
service_token_file: service-token
db_file: hub/jupyterhub.sqlite
cookie_secret_file: hub/cookie_secret
passwords_file: passwords.json
admin_token_file: admin-token
extra_config: extra.py
"""
LINK = """\
catalogue: factories
state_dir: link
socket: link.sock
listen_host: {host}
session_ports: [20000, 20999]
hub:
  url: http://{host}:8081
  token_file: service-token
projects: projects.yaml
factories:
  here:
    account_pool: [fg1]
  there:
    accounts: {{ada: a00ada}}
    transport:
      kind: ssh
      hosts: [localhost]
      host_keys: [{host_key}]
      watcher: fgwatch
      credentials: {{kind: ca, key: site-ca}}
"""
PROJECTS = """\
projects:
  - id: EHPC-1
    title: One
    members: [ada]
    factories:
      here: {}
"""
PROXY_ENV = "# of the proxy's unit\nCONFIGPROXY_AUTH_TOKEN={proxy}\n"


class Configured:
    """A folder with a gateway's whole configuration, which is correct until a test changes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # A loopback address of this process only, so that no other program listens there.
        self.host = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.7"
        self.token = {name: secrets.token_hex(32) for name in ("proxy", "service", "admin")}
        for name in ("hub", "link", "factories"):
            (folder / name).mkdir(mode=0o700)
        host_key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
        self.write("hub.yaml", HUB.format(host=self.host))
        self.write("link.yaml", LINK.format(host=self.host, host_key=host_key))
        self.write("projects.yaml", PROJECTS)
        self.write("proxy.env", PROXY_ENV.format(**self.token))
        self.write("restore-routes.header", f"Authorization: token {self.token['admin']}\n")
        self.write("extra.py", "c.FactorySpawner.req_qos = 'normal'\n")
        for name in ("here", "there"):
            self.write(f"factories/{name}.yaml", GOOD.replace("id: here", f"id: {name}", 1))
        for name, token in self.token.items():
            self.write(f"{name}-token", f"{token}\n")
        self.write("site-ca", asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())
        self.write("link/hmac.key", secrets.token_hex(32))
        self.write("hub/cookie_secret", secrets.token_hex(32))
        write_passwords(folder / "passwords.json", {"ada": "secret"})

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o600)

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new, 1))

    def check(self, *options: str) -> int:
        files = ("--hub", str(self.folder / "hub.yaml"), "--link", str(self.folder / "link.yaml"))
        return main(["check", *files, *options])


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    return Configured(tmp_path)


@pytest.fixture(autouse=True)
def ephemeral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the check read Linux's default range of ephemeral ports, whatever range this machine uses."""
    (tmp_path / "ip_local_port_range").write_text("32768\t60999\n")
    monkeypatch.setattr(check_network, "_EPHEMERAL", tmp_path / "ip_local_port_range")


def test_a_right_configuration_has_no_mistake(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    code = configured.check("--offline")
    said = capsys.readouterr().out
    assert (code, "WRONG" in said) == (0, False), said
    assert said.endswith("Nothing is wrong.\n")
    assert not any(token in said for token in configured.token.values())


Seed = Callable[[Configured], Any]


def changed(name: str, old: str, new: str) -> Seed:
    return lambda configured: configured.change(name, old, new)


def mode(name: str, bits: int) -> Seed:
    return lambda configured: (configured.folder / name).chmod(bits)


def gone(name: str) -> Seed:
    return lambda configured: (configured.folder / name).unlink()


MISTAKES: list[Any] = [
    pytest.param(
        changed("hub.yaml", "link_socket:", "link_scoket:"),
        "hub.yaml:5: link_scoket", "unknown key; allowed: .*; did you mean link_socket?", id="hub: unknown key",
    ),
    pytest.param(
        changed("hub.yaml", "hub_url: http", "hub_url: htp"),
        "hub.yaml:2: hub_url", "is not an address such as http://127.0.0.1:8001", id="hub: no address",
    ),
    pytest.param(
        changed("hub.yaml", "extra.py\n", "extra.py\nlogin: [\n"),
        "hub.yaml:14", "not valid YAML: ", id="hub: no YAML",
    ),
    pytest.param(
        changed("hub.yaml", "extra.py\n", "extra.py\ncatalogue: elsewhere\n"),
        "hub.yaml:13: catalogue", "elsewhere is no folder; it is the `catalogue` of link.yaml", id="hub: no catalogue",
    ),
    pytest.param(
        lambda configured: (configured.change("hub.yaml", "extra.py\n", "extra.py\ncatalogue: factories\n"),
                            configured.write("antennas.yaml", "antennas: [{id: x}]\n")),
        "antennas.yaml:1: antennas.x.name", "is missing", id="hub: antennas",
    ),
    pytest.param(
        changed("extra.py", "= 'normal'", "== normal'"),
        "extra.py:1", "is not Python: ", id="hub: extra_config",
    ),
    pytest.param(
        changed("link.yaml", "[20000, 20999]", "[20999, 20000]"),
        "link.yaml:5: session_ports", "is no range; allowed: the lowest port, then the highest", id="link: no range",
    ),
    pytest.param(
        changed("link.yaml", "  there:", "  nowhere:"),
        "link.yaml:13: factories.nowhere", "not in .*; allowed: here, there", id="link: factory unknown",
    ),
    pytest.param(
        changed("factories/here.yaml", "partition: gpu, max_hours", "partition: gpus, max_hours"),
        "factories/here.yaml:15: sizes.gpu-2.partition", "gpus", id="catalogue: partition unknown",
    ),
    pytest.param(
        changed("factories/there.yaml", "state: live", "state: template"),
        "link.yaml:13: factories.there", "its catalogue entry is a 'template', confirmed by nobody", id="not agreed",
    ),
    pytest.param(
        changed("projects.yaml", "here: {}", "elsewhere: {}"),
        "projects.yaml:6: projects.EHPC-1.factories.elsewhere",
        "not in the catalogue; allowed: here, there", id="projects: factory unknown",
    ),
    pytest.param(
        mode("admin-token", 0o644),
        "hub.yaml:11: admin_token_file", "must be 0600, is 0644: run chmod 600 ", id="token: others may read it",
    ),
    pytest.param(
        gone("service-token"),
        "link.yaml:8: hub.token_file", "No such file or directory", id="token: is missing",
    ),
    pytest.param(
        lambda configured: (configured.write("other", "x" * 32), configured.change(
            "link.yaml", "token_file: service-token", "token_file: other")),
        "hub.yaml:7: service_token_file",
        r"the token differs from that of .*link.yaml:8: hub.token_file", id="token: differs on both sides",
    ),
    pytest.param(
        changed("proxy.env", "AUTH_TOKEN=", "AUTH_TOKEN=no"),
        "proxy.env:2: CONFIGPROXY_AUTH_TOKEN",
        r"differs from the token of .*hub.yaml:4: proxy_token_file", id="token: differs at the proxy",
    ),
    pytest.param(
        mode("proxy.env", 0o644),
        "proxy.env", "must be 0600, is 0644: run chmod 600 ", id="token: others may read the proxy's",
    ),
    pytest.param(
        mode("site-ca", 0o640),
        "link.yaml:15: factories.there.transport", r"may be used by others \(mode 0640\)", id="key: others may use it",
    ),
    pytest.param(
        lambda configured: configured.write("link/hmac.key", "not a key"),
        "link.yaml:2: state_dir", "hmac.key: is not a key of this link", id="key: hmac.key is none",
    ),
    pytest.param(
        changed("link.yaml", "      host_keys: ", "      host_cas: []  # "),
        "link.yaml:15: factories.there.transport", "no host key is pinned", id="key: no host key",
    ),
    pytest.param(
        changed("hub.yaml", "db_file:", "base_url: /gateway/\ndb_file:"),
        "hub.yaml:8: base_url", r"is /gateway/, but .*link.yaml:6: hub.base_url is /", id="sides: base_url",
    ),
    pytest.param(
        changed("link.yaml", "  token_file:", "  public_url: https://x.example\n  token_file:"),
        "link.yaml:8: hub.public_url",
        r"is https://x.example, but .*hub.yaml:1: public_url is http://127", id="sides: public_url",
    ),
    pytest.param(
        changed("hub.yaml", "link_socket: link.sock", "link_socket: other.sock"),
        "hub.yaml:5: link_socket", "other.sock, but .*link.yaml:3: socket is ", id="sides: socket",
    ),
    pytest.param(
        changed("link.yaml", "[20000, 20999]", "[30000, 33000]"),
        "link.yaml:5: session_ports", "meets the ephemeral ports 32768 to 60999", id="ports: ephemeral",
    ),
    pytest.param(
        lambda configured: configured.change("link.yaml", "session_ports:", "listen_port: 8001\nsession_ports:"),
        "link.yaml:5: listen_port",
        r"is also that of the proxy's API \(.*hub.yaml:3: proxy_api_url\)", id="ports: twice",
    ),
    pytest.param(
        changed("link.yaml", "hosts: [localhost]", "hosts: [login.site.invalid:2222]"),
        "link.yaml:17: factories.there.transport.hosts",
        "the name login.site.invalid does not resolve on this machine", id="DNS",
    ),
    pytest.param(
        lambda configured: (configured.folder / "hub" / "cookie_secret").write_text("short"),
        "hub.yaml:9: cookie_secret_file", "is not a secret of JupyterHub's", id="cookie_secret",
    ),
]  # fmt: skip


@pytest.mark.parametrize("name", ["proxy.env", "restore-routes.header"])
def test_a_file_of_the_proxy_that_a_backup_cannot_read_is_told(
    configured: Configured, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """systemd reads these files as root, but the hub's account, which makes backups, cannot read files of root."""
    read = check_secrets.read_secret

    def refuse(path: Path) -> str:
        if path.name == name:
            raise HubConfigError(f"{path}: Permission denied")
        return read(path)

    monkeypatch.setattr(check_secrets, "read_secret", refuse)
    assert configured.check("--offline") == 1
    said = capsys.readouterr().out
    assert f"WRONG {configured.folder / name}: Permission denied: it must belong to the account of the hub" in said


@pytest.mark.parametrize(("seed", "where", "said"), MISTAKES)
def test_a_mistake_is_told_with_file_and_line(
    configured: Configured, capsys: pytest.CaptureFixture[str], seed: Seed, where: str, said: str
) -> None:
    assert configured.check("--offline") == 0
    capsys.readouterr()
    seed(configured)
    network = () if "resolve" in said else ("--offline",)
    assert configured.check(*network) == 1
    lines = capsys.readouterr().out.splitlines()
    wrong = [line.removeprefix(f"WRONG {configured.folder}/") for line in lines if line.startswith("WRONG")]
    found = [line for line in wrong if line.startswith(f"{where}: ")]
    assert found, lines
    assert any(re.search(said, line) for line in found), found
    assert not any(token in line for line in lines for token in configured.token.values())
    assert "Traceback" not in "\n".join(lines)


def test_at_least_fifteen_mistakes_are_tested() -> None:
    assert len(MISTAKES) >= 15


def test_another_program_on_a_port_is_told(
    configured: Configured, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factoryoperator.check_network.SECONDS", 1.0)  # the other program never answers
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((configured.host, 8081))
        other.listen()
        assert configured.check("--offline") == 1
    said = capsys.readouterr().out
    assert f"WRONG {configured.folder}/hub.yaml:2: hub_url: port 8081 of {configured.host}" in said


def test_half_a_gateway_is_looked_at_alone(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--offline", "--link", str(configured.folder / "link.yaml")]) == 0
    assert "is not there, so this machine's other half is looked at alone" in capsys.readouterr().out


@pytest.mark.root
def test_root_looks_as_the_links_own_account(configured: Configured) -> None:
    (configured.folder).chmod(0o755)
    for path in (configured.folder, *configured.folder.rglob("*")):
        os.chown(path, 65534, 65534)
    os.chown(configured.folder / "admin-token", 0, 0)  # the link's account cannot read it
    for folder in configured.folder.parents[:3]:
        folder.chmod(folder.stat().st_mode | 0o011)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os._exit(configured.check("--offline") + 10)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 11


# --- certificates and clocks


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers with a ``Date`` header that is ``ahead`` of the real time."""

    ahead = datetime.timedelta()

    def do_HEAD(self) -> None:
        self.send_response_only(204)
        self.send_header("Date", format_datetime(datetime.datetime.now(datetime.UTC) + self.ahead, usegmt=True))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def https(folder: Path, days: int, name: str = "localhost", ahead: float = 0) -> Iterator[int]:
    """Serve https with a certificate that ends in ``days``, signed by a CA in ``folder``/ca.pem; yield the port.

    ``name``: the host name in the certificate; ``ahead``: how many seconds the server's clock is ahead.
    """
    now, ca_key = datetime.datetime.now(datetime.UTC), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA of a test")])

    def signed(subject: x509.Name, key: Any, ends: datetime.datetime, ca: bool) -> x509.Certificate:
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
             "decipher_only"), False)  # fmt: skip
        made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - datetime.timedelta(days=90)).not_valid_after(ends)
        made = made.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True).add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=ca, crl_sign=ca, **usage), critical=True
        )
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        if not ca:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return made.sign(ca_key, hashes.SHA256())

    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    (folder / "ca.pem").write_bytes(signed(issuer, ca_key, now + datetime.timedelta(days=90), True).public_bytes(pem))
    own = signed(subject, key, now + datetime.timedelta(days=days, hours=1), False).public_bytes(pem)
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(own + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    handler = type("Clock", (Answer,), {"ahead": datetime.timedelta(seconds=ahead)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("days", "name", "ahead", "said"),
    [
        (60, "localhost", 0, None),
        (-2, "localhost", 0, "the certificate of localhost cannot be trusted: certificate has expired"),
        (60, "other.example", 0, "the certificate of localhost cannot be trusted: Hostname mismatch"),
        (5, "localhost", 0, "the certificate of localhost ends in 5 days"),
        (60, "localhost", 3600, r"this machine's clock is 3[56]\d\d s behind that of localhost"),
        (60, "localhost", -7200, r"this machine's clock is 7\d\d\d s ahead of that of localhost"),
    ],
)
def test_certificates_and_clocks(
    configured: Configured, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    days: int, name: str, ahead: float, said: str | None,
) -> None:  # fmt: skip
    with https(configured.folder, days, name, ahead) as port:
        monkeypatch.setenv("SSL_CERT_FILE", str(configured.folder / "ca.pem"))
        configured.change("hub.yaml", f"http://{configured.host}:8000", f"https://localhost:{port}")
        code = configured.check()
    wrong = [line for line in capsys.readouterr().out.splitlines() if "WRONG" in line and "port " not in line]
    if said is None:
        assert not wrong
        return
    assert code == 1
    assert [line for line in wrong if re.search(rf"hub.yaml:1: public_url: {said}", line)], wrong


def test_a_certificate_that_nobody_trusts_is_told(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    with https(configured.folder, 60) as port:
        configured.change("hub.yaml", f"http://{configured.host}:8000", f"https://localhost:{port}")
        assert configured.check() == 1
    assert "hub.yaml:1: public_url: the certificate of localhost cannot be trusted: " in capsys.readouterr().out
