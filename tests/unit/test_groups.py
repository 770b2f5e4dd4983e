"""The people who may use a site's reservations, and the questions for an account's groups."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from factorycommon.models import Reservation
from factorylink.errors import Misread, Refused, Unreachable
from factorylink.schedulers.command import Output
from factorylink.site import unix_groups
from factorylink.site.site import Site
from tests.unit.site_fakes import FakeTransport


def course(**chosen: tuple[str, ...]) -> Reservation:
    now = datetime.now(UTC)
    return Reservation(id="c", name="c", start=now - timedelta(hours=1), end=now + timedelta(hours=1), **chosen)


async def test_a_reservation_is_for_the_account_that_pays(site: Site) -> None:
    site.load_poller.reservations = [course(accounts=("p1",))]
    assert [one.id for one in site.reservations("alice", "p1")] == ["c"]
    assert site.reservations("alice", "p2") == site.reservations("alice", None) == ()


async def test_an_accounts_groups_are_asked_for_once(
    site: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_groups, "PACE", 0.01)
    monkeypatch.setattr(unix_groups, "PATIENCE", 30.0)
    transport.answers["reservations"] = [course(groups=("school",))]
    transport.answers["groups"] = {"alice": frozenset({"users", "school"})}
    await site.start()
    async with asyncio.timeout(30):
        while not site.load_poller.reservations:
            await asyncio.sleep(0)
    assert site.reservations("alice", None) == ()  # not known yet
    assert site.reservations("bob", None) == ()
    await transport.until(lambda: transport.asked.count("groups") == 2)
    assert [one.id for one in await site.reservations_now("alice", None)] == ["c"]
    assert await site.reservations_now("bob", None) == ()
    assert [who for kind, who in transport.asked_as if kind == "groups"] == [None, None]  # asked once, as the watcher


async def test_a_start_waits_a_moment_to_be_told_the_groups(
    site: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_groups, "PATIENCE", 30.0)
    site.load_poller.reservations = [course(groups=("school",))]
    transport.answers["groups"] = frozenset({"school"})
    assert [one.id for one in await site.reservations_now("alice", None)] == ["c"]
    monkeypatch.setattr(unix_groups, "PATIENCE", 0.05)
    transport.answers["groups"] = None  # no answer
    assert await site.reservations_now("bob", None) == ()


async def test_groups_that_the_site_does_not_tell_are_none_and_asked_for_again_later(
    site: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_groups, "PATIENCE", 30.0)
    site.load_poller.reservations = [course(groups=("school",))]
    transport.answers["groups"] = Refused("id only of an account on the site's list")
    for _ in range(2):
        assert await site.reservations_now("alice", None) == ()
    assert transport.count("groups") == 1
    monkeypatch.setattr(unix_groups, "AGAIN", -1.0)
    await site.reservations_now("bob", None)
    transport.answers["groups"] = frozenset({"school"})
    assert await site.reservations_now("bob", None) != ()


def test_the_output_of_id_is_parsed() -> None:
    ask = unix_groups.question("alice")
    assert ask.argv == ("id", "-Gnz", "--", "alice")
    assert ask.parse(Output("users\0domain users\0", "", 0)) == {"users", "domain users"}
    for cut in ("", "users", "users\0domain us"):
        with pytest.raises(Misread):
            ask.parse(Output(cut, "", 0))
    with pytest.raises(Refused, match="no such user"):
        ask.parse(Output("", "id: 'alice': no such user", 1))
    with pytest.raises(Unreachable, match="signal"):  # nobody has refused it
        ask.parse(Output("", "", -9))
