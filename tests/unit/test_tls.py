"""Mutual TLS between hub, link and proxy: who is accepted, and the replacement of certificates in a running process."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from tornado import web
from tornado.httpserver import HTTPServer

from factorycommon import tls
from factorycommon.link_errors import LinkSilent
from factorycommon.service_address import NetworkAddress
from factorycommon.tls import TlsError, TlsFiles, dialing, is_loopback_host, listening
from factorylink.client import LinkClient
from factoryoperator import certificates
from factoryoperator.certificates import CertificateProblem
from factoryoperator.cli import main


def files(folder: Path, name: str) -> TlsFiles:
    """Return certificate and key for a process of that name, signed by the folder's authority."""
    certificates.make(folder, name, [], 30)
    return of(folder / name)


def of(folder: Path) -> TlsFiles:
    return TlsFiles(certificate=folder / "tls.crt", key=folder / "tls.key", authority=folder / "ca.crt")


@asynccontextmanager
async def served(tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Run a server that greets its clients; yield its port."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"come in\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def greeting(port: int, tls: ssl.SSLContext | None, host: str = "127.0.0.1") -> str:
    """Return the server's greeting, "" if the server closes the connection first, or the class name of the error."""
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        writer.write(b"hello\n")  # a server without TLS in front would wait for a line
        said = await reader.readline()
        writer.close()
    except OSError as error:
        return type(error).__name__
    return said.decode().strip()


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return tmp_path / "ours"


async def test_only_the_names_that_are_allowed_are_let_in(ours: Path, tmp_path: Path) -> None:
    hub, proxy, stranger = files(ours, "hub"), files(ours, "proxy"), files(tmp_path / "other", "hub")
    nobody = ssl.create_default_context(cafile=hub.authority)
    async with served(listening(files(ours, "link"), ["hub"])) as port:
        assert await greeting(port, dialing(hub)) == "come in"
        for refused in (dialing(proxy), dialing(stranger), nobody, None):
            assert await greeting(port, refused) != "come in"
    async with served(listening(files(ours, "link"), None)) as port:
        assert await greeting(port, dialing(proxy)) == "come in"
        for refused in (dialing(stranger), nobody, None):
            assert await greeting(port, refused) != "come in"


async def test_a_certificate_with_two_names_has_none(ours: Path) -> None:
    certificates.make(ours, "hub", [], 30)
    twice = {"subject": ((("commonName", "hub"),), (("commonName", "proxy"),))}
    context = listening(of(ours / "hub"), ["hub"])._now  # type: ignore[attr-defined]
    context.check({"subject": ((("commonName", "hub"),),)})
    for peer in (twice, {}, None):
        with pytest.raises(ssl.SSLCertVerificationError):
            context.check(peer)


async def test_a_server_of_another_host_or_authority_is_not_believed(ours: Path, tmp_path: Path) -> None:
    hub = dialing(files(ours, "hub"))
    async with served(listening(files(tmp_path / "other", "link"), None)) as port:
        assert await greeting(port, hub) == "SSLCertVerificationError"
    link = files(ours, "link")
    async with served(listening(link, None)) as port:
        assert await greeting(port, hub, "localhost") == "come in"
        assert await greeting(port, hub, "127.0.0.2") in ("SSLCertVerificationError", "ConnectionRefusedError")


async def test_a_certificate_and_an_authority_are_replaced_while_it_runs(ours: Path) -> None:
    """Each connection uses the present files, so a client that was accepted once can be refused later."""
    hub, link = files(ours, "hub"), files(ours, "link")
    client, server = dialing(hub), listening(link, ["hub"])
    old = {path: path.read_bytes() for path in (hub.certificate, hub.key, hub.authority)}
    async with served(server) as port:
        assert await greeting(port, client) == "come in"
        certificates.new_authority(ours)
        assert await greeting(port, client) == "come in"
        assert {made.name for made in certificates.renew(ours, timedelta(days=1), 30)} == {"hub", "link"}
        assert await greeting(port, client) == "come in"
        certificates.drop_old(ours)
        assert await greeting(port, client) == "come in"
        for path, content in old.items():  # as if somebody had kept the old files
            path.write_bytes(content)
        assert await greeting(port, client) != "come in"


async def test_a_half_written_pair_changes_nothing(ours: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    hub, link = files(ours, "hub"), files(ours, "link")
    client, server, key = dialing(hub), listening(link, ["hub"]), link.key.read_bytes()
    async with served(server) as port:
        certificates.renew(ours, None, 30)
        new = link.key.read_bytes()
        for content in (key, b"", None):
            link.key.unlink()
            if content is not None:
                link.key.write_bytes(content)
                link.key.chmod(0o600)
            assert await greeting(port, client) == "come in"
            assert "The last good certificate stays in use" in caplog.text
        link.key.write_bytes(new)
        link.key.chmod(0o600)
        assert await greeting(port, client) == "come in"
        assert f"{link.certificate} has been read again" in caplog.text


async def test_a_new_key_is_used_as_soon_as_its_mode_is_mended(ours: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    hub, link = files(ours, "hub"), files(ours, "link")
    client, server = dialing(hub), listening(link, ["hub"])
    async with served(server) as port:
        certificates.renew(ours, None, 30)
        link.key.chmod(0o644)
        assert await greeting(port, client) == "come in"
        assert f"run chmod 600 {link.key}" in caplog.text
        assert f"{link.certificate} has been read again" not in caplog.text
        link.key.chmod(0o600)
        assert await greeting(port, client) == "come in"
        assert f"{link.certificate} has been read again" in caplog.text


def test_unusable_files_are_explained(ours: Path) -> None:
    link, other = files(ours, "link"), files(ours, "hub")
    with pytest.raises(TlsError, match=r"hub/tls.key: is not the key of .*link/tls.crt"):
        dialing(TlsFiles(certificate=link.certificate, key=other.key, authority=link.authority))
    with pytest.raises(TlsError, match="nowhere: No such file"):
        dialing(TlsFiles(certificate=link.certificate, key=link.key, authority=ours / "nowhere"))
    with pytest.raises(TlsError, match=r"tls.key: cannot be read as authority in PEM"):
        dialing(TlsFiles(certificate=link.certificate, key=link.key, authority=link.key))
    link.key.chmod(0o640)
    with pytest.raises(TlsError, match="others may read this key: run chmod 600"):
        dialing(link)


async def test_a_client_whose_files_are_unusable_says_that_the_link_is_silent(ours: Path) -> None:
    link = files(ours, "link")
    link.key.chmod(0o640)
    client = LinkClient(NetworkAddress("https://localhost:1", link))
    with pytest.raises(LinkSilent, match="others may read this key"):
        await client.session("a" * 32)
    await client.close()


def test_the_folder_of_certificates(ours: Path) -> None:
    made = certificates.make(ours, "link", ["Link.Example.org", "10.1.2.3"], 30)
    assert made is not None
    assert (made.name, made.hosts[:2]) == ("link", ("link.example.org", "localhost"))
    assert set(made.hosts) == {"link.example.org", "localhost", "10.1.2.3", "127.0.0.1", "::1"}
    assert [os.stat(ours / name).st_mode & 0o777 for name in ("ca.key", "link/tls.key")] == [0o600, 0o600]
    assert certificates.make(ours, "link", ["10.1.2.3", "link.example.org"], 30) is None
    assert certificates.make(ours, "link", ["10.1.2.4"], 30) is not None
    assert certificates.renew(ours, timedelta(days=29), 30) == []
    assert [one.hosts for one in certificates.renew(ours, timedelta(days=31), 30)] == [
        ("localhost", "10.1.2.4", "127.0.0.1", "::1")
    ]
    for name, hosts, days in (("Link", [], 30), ("../x", [], 30), ("link", ["a b"], 30), ("link", [], 4000)):
        with pytest.raises(CertificateProblem):
            certificates.make(ours, name, hosts, days)
    certificates.new_authority(ours)
    with pytest.raises(CertificateProblem, match="certificates renew first"):
        certificates.drop_old(ours)


def test_an_empty_folder_is_said_to_have_no_certificates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (("--all",), ("--within", "10"), ()):
        assert main(["certificates", "renew", str(tmp_path), *options]) == 0
        assert capsys.readouterr().out == f"{tmp_path} has no certificates.\n"
    certificates.make(tmp_path, "link", [], 90)
    assert main(["certificates", "renew", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"None of {tmp_path} ends within 30 days.\n"


@pytest.mark.parametrize(
    ("host", "here"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("link", False)]
)
def test_is_loopback_host(host: str, here: bool) -> None:
    assert is_loopback_host(host) is here


async def test_a_server_of_tornado_drops_who_does_not_finish_a_handshake(
    ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is like the hub's: clients that finished the handshake stay connected, and those that send nothing are
    dropped."""
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 60.0)

    class Page(web.RequestHandler):
        def get(self) -> None:
            self.finish("come in")

    server = HTTPServer(web.Application([("/", Page)]), ssl_options=listening(files(ours, "hub"), ["proxy"]))
    server.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    proxy = await asyncio.open_connection("127.0.0.1", port, ssl=dialing(files(ours, "proxy")))
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 1.0)
    strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
    async with asyncio.timeout(60):
        assert [await reader.read() for reader, _ in strangers] == [b""] * 50
    proxy[1].write(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
    assert await proxy[0].readline() == b"HTTP/1.1 200 OK\r\n"
    for _, writer in (proxy, *strangers):
        writer.transport.abort()
    server.stop()
    await server.close_all_connections()
