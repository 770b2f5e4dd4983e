"""Sixty robots take the seats of a class at the same time, as in its rehearsal, and all of them come up."""

from __future__ import annotations

import pytest

from factorycommon.models import robot_names
from tests.support.gateway import Gateway, eventually
from tests.support.workshop_class import Service, body
from workshops.models.rehearsal import RehearsalBody, RehearsalView

pytestmark = [pytest.mark.long, pytest.mark.slurm, pytest.mark.root, pytest.mark.timeout(1500)]
ROBOTS = 60
OVER_SECONDS = 1200.0  # the window of such a rehearsal


def test_sixty_robots_come_up_stay_and_end(class_gateway: Gateway) -> None:
    service = Service(class_gateway)
    where = {"factory": "it4lia", "size": "gpu-1"}
    slug = service.scheduled(body(title="Sixty robots", seats=ROBOTS, gpu_hours=60, places=[where]))
    try:
        eventually(lambda: service.ask("rehearsals", slug).places[0].costs, what="the link knows the workshop")
        service.ask("rehearse", slug, RehearsalBody(kind="wave"))

        def over() -> RehearsalView | None:
            found: RehearsalView | None = service.ask("rehearsals", slug).places[0].wave
            return None if found is None or found.running else found

        done = eventually(over, OVER_SECONDS, 2, "the rehearsal is over")
        assert done is not None
        print(done.wave)
        assert done.wave is not None
        assert (done.wave.up, done.wave.halted, done.seats) == (ROBOTS, False, ()), done.lines
        assert done.colour in ("green", "yellow")  # yellow: the class warms up for a shorter time
        robots = robot_names(slug, ROBOTS)
        eventually(
            lambda: not [one for one in class_gateway.everybody() if one["user"] in robots], 180, 1, "no robot is left"
        )
    finally:
        service.ask("take", slug, "cancel")
