"""The seats of a workshop on a real Slurm: they run, and the hub shows them as ready, before their people come."""

from __future__ import annotations

import time

import pytest

from tests.support import class_move
from tests.support.gateway import Gateway, eventually
from tests.support.workshop_class import READY_SECONDS, SEATS, Service, body, stop
from workshops.models.seats import SeatingView

pytestmark = pytest.mark.slurm


def test_all_seats_run_and_open_at_once_before_the_class(gateway: Gateway) -> None:
    service, people = Service(gateway), [gateway.make_user() for _ in range(SEATS)]
    slug = service.scheduled(body())
    for person in people:
        service.ask("put_member", slug, person, "participant")
    begun = time.monotonic()
    try:
        service.ask("take", slug, "warm")

        def is_begun() -> bool:
            return any(seat.session for seat in service.ask("seating", slug).seats)

        eventually(is_begun, READY_SECONDS, what="the first wave is asked for")
        seating: SeatingView = service.ask("seating", slug)
        service.kill()  # what was asked for is neither lost nor doubled
        assert seating.halted is None
        for person in people:
            eventually(
                lambda p=person: (gateway.server(p) or {}).get("ready"),  # type: ignore[misc]
                READY_SECONDS,
                what=f"the hub has the seat of {person}",
            )
        assert time.monotonic() - begun < READY_SECONDS
        live = [one for one in gateway.everybody() if one["user"] in people]
        assert sorted(one["user"] for one in live) == sorted(people)
        assert {one["choice"]["project"] for one in live} == {f"workshop-{slug}"}
        for person in people:  # nobody has opened a page before: it is there at once
            came = time.monotonic()
            assert gateway.notebook(person).request("GET", "/api/status").status_code == 200
            assert gateway.notebook(person).request("GET", "/lab").status_code == 200
            assert time.monotonic() - came < 10
        seen: SeatingView = service.ask("seating", slug)
        assert {seat.state for seat in seen.seats} <= {"running", "begun"}
    finally:
        service.ask("take", slug, "close")
        stop(gateway, people)


def test_a_class_moves_to_plan_b_while_plan_a_is_cut(gateway: Gateway) -> None:
    moved = class_move.move(gateway, [gateway.make_user() for _ in range(2)])
    print(moved)
    assert moved.ready[-1] < READY_SECONDS
