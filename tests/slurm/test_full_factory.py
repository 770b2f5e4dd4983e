"""A full factory: a session waits, shows the reason and its position, can be cancelled, and starts by itself."""

from __future__ import annotations

from typing import Any

from tests.support.gateway import Gateway, eventually


def test_a_full_factory_waits_says_why_and_starts_by_itself(gateway: Gateway) -> None:
    factory = gateway.factories["it4lia"]
    user = gateway.make_user()
    nodes = int(factory.ask("sinfo", "-h", "-o", "%D").split()[0])
    holders = [f"hold{n}" for n in range(nodes)]
    try:
        for name in holders:
            gateway.start(user, name, factory="it4lia", size="gpu-4", hours=0.5)
        for name in holders:
            gateway.wait_ready(user, name)
        assert gateway.start(user, "waits", factory="it4lia", size="gpu-1", hours=0.5).status_code == 202
        assert gateway.start(user, "leaves", factory="it4lia", size="gpu-1", hours=0.5).status_code == 202

        def explained() -> dict[str, Any] | None:
            session = gateway.session(user, "waits")
            if not session or not session["job"] or not session["position"] or not session["waits_for"]:
                return None
            return session if session["waits_for"]["scheduler"] in ("Resources", "Priority") else None

        session = eventually(explained, 60, what="position and reason")
        assert session is not None and session["state"] == "pending"
        assert session["waits_for"]["what"]

        leaving = gateway.wait_session(user, "leaves", "pending")
        gateway.stopped(user, "leaves")
        eventually(lambda: leaving["job"] not in factory.jobs(), what="the cancelled job is gone")
        assert session["job"] in factory.jobs()

        gateway.stop(user, holders[0])
        gateway.wait_ready(user, "waits")
        again = gateway.session(user, "waits")
        assert again is not None and again["job"] == session["job"]
    finally:
        for name in [*holders, "waits", "leaves"]:
            gateway.stop(user, name)
        for name in [*holders, "waits", "leaves"]:
            eventually(lambda n=name: gateway.session(user, n) is None)  # type: ignore[misc]
