"""Mails about sessions that run, sent to a small real mail server."""

from __future__ import annotations

import asyncio
import logging
import smtplib
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factorycommon.mail import SmtpServer, letter, plain_address, send
from factorycommon.models import JobState
from factorylink.config import Mail
from factorylink.sessions.mail import address_of
from tests.support.door import until
from tests.support.smtp import sink
from tests.unit.fake_factory import ID, World


async def world_with_mail(folder: Path, port: int) -> World:
    world = World(folder)
    mail = Mail(
        smtp_host="127.0.0.1",
        smtp_port=port,
        sender="factories@example.org",
        domain="example.org",
        public_url="https://hub.example.org/",
    )
    world.config = world.config.model_copy(update={"mail": mail})
    return await world.up()


async def runs(world: World, waited: float, user: str = "ada", server: str = "") -> None:
    """Run a session that waited in the queue for that many seconds."""
    session = await world.put(user=user, server=server)
    assert session.job is not None
    world.scheduler.runs(session.job)
    world.scheduler.set(session.job, started=datetime.now(UTC) + timedelta(seconds=waited))
    await world.scheduler.answer()
    world.door_says(phase="up", environment=True)
    await world.until(state="running")


async def test_a_person_gets_one_mail_when_a_session_that_waited_runs(tmp_path: Path) -> None:
    async with sink() as server:
        world = await world_with_mail(tmp_path, server.port)
        await runs(world, 2 * 3600 + 300, server="big one")
        await until(lambda: server.letters)
        [(recipients, letter)] = server.letters
        assert recipients == ["ada@example.org"]
        assert (letter["To"], letter["From"]) == ("ada@example.org", "factories@example.org")
        assert letter["Subject"] == "Your session at m is running"
        words = letter.get_content().replace("\r\n", "\n")
        assert "It waited 2 h 5 min in the queue." in words
        assert "Open it: https://hub.example.org/user/ada/big%20one/\n" in words
        assert "token" not in words

        # The site requeues the job, and it runs again: the person was already notified.
        world.scheduler.set("1", state=JobState.PENDING, nodes=(), started=None, restarts=1)
        await world.scheduler.answer()
        await world.until(state="pending")
        world.scheduler.runs("1", "n2", restarts=1)
        world.scheduler.set("1", started=datetime.now(UTC) + timedelta(hours=3))
        await world.scheduler.answer()
        world.door_says(phase="up", environment=True)
        await world.until(state="running", node="n2")
        await asyncio.sleep(0.2)
        assert len(server.letters) == 1
        await world.down()


async def test_a_person_who_waited_only_a_moment_gets_no_mail(tmp_path: Path) -> None:
    async with sink() as server:
        world = await world_with_mail(tmp_path, server.port)
        await runs(world, 1)
        await asyncio.sleep(0.2)
        assert not server.letters
        await world.down()


@pytest.mark.parametrize(
    ("user", "address"),
    [
        ("ada", "ada@example.org"),
        ("Ada@elsewhere.eu", "Ada@elsewhere.eu"),  # a name that is already an address
        ("o'neill+gpu@cs.uni-x.eu", "o'neill+gpu@cs.uni-x.eu"),
    ],
)
async def test_a_mail_goes_to_the_person(tmp_path: Path, user: str, address: str) -> None:
    async with sink() as server:
        world = await world_with_mail(tmp_path, server.port)
        await runs(world, 90, user=user)
        await until(lambda: server.letters)
        [(recipients, letter)] = server.letters
        assert recipients == [address]
        assert letter["To"] == address
        await world.down()


@pytest.mark.parametrize(
    "user",
    [
        "a, b@elsewhere.org",
        "a,b",
        "ada lovelace",
        '"ada"@elsewhere.org',
        "ada@elsewhere.org@example.org",
        "ada@elsewhere.org>,<eve@evil.example",
        "ada@elsewhere.org\nBcc: eve@evil.example",
        "ada\r\nBcc: eve@evil.example",
        "ada@elsewhere.org\x0bx",
        "ada@elsewhere.org\u2028x",
        "ada@[127.0.0.1]",
        "ada(comment)@elsewhere.org",
        "ada;eve",
        "@elsewhere.org",
        "ada@",
        "ada.@elsewhere.org",
        "äda@elsewhere.org",
        "a" * 255,
    ],
)
def test_a_name_that_is_no_plain_address_gets_into_no_header(user: str) -> None:
    with pytest.raises(ValueError, match="is no plain address"):
        address_of(user, "example.org")


async def test_a_person_without_a_plain_name_gets_no_mail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with sink() as server:
        world = await world_with_mail(tmp_path, server.port)
        with caplog.at_level(logging.WARNING):
            await runs(world, 90, user='a", b@elsewhere.org')
        assert f"No mail about session {ID}" in caplog.text
        assert not server.letters
        await world.down()


async def test_a_mail_server_that_is_gone_or_silent_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("factorylink.sessions.mail.SERVER_SECONDS", 0.3)
    with socket.socket() as silent, caplog.at_level(logging.WARNING):
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        world = await world_with_mail(tmp_path, silent.getsockname()[1])
        await runs(world, 90)
        await until(lambda: f"The mail about session {ID} could not be sent" in caplog.text)
        assert (await world.session()).reachable
        await world.down()


def test_a_mail_server_s_password_does_not_travel_in_clear_text() -> None:
    login = {"user": "gateway", "password_file": "/nowhere"}
    with pytest.raises(ValueError, match="a login needs starttls or tls"):
        SmtpServer.model_validate({"host": "mail.example.org", "security": "none", **login})
    with pytest.raises(ValueError, match="give both or none"):
        SmtpServer.model_validate({"host": "mail.example.org", "user": "gateway"})
    assert SmtpServer.model_validate({"host": "mail.example.org", **login}).encryption == "starttls"
    assert SmtpServer(host="127.0.0.1").encryption == "none"


async def test_a_server_that_does_not_encrypt_gets_no_mail() -> None:
    async with sink() as server:
        wanted = SmtpServer(host="127.0.0.1", port=server.port, security="starttls")
        mail = letter("a@example.org", plain_address("ada", "example.org"), "S", "T", "example.org")
        with pytest.raises(smtplib.SMTPException):
            await asyncio.to_thread(send, mail, wanted)
        assert not server.letters
