"""A node whose name leads nowhere from the gateway: the waiting person is told why, and what runs is not lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.faults.test_kill import kill
from tests.support.gateway import Gateway, eventually

FACTORY = "brainpp"


@pytest.fixture
def nameless(gateway: Gateway) -> Iterator[Gateway]:
    """The link dials a name that does not resolve, as it does where a site's nodes are not in the gateway's DNS."""
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

        def reason() -> str:
            session = gateway.session(user, "n") or {}
            assert session.get("state") in ("pending", "starting")
            # from the moment that the job runs nothing else is said, but for the time that the door takes to open
            waits = session.get("waits_for") or {}
            return str(waits.get("code", "")) if session["state"] == "starting" else ""

        assert eventually(reason, 60, every=0.05, what="it says why") == "node-name"
        messages = (event["message"] for event in gateway.progress(user, "n"))
        assert "cannot resolve the name of its node" in next(text for text in messages if "its node" in text)
    finally:
        gateway.stopped(user, "n")
