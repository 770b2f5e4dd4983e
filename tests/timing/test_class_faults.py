"""A class of sixty goes on while parts of the gateway are killed or away: the tests of ``tests/faults/test_class.py``,
with a limit for the seats' answers.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.test_class import (
    opened,
    test_no_seat_is_lost_when_a_part_is_killed,
    test_no_seat_is_lost_when_all_parts_are_killed_at_once_and_once_more,
    test_the_class_goes_on_without_the_workshops_service,
)
from tests.support.gateway import Gateway
from tests.support.open_class import OpenClass

__all__ = [
    "test_no_seat_is_lost_when_a_part_is_killed",
    "test_no_seat_is_lost_when_all_parts_are_killed_at_once_and_once_more",
    "test_the_class_goes_on_without_the_workshops_service",
]

pytestmark = [pytest.mark.long, pytest.mark.slurm, pytest.mark.root, pytest.mark.timeout(1500)]
ANSWER_SECONDS = 30.0  # from a kill until each seat answers


@pytest.fixture(scope="module")
def taught(class_gateway: Gateway, class_people: list[str]) -> Iterator[OpenClass]:
    with opened(class_gateway, class_people, ANSWER_SECONDS) as made:
        yield made
