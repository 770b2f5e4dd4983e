from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from factorycommon.models import AccessStatus, PersonBody
from factorylink.client import AcknowledgedPeople, LinkClient
from tests.unit.fake_link import FakeLink

GROUPS = PersonBody(groups=frozenset({"g"}), access=AccessStatus())
OTHERS = PersonBody(groups=frozenset({"h"}), access=AccessStatus())


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[FakeLink]:
    link = FakeLink(tmp_path / "link.sock")
    await link.up()
    yield link
    await link.down()


def sent(link: FakeLink) -> int:
    return sum(method == "PUT" for method, _ in link.asked)


async def test_a_person_whom_the_link_knows_is_sent_once(link: FakeLink) -> None:
    client = LinkClient(link.socket)
    async with aclosing(client.table()) as table:
        await anext(table)
        for _ in range(3):
            await client.put_person("ada", GROUPS)
        assert sent(link) == 1
        await client.put_person("ada", OTHERS)
        await client.put_person("ada", GROUPS)
        assert sent(link) == 3
        await client.put_access("ada", AccessStatus())
        await client.put_person("ada", GROUPS)
        assert sent(link) == 5
    await client.close()


async def test_a_person_is_sent_again_to_a_link_that_may_have_forgotten(link: FakeLink) -> None:
    client = LinkClient(link.socket)
    await client.put_person("ada", GROUPS)  # before the subscription
    async with aclosing(client.table()) as table:
        await anext(table)
        await client.put_person("ada", GROUPS)
        await client.put_person("ada", GROUPS)
        assert sent(link) == 2
    async with aclosing(client.table()) as table:
        await anext(table)
        await client.put_person("ada", GROUPS)
        assert sent(link) == 3
    await client.close()


@pytest.fixture
def people() -> AcknowledgedPeople:
    people = AcknowledgedPeople()
    people.forget(subscribed=True)
    return people


def test_nothing_is_certain_of_a_person_of_whom_two_things_were_sent_at_once(people: AcknowledgedPeople) -> None:
    with people.sending("ada", GROUPS):
        with people.sending("ada", OTHERS):
            assert not people.has("ada", GROUPS)
        assert not people.has("ada", OTHERS)
    assert not people.has("ada", GROUPS)
    assert not people.has("ada", OTHERS)
    with people.sending("ada", OTHERS):
        assert not people.has("ada", OTHERS)
    assert people.has("ada", OTHERS)


def test_nothing_is_certain_if_the_link_did_not_answer(people: AcknowledgedPeople) -> None:
    with pytest.raises(OSError, match="gone"), people.sending("ada", GROUPS):
        raise OSError("gone")
    assert not people.has("ada", GROUPS)


def test_nothing_is_certain_of_a_link_that_was_started_meanwhile(people: AcknowledgedPeople) -> None:
    with people.sending("ada", GROUPS):
        people.forget(subscribed=False)
        people.forget(subscribed=True)
    assert not people.has("ada", GROUPS)
