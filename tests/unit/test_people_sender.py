from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from factorycommon.models import AccessStatus, PersonBody
from factorylink.client import LinkClient, LinkSilent, PeopleSender
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


class Requests:
    """Requests to a link that answers when it is told to."""

    def __init__(self) -> None:
        self.people = PeopleSender()
        self.people.forget(subscribed=True)
        self.sent: list[asyncio.Future[None]] = []

    async def send(self) -> None:
        self.sent.append(asyncio.get_running_loop().create_future())
        await self.sent[-1]

    def put(self, person: PersonBody) -> asyncio.Task[None]:
        return asyncio.create_task(self.people.put("ada", person, self.send))

    async def until_sent(self, count: int) -> None:
        """Wait until this number of requests has begun, and everything that is ready to run has run."""
        while len(self.sent) < count:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(self.sent) == count


async def test_the_same_data_for_several_starts_at_once_are_sent_once() -> None:
    requests = Requests()
    starts = [requests.put(GROUPS) for _ in range(5)]
    await requests.until_sent(1)
    starts.append(requests.put(GROUPS))
    await requests.until_sent(1)
    assert not any(start.done() for start in starts)
    requests.sent[0].set_result(None)
    await asyncio.gather(*starts)
    await requests.put(GROUPS)
    assert len(requests.sent) == 1


async def test_all_starts_that_share_a_request_learn_that_it_failed() -> None:
    requests = Requests()
    starts = [requests.put(GROUPS) for _ in range(3)]
    await requests.until_sent(1)
    requests.sent[0].set_exception(LinkSilent("gone"))
    assert [type(one) for one in await asyncio.gather(*starts, return_exceptions=True)] == [LinkSilent] * 3
    again = requests.put(GROUPS)
    await requests.until_sent(2)
    requests.sent[1].set_result(None)
    await again


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_nothing_is_certain_of_a_person_of_whom_two_things_were_sent_at_once(order: tuple[int, int]) -> None:
    requests = Requests()
    starts = [requests.put(GROUPS), requests.put(OTHERS)]
    await requests.until_sent(2)
    third = requests.put(GROUPS)  # it is sent, since the link may take in the second one last
    await requests.until_sent(3)
    for number in (*order, 2):
        requests.sent[number].set_result(None)
    await asyncio.gather(*starts, third)
    last = requests.put(GROUPS)
    await requests.until_sent(4)
    requests.sent[3].set_result(None)
    await last
    await requests.put(GROUPS)
    assert len(requests.sent) == 4


async def test_nothing_is_certain_of_a_link_that_was_started_meanwhile() -> None:
    requests = Requests()
    start = requests.put(GROUPS)
    await requests.until_sent(1)
    requests.people.forget(subscribed=False)
    requests.people.forget(subscribed=True)
    requests.sent[0].set_result(None)
    await start
    again = requests.put(GROUPS)
    await requests.until_sent(2)
    requests.sent[1].set_result(None)
    await again


async def test_a_start_that_is_given_up_takes_no_other_along() -> None:
    requests = Requests()
    given_up, stays = requests.put(GROUPS), requests.put(GROUPS)
    await requests.until_sent(1)
    given_up.cancel()
    requests.sent[0].set_result(None)
    await stays
    assert given_up.cancelled()
