"""``factorygate check`` for hub and link on separate hosts: mistakes in their certificates are explained."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from factorycommon.tls import TlsFiles, listening
from factoryoperator import certificates
from tests.unit.test_check import Configured
from tests.unit.test_check_workshops import add_workshops
from tests.unit.test_tls import of

Seed = Callable[[Configured], Any]
HUB_FILES = "tls: {certificate: tls/hub/tls.crt, key: tls/hub/tls.key, authority: tls/hub/ca.crt}"


@pytest.fixture
def separate(tmp_path: Path) -> Configured:
    """Write a gateway's files, with certificates for hub and link on separate hosts; return the configuration."""
    made = Configured(tmp_path)
    for name in ("hub", "link", "proxy"):
        certificates.make(tmp_path / "tls", name, [made.host], 60)
    hub, link = (tmp_path / "hub.yaml").read_text(), (tmp_path / "link.yaml").read_text()
    for port in (8081, 8090, 8001):
        hub = hub.replace(f"http://{made.host}:{port}", f"https://{made.host}:{port}")
    hub = hub.replace("link_socket: link.sock", f"link: {{url: 'https://{made.host}:8443'}}")
    made.write("hub.yaml", f"{hub}{HUB_FILES}\n")
    more = (
        HUB_FILES.replace("/hub/", "/link/"),
        f"hub_listener: {{host: {made.host}, port: 8443}}",
        f"sessions: {{listen_host: {made.host}}}",
        f"metrics: {{host: {made.host}, port: 9099, tls: true}}",
    )
    made.write("link.yaml", "\n".join((link.replace("url: http:", "url: https:").strip(), *more, "")))
    return made


def said(separate: Configured, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    code = separate.check(*options)
    lines = capsys.readouterr().out.splitlines()
    wrong = [line.removeprefix(f"WRONG {separate.folder}/") for line in lines if line.startswith("WRONG")]
    assert (code == 1) == bool(wrong), lines
    return wrong


def test_right_certificates_are_no_mistake(separate: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(separate, capsys, "--offline") == []


class Past(datetime):
    """A ``datetime`` class for which the present time is a hundred days ago."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Past:
        return super().now(tz) - timedelta(days=100)


def expired(separate: Configured) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "datetime", Past)
        certificates.renew(separate.folder / "tls", None, 60)


def of_others(separate: Configured) -> None:
    certificates.make(separate.folder / "theirs", "hub", [separate.host], 60)
    for name in ("tls.crt", "tls.key"):
        shutil.copy(separate.folder / "theirs" / "hub" / name, separate.folder / "tls" / "hub" / name)


MISTAKES: list[Any] = [
    pytest.param(
        lambda one: (one.folder / "tls/hub/tls.key").chmod(0o640),
        "hub.yaml", "tls", "tls/hub/tls.key: others may read this key: run chmod 600", id="a key that others may read",
    ),
    pytest.param(
        lambda one: (one.folder / "tls/link/tls.key").unlink(),
        "link.yaml", "tls", "tls/link/tls.key: No such file", id="a key that is missing",
    ),
    pytest.param(
        lambda one: one.change("hub.yaml", "tls/hub/tls.key", "tls/proxy/tls.key"),
        "hub.yaml", "tls", "tls/proxy/tls.key: is not the key of .*tls/hub/tls.crt", id="a key of another",
    ),
    pytest.param(
        lambda one: certificates.renew(one.folder / "tls", None, 5),
        "link.yaml", "tls.certificate", "ends in 4 days: run factorygate certificates renew", id="an end that is near",
    ),
    pytest.param(expired, "hub.yaml", "tls.certificate", "would be refused: certificate has expired", id="an end"),
    pytest.param(
        of_others,
        "hub.yaml", "tls.certificate", "would be refused: unable to get local issuer", id="another authority",
    ),
    pytest.param(
        of_others,
        "link.yaml", "tls.authority", "has no authority that signed .*tls/hub/tls.crt", id="an authority of one side",
    ),
    pytest.param(
        lambda one: one.write("hub.yaml", (one.folder / "hub.yaml").read_text().replace("tls/hub/", "tls/proxy/")),
        "hub.yaml", "tls.certificate", "has the name 'proxy': the others let in hub only", id="a wrong name",
    ),
    pytest.param(
        lambda one: one.change("link.yaml", "sessions: {", "sessions: {advertise: link.example.org, "),
        "link.yaml", "tls.certificate", "is not for link.example.org, where others dial", id="another host",
    ),
    pytest.param(
        lambda one: one.change("link.yaml", "port: 8443", "port: 8444"),
        "hub.yaml", "link.url", r"8443, but .*link.yaml:[0-9]+: hub_listener.port is 8444", id="another port",
    ),
    pytest.param(
        lambda one: one.change("link.yaml", "state_dir: link", "state_dir: link\nkey_dir: link"),
        "link.yaml", "key_dir", "link/link_ed25519: is missing, and the link makes none", id="a key that others keep",
    ),
    pytest.param(
        lambda one: one.change("hub.yaml", "hub_url: https", "hub_url: http"),
        "hub.yaml", "hub_url", "must be https", id="an address in the clear",
    ),
    pytest.param(
        lambda one: one.change("link.yaml", "\ntls: {", "\n# tls: {"),
        "link.yaml", "hub_listener", "needs tls", id="a listener for anybody",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seed", "file", "key", "words"), MISTAKES)
def test_a_mistake_is_told_with_file_and_line(
    separate: Configured, capsys: pytest.CaptureFixture[str], seed: Seed, file: str, key: str, words: str
) -> None:
    seed(separate)
    wrong = said(separate, capsys, "--offline")
    assert any(re.match(rf"{file}:[0-9]+: {key}: .*{words}", line) for line in wrong), wrong


def test_the_authority_of_the_workshops_service_is_compared(
    separate: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    host = separate.host
    certificates.make(separate.folder / "tls", "workshops", [host], 60)
    add_workshops(separate)
    separate.change(
        "hub.yaml", "socket: workshops.sock, url: 'http:", f"hub_api_url: 'https://{host}:8444', url: 'https:"
    )
    text = (separate.folder / "workshops.yaml").read_text().replace("http:", "https:", 1)
    files = HUB_FILES.replace("/hub/", "/workshops/")
    separate.write("workshops.yaml", f"{text}{files}\nhub_listener: {{host: {host}, port: 8444}}\n")
    assert said(separate, capsys, "--offline") == []
    certificates.make(separate.folder / "theirs", "workshops", [host], 60)
    separate.change("workshops.yaml", "tls: {certificate: tls/", "tls: {certificate: theirs/")
    separate.change("workshops.yaml", "key: tls/", "key: theirs/")
    separate.change("workshops.yaml", "authority: tls/", "authority: theirs/")
    hubs, services = sorted(said(separate, capsys, "--offline"))
    assert re.match(r"hub.yaml:[0-9]+: tls.authority: .* no authority that signed .*theirs/workshops/tls.crt", hubs)
    assert re.match(r"workshops.yaml:[0-9]+: tls.authority: .* no authority that signed .*tls/hub/tls.crt", services)


@contextlib.contextmanager
def peer(files: TlsFiles, names: list[str] | None, address: tuple[str, int]) -> Iterator[None]:
    """Run a TLS server at ``address``, which stands for a link, in a thread: it answers each request with 404.

    ``names``: the common names of the clients that it accepts; None: all that the authority certifies.
    """
    context, server = listening(files, names), socket.create_server(address)

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = server.accept()
                with contextlib.suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as line:
                    line.recv(1000)
                    line.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def test_a_peer_is_looked_at_over_the_network(
    separate: Configured, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    certificates.make(tmp_path / "theirs", "link", [separate.host], 60)
    ours, theirs = of(tmp_path / "tls" / "link"), of(tmp_path / "theirs" / "link")
    for files, names, words in (
        (theirs, None, "cannot be trusted: "),
        (ours, ["proxy"], "does not take our certificate"),
        (ours, ["hub"], ""),
    ):
        with peer(files, names, (separate.host, 8443)):
            wrong = [line for line in said(separate, capsys) if line.startswith("hub.yaml:5: link: ")]
        assert len(wrong) == bool(words), wrong
        assert all(words in line for line in wrong), wrong
