"""The gateway cannot resolve a node's name.

The waiting person gets an explanation, and running sessions are not lost.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.faults.test_kill import kill
from tests.support.gateway import Gateway, eventually

FACTORY = "brainpp"


@pytest.fixture
def nameless(gateway: Gateway) -> Iterator[Gateway]:
    """Make the link connect to a name that does not resolve, as if a site's nodes were not in the gateway's DNS."""
    file = gateway.path.parent / "link.yaml"
    was = file.read_text()
    config = yaml.safe_load(was)
    config["factories"][FACTORY].setdefault("door", {})["host"] = "gpu001.site.invalid"
    file.write_text(yaml.safe_dump(config))
    kill(gateway, "link")
    try:
        yield gateway
    finally:
        file.write_text(was)
        kill(gateway, "link")


def test_a_name_that_does_not_resolve_is_told_at_once(nameless: Gateway) -> None:
    gateway, user = nameless, nameless.make_user()
    assert gateway.start(user, "n", factory=FACTORY, size="gpu-1", hours=0.5).status_code == 202
    try:
        # The hub can answer before the link has the session.
        eventually(lambda: gateway.session(user, "n"), what="the link has the session")

        def reason() -> str:
            session = gateway.session(user, "n") or {}
            assert session.get("state") in ("pending", "starting")
            # from the job's start, this explanation is shown without interruption, except while the door is being
            # opened
            waits = session.get("waits_for") or {}
            return str(waits.get("code", "")) if session["state"] == "starting" else ""

        assert eventually(reason, 60, every=0.05, what="it says why") == "node-name"
        messages = (event["message"] for event in gateway.progress(user, "n"))
        assert "cannot resolve the name of its node" in next(text for text in messages if "its node" in text)
    finally:
        gateway.stopped(user, "n")
