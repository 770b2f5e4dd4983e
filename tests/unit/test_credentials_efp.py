"""The client of the EuroHPC Federation Platform's SSH CA, with a stand-in for the CA.

``StandInCa`` follows the public description of the platform and of the CA's software (see
``factorylink.credentials.efp``); the platform itself was never tried. ``ssh-keygen`` signs its certificates.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import asyncssh
import pytest
from pydantic import ValidationError

from factorylink.config import EfpCredentials
from factorylink.credentials.efp import NEVER, FederationAuthority, grants, read_certificate
from factorylink.errors import Expired, Misread, Refused, Unreachable

TOKEN = "eyJ-a-token-of-ada"
PRINCIPAL = "0123@myaccessid.org"
RENEW = "https://my-eurohpc.example/token"


class StandInCa(ThreadingHTTPServer):
    """A stand-in for the platform's SSH CA; its name says that it proves nothing about the real one."""

    def __init__(self, folder):
        self.folder, self.asked = folder, []
        self.tokens, self.hosts, self.validity, self.status = {TOKEN}, ["*.lumi.example"], "-1m:+10h", 200
        self.body = None
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "ca"], check=True)
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/efp"

    def sign(self, public):
        (self.folder / "key.pub").write_text(public)
        grant = json.dumps(self.hosts, separators=(",", ":"))
        options = ["-O", f"extension:ssh-domain-grant@core.aai.geant.org={grant}"] if self.hosts is not None else []
        subprocess.run(
            ["ssh-keygen", "-q", "-s", self.folder / "ca", "-I", PRINCIPAL, "-n", PRINCIPAL, "-z", "7",
             "-V", self.validity, *options, self.folder / "key.pub"],
            check=True,
        )  # fmt: skip
        return (self.folder / "key-cert.pub").read_bytes()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, told))
        status, body = self.server.status, b"unknown resource"
        if status == 200 and told["OTT"] not in self.server.tokens:
            status, body = 500 if self.server.body == "500" else 400, f"bad token {told['OTT']}".encode()
        elif status == 200:
            body = self.server.body if self.server.body is not None else self.server.sign(told["PublicKey"])
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Clock:
    def __init__(self):
        self.offset = 0.0

    def __call__(self):
        return datetime.now(UTC).timestamp() + self.offset


@pytest.fixture
def ca(tmp_path):
    server = StandInCa(tmp_path)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def watcher_key(tmp_path):
    path = tmp_path / "watcher"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
    path.chmod(0o600)
    return path


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def federation(ca, watcher_key, clock):
    settings = EfpCredentials(url=ca.url, resource="lumi", renew_url=RENEW, watcher_key=watcher_key)
    return FederationAuthority(settings, "watch", ["login.lumi.example:2222"], clock=clock)


async def test_a_token_buys_a_certificate(federation, ca):
    until = await federation.renew("ada", TOKEN)
    login = await federation.login("ada")
    assert login.username == "ada"
    assert login.key_id == f"{PRINCIPAL} serial 7"
    assert login.expires == until == federation.valid_until("ada")
    assert abs(until.timestamp() - datetime.now(UTC).timestamp() - 10 * 3600) < 120  # as the certificate says
    path, told = ca.asked[0]
    assert path == "/efp/sign"
    assert told["Resource"] == "lumi"
    assert told["PublicKey"].split()[1] == login.key.export_public_key().decode().split()[1]
    assert login.certificate.export_certificate() is not None


async def test_a_certificate_for_ever(federation, ca):
    ca.validity = "always:forever"
    assert (await federation.renew("ada", TOKEN)).year == 9999
    assert (await federation.login("ada")).username == "ada"


def test_a_token_goes_nowhere_in_the_clear(watcher_key):
    with pytest.raises(ValidationError, match="url"):
        EfpCredentials(url="http://ca.example.org/", renew_url=RENEW, watcher_key=watcher_key)


async def test_without_a_token_the_message_says_where_to_get_one(federation):
    assert federation.valid_until("ada") == NEVER
    with pytest.raises(Expired, match=RENEW):
        await federation.login("ada")


async def test_the_watcher_has_its_own_key_and_needs_nobody(federation, ca):
    login = await federation.login(None)
    assert (login.username, login.certificate, login.expires) == ("watch", None, None)
    assert federation.valid_until(None) is None
    assert ca.asked == []


async def test_a_persons_certificate_is_not_used_for_others(federation):
    await federation.renew("ada", TOKEN)
    with pytest.raises(Expired):
        await federation.login("grace")


async def test_renewed_before_use_while_the_token_works(federation, ca, clock):
    ca.validity = "-1m:+1h"
    await federation.renew("ada", TOKEN)
    first = await federation.login("ada")
    assert await federation.login("ada") is first
    clock.offset = 42 * 60
    ca.validity = "-1m:+3h"
    second = await federation.login("ada")
    assert second.key.get_fingerprint() != first.key.get_fingerprint()
    assert second.expires > first.expires


async def test_a_token_that_no_longer_works_leaves_what_it_bought(federation, ca, clock):
    ca.validity = "-1m:+1h"
    await federation.renew("ada", TOKEN)
    first = await federation.login("ada")
    ca.tokens.clear()
    clock.offset = 42 * 60
    assert await federation.login("ada") is first
    assert await federation.login("ada") is first
    assert len(ca.asked) == 2  # a token is tried again once, not repeatedly
    clock.offset = 61 * 60
    with pytest.raises(Expired, match="is over"):
        await federation.login("ada")


async def test_a_ca_that_is_away_leaves_what_there_is(federation, ca, clock):
    ca.validity = "-1m:+1h"
    await federation.renew("ada", TOKEN)
    first = await federation.login("ada")
    ca.status = 503
    clock.offset = 42 * 60
    assert await federation.login("ada") is first
    with pytest.raises(Unreachable):
        await federation.renew("ada", TOKEN)


@pytest.mark.parametrize("answer", [302, 404, 408, 429, 503, b"<html>Back at noon</html>", "clock"])
async def test_an_answer_that_says_nothing_about_the_token_leaves_it(federation, ca, clock, answer):
    """The next renewal tries the same token again, though not at each login."""
    ca.validity = "-1m:+1h"
    await federation.renew("ada", TOKEN)
    first = await federation.login("ada")
    if answer == "clock":
        ca.validity = "+2h:+3h"
    elif isinstance(answer, bytes):
        ca.body = answer
    else:
        ca.status = answer
    clock.offset = 42 * 60
    assert await federation.login("ada") is first
    assert await federation.login("ada") is first
    assert len(ca.asked) == 2
    ca.status, ca.body, ca.validity = 200, None, "-1m:+3h"
    clock.offset = 44 * 60
    assert await federation.login("ada") is not first
    assert len(ca.asked) == 3


async def test_a_ca_that_does_not_answer_is_unreachable(ca, watcher_key):
    settings = EfpCredentials(url="http://127.0.0.1:9", renew_url=RENEW, watcher_key=watcher_key)
    with pytest.raises(Unreachable):
        await FederationAuthority(settings, "watch", ["x"]).renew("ada", TOKEN)


async def test_a_bad_token_is_refused_and_never_repeated(federation, ca, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Refused) as caught:
        await federation.renew("ada", "secret-but-wrong")
    assert RENEW in caught.value.message
    await federation.renew("ada", TOKEN)
    assert "secret-but-wrong" not in caught.value.message + caplog.text
    assert TOKEN not in caplog.text + repr(federation._held)


async def test_a_certificate_for_other_hosts(federation, ca):
    ca.hosts = ["*.leonardo.example"]
    with pytest.raises(Refused, match="not for this factory"):
        await federation.renew("ada", TOKEN)


@pytest.mark.parametrize("granted", [["2001:db8::1"], ["2001:db8::2"]])
async def test_a_certificate_for_a_host_with_an_ipv6_address(ca, watcher_key, clock, granted):
    settings = EfpCredentials(url=ca.url, resource="lumi", renew_url=RENEW, watcher_key=watcher_key)
    federation = FederationAuthority(settings, "watch", ["2001:db8::1"], clock=clock)
    ca.hosts = granted
    if granted == ["2001:db8::1"]:
        await federation.renew("ada", TOKEN)
    else:
        with pytest.raises(Refused, match="not for this factory"):
            await federation.renew("ada", TOKEN)


async def test_a_certificate_without_a_grant_is_the_sites_to_judge(federation, ca):
    ca.hosts = None
    await federation.renew("ada", TOKEN)


@pytest.mark.parametrize("validity", ["-2h:-1h", "+1h:+2h"])
async def test_a_certificate_that_is_not_valid_now(federation, ca, validity):
    ca.validity = validity
    with pytest.raises(Misread, match="not valid now"):
        await federation.renew("ada", TOKEN)


@pytest.mark.parametrize("body", [b"", b"hello", b"ssh-ed25519-cert-v01@openssh.com AAAA", b"x" * 100_000])
async def test_an_answer_that_is_no_certificate(federation, ca, body):
    ca.body = body
    with pytest.raises(Misread):
        await federation.renew("ada", TOKEN)


async def test_a_certificate_for_another_key(federation, ca):
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    ca.body = await asyncio.to_thread(ca.sign, other)
    with pytest.raises(Misread, match="not for the key"):
        await federation.renew("ada", TOKEN)


def test_a_host_certificate_is_none(tmp_path):
    key = asyncssh.generate_private_key("ssh-ed25519")
    made = key.generate_host_certificate(key, "host", principals=["login.lumi.example"])
    with pytest.raises(Misread):
        read_certificate(made.export_certificate().decode(), key)


@pytest.mark.parametrize(
    ("pattern", "host", "granted"),
    [
        ("login.example.org", "login.example.org", True),
        ("Login.Example.org", "login.example.org", True),
        ("*.example.org", "a.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "a.b.example.org", False),
        ("prod-*.example.org", "prod-.example.org", False),
        (".*", "anything", False),
    ],
)
def test_patterns_of_a_grant(pattern, host, granted):
    assert grants([pattern], host) is granted
