"""A class goes on while hub, link, proxy and workshops service are killed: every seat keeps its job and its kernel.

While the workshops service does not run, the class goes on, even if the link restarts meanwhile.
``tests/timing/test_class_faults.py`` runs these tests with a class of sixty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Literal

import pytest

from tests.support.gateway import Gateway, eventually
from tests.support.open_class import PARTS, TRAINER, OpenClass
from tests.support.workshop_class import SEATS

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]
ANSWER_SECONDS = 120.0  # also on a machine with much other work


@pytest.fixture(scope="module")
def taught(gateway: Gateway) -> Iterator[OpenClass]:
    with opened(gateway, [gateway.make_user() for _ in range(SEATS)], ANSWER_SECONDS) as made:
        yield made


@contextmanager
def opened(gateway: Gateway, people: Sequence[str], answer_seconds: float) -> Iterator[OpenClass]:
    """Run a class during the block; yield the class.

    ``answer_seconds``: the seconds after a kill until each seat must answer.
    """
    made = OpenClass(gateway, people, answer_seconds)
    try:
        made.begin()
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("part", PARTS)
def test_no_seat_is_lost_when_a_part_is_killed(taught: OpenClass, part: str) -> None:
    took = taught.goes_on(since=taught.kill(part))
    print(f"{part}: each of {len(taught.seats)} seats has answered {took:.1f} s after the kill")
    taught.wait_back()
    taught.shows_its_seats()


def test_no_seat_is_lost_when_all_parts_are_killed_at_once_and_once_more(taught: OpenClass) -> None:
    taught.kill(*PARTS)
    took = taught.goes_on(since=taught.kill(*PARTS))  # while they are being started
    print(f"all parts, twice: each of {len(taught.seats)} seats has answered {took:.1f} s after the second kill")
    taught.wait_back()
    taught.shows_its_seats()


@pytest.mark.parametrize("how", ["gone", "silent"])
def test_the_class_goes_on_without_the_workshops_service(taught: OpenClass, how: Literal["gone", "silent"]) -> None:
    taught.wait_back()
    with taught.without_service(how):
        taught.goes_on()
        took = taught.goes_on(since=taught.kill("link"))  # a new link knows the class from what the service wrote last
        print(f"link, without the service: each of {len(taught.seats)} seats has answered after {took:.1f} s")
        eventually(taught.are_parts_back, 90, what="hub and link answer")
        taught.start_again(taught.seats[-1])  # people may also come back to their seat
        taught.goes_on()
        with closing(taught.gateway.browser_session(TRAINER)) as trainer:
            page = trainer.get(f"{taught.gateway.hub}/workshops/{taught.slug}/room")
        assert page.status_code == 503
        assert "The service for workshops does not answer just now. Classes go on" in page.text
    taught.wait_back()
    taught.shows_its_seats()
    taught.goes_on()
    assert taught.state == "open"
