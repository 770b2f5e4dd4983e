"""Ends all people's sessions after each test of the pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateway import Gateway


@pytest.fixture(autouse=True)
def no_sessions(gateway: Gateway) -> Iterator[None]:
    yield
    end_sessions(gateway)


def end_sessions(gateway: Gateway) -> None:
    """End the sessions of all people, and remove their named servers."""
    for user in gateway.passwords:
        for session in gateway.sessions(user):
            if session["state"] != "ended":
                gateway.stopped(user, session["server"])
        for server in gateway.api("GET", f"/users/{user}", params={"include_stopped_servers": ""}).json()["servers"]:
            if server:  # a stopped server keeps its name, which counts against the limit
                gateway.stop(user, server, remove=True)
