"""A class of sixty moves to plan B five minutes before it begins, since plan A does not answer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support import class_move
from tests.support.gateway import Gateway

pytestmark = [pytest.mark.long, pytest.mark.slurm, pytest.mark.root, pytest.mark.timeout(1500)]
AHEAD = timedelta(minutes=7)  # so that all seats are ready five minutes before the class
MOVED = 180.0  # seconds from the order until the last seat is ready at plan B


def test_sixty_seats_are_at_plan_b_within_three_minutes(class_gateway: Gateway, class_people: list[str]) -> None:
    moved = class_move.move(class_gateway, class_people, AHEAD)
    print(moved)
    assert moved.ready[-1] <= MOVED
