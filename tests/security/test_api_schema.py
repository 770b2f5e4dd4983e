"""The link's apps obey their OpenAPI descriptions for any request, and no request crashes them.

schemathesis sends valid and invalid requests of every kind for each operation of the hub's app and of the user app; to
the user app, as each kind of caller: a person, a session with its own token, a service, and nobody. A cluster is no
caller, since its scheduler's job gets no token. Behind each app is a fake factory, as in the unit tests; the HTTP is
real.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import settings
from schemathesis import Case
from schemathesis.config import SchemathesisConfig

from factorylink.api.hub import hub_app
from factorylink.api.user import user_app
from factorylink.background.hub_recovery import HubRecovery
from factorylink.hub_client import HubClient
from tests.unit.fake_factory import ID, OTHER, World
from tests.unit.fake_hub import FakeHub, cluster
from tests.unit.serving import mocked, serving

CLUSTER = "c" * 32
# Half of the values exist in the fake world; the others are any that the description allows, or forbids.
WORDS = {
    "session_id": [ID, OTHER],
    "cluster_id": [CLUSTER],
    "factory_id": ["one"],
    "size": ["gpu-1"],
    "hours": [1],
    "user": ["ada", "ben"],
}
CONFIG = {
    "request-timeout": 60,  # seconds; a busy machine may need more than the 10 that are the default
    "dictionaries": {name: {"values": values} for name, values in WORDS.items()},
    "parameters": {
        f"{where}.{name}": {"dictionary": name, "probability": 0.5} for name in WORDS for where in ("path", "query")
    },
    # Valid in form; the catalogue decides whether the size exists and may be used.
    "checks": {"positive_data_acceptance": {"expected-statuses": [200, 201, 202, 204, 400, 401, 403, 404, 409]}},
}
SESSION = ("/sessions/{session_id}", "/services/factories/api/sessions/{session_id}")
ENDS = {"method": "DELETE", "path_regex": "/clusters/"}  # runs last, since the other requests need a live cluster
few = settings(max_examples=20, deadline=None, derandomize=True)
fewer = settings(max_examples=3, deadline=None, derandomize=True)  # for callers without any permission
TOKENS = {"person": "ada-token", "session": "token-of-ada-", "service": "service-token", "nobody": "nobody-s"}


def described(app: FastAPI, config: dict[str, Any]) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_dict(app.openapi(), config=SchemathesisConfig.from_dict(config))


# Their answers do not depend on the world.
hub_side = described(mocked(hub_app), CONFIG)


def people_side(caller: str) -> schemathesis.BaseSchema:
    auth = {"auth": {"openapi": {"HTTPBearer": {"bearer": TOKENS[caller]}}}}
    return described(mocked(user_app, base_url="/"), CONFIG | auth)


by_person, by_session = people_side("person"), people_side("session")
by_service, by_nobody = people_side("service"), people_side("nobody")


class Served:
    """The link's hub app and user app over one fake world, in a separate thread and event loop.

    ``hub``, ``user``: the addresses of the two apps.
    """

    def __init__(self) -> None:
        self.hub = self.user = ""
        self.statuses: dict[str, set[int]] = {}  # the statuses of each operation's answers
        self._folder = tempfile.TemporaryDirectory()
        self._up, self._over = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._up.wait(60)

    async def _serve(self) -> None:
        folder = Path(self._folder.name)
        async with AsyncExitStack() as stack:
            world = await World(folder).up()
            stack.push_async_callback(world.down)
            (folder / "token").write_text("service-token\n")
            fake = FakeHub()
            assert fake.session_token("ada") == TOKENS["session"]
            url = await stack.enter_async_context(serving(fake.app))
            hub = HubClient(world.config.hub.model_copy(update={"url": url}))
            stack.push_async_callback(hub.close)
            await world.running(ID)
            await world.put(OTHER, "ben")
            await world.clusters.put(CLUSTER, "ada", cluster("mine"))
            world.feed.close()  # streams end after the snapshot
            hub_side = world.parts.hub_app(HubRecovery(world.live_sessions, hub))
            user_side = world.parts.user_app(world.parts.callers(hub), "/")
            self.hub = await stack.enter_async_context(serving(hub_side))
            self.user = await stack.enter_async_context(serving(user_side))
            self._up.set()
            await self._over.wait()

    def note(self, case: Case, status: int) -> None:
        self.statuses.setdefault(case.operation.label, set()).add(status)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(60)
        self._loop.close()
        self._folder.cleanup()


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    with pytest.MonkeyPatch.context() as patch:
        # A session asks for help as often as this machine manages in a minute.
        patch.setattr("factorylink.sessions.help_relay.MOST_A_MINUTE", 10**6)
        made = Worlds()
        yield made
        made.close()


class Worlds:
    """A world for each kind of caller, since some requests change the world for later ones."""

    def __init__(self) -> None:
        self._made: dict[str, Served] = {}

    def __getitem__(self, caller: str) -> Served:
        if caller not in self._made:
            self._made[caller] = Served()
        return self._made[caller]

    def ask(self, caller: str, case: Case) -> int:
        """Send the request and check the answer; return its status."""
        served = self[caller]
        address = served.hub if caller == "operator" else served.user
        status = case.call_and_validate(base_url=address).status_code
        served.note(case, status)
        return status

    def statuses(self) -> dict[str, set[int]]:
        """Return the statuses of each operation's answers to any caller."""
        found: dict[str, set[int]] = {}
        for served in self._made.values():
            for name, statuses in served.statuses.items():
                found.setdefault(name, set()).update(statuses)
        return found

    def close(self) -> None:
        for served in self._made.values():
            served.close()


@hub_side.exclude(**ENDS).parametrize()
@few
def test_the_hub_and_the_operator(case: Case, worlds: Worlds) -> None:
    worlds.ask("operator", case)


@hub_side.include(**ENDS).parametrize()
@few
def test_the_hub_ends_clusters(case: Case, worlds: Worlds) -> None:
    worlds.ask("operator", case)


@by_person.exclude(**ENDS).parametrize()
@few
def test_a_person(case: Case, worlds: Worlds) -> None:
    worlds.ask("person", case)


@by_person.include(**ENDS).parametrize()
@few
def test_a_person_ends_clusters(case: Case, worlds: Worlds) -> None:
    worlds.ask("person", case)


@by_session.exclude(**ENDS).parametrize()
@few
def test_a_session(case: Case, worlds: Worlds) -> None:
    worlds.ask("session", case)


@by_session.include(**ENDS).parametrize()
@few
def test_a_session_ends_clusters(case: Case, worlds: Worlds) -> None:
    worlds.ask("session", case)


@by_service.parametrize()
@fewer
def test_a_service(case: Case, worlds: Worlds) -> None:
    assert worlds.ask("service", case) >= 400 or case.operation.path.endswith("/health")


@by_nobody.parametrize()
@fewer
def test_requests_without_a_token_obey_the_schema(case: Case, worlds: Worlds) -> None:
    assert worlds.ask("nobody", case) >= 400 or case.operation.path.endswith("/health")


def test_each_operation_was_asked_rightly_too(worlds: Worlds) -> None:
    never = {name for name, statuses in worlds.statuses().items() if min(statuses) >= 300}
    extend = {f"POST {path}/extend" for path in SESSION}  # allowed only while the session runs; it was stopped before
    # needs one of two fields, which the description cannot express
    cluster = {"PUT /services/factories/api/clusters/{cluster_id}"}
    # The fake factory accepts no token, and has no rules to accept.
    nothing = {"PUT /credentials/{factory_id}", "PUT /people/{user}/acceptances/{factory_id}"}
    # The session is not for a workshop, so there is nobody to help.
    asks = ("GET /help", "PUT /help/hand", "DELETE /help/hand", "PUT /help/look", "DELETE /help/look")
    helps = {one.replace(" ", " /services/factories/api", 1) for one in (*asks, "POST /help/snapshot")}
    assert never <= {*extend, *cluster, *nothing, *helps}
