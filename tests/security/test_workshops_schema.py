"""The workshops service's apps obey their OpenAPI descriptions for any request, and no request crashes them."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import settings
from schemathesis import Case
from schemathesis.config import SchemathesisConfig

from tests.unit.fake_hub import FakeHub
from tests.unit.serving import mocked, serving
from tests.unit.workshops_world import TINA, body, workshops_world
from workshops.api.callers import TokenCallers
from workshops.api.hub import hub_app
from workshops.api.material import material_router
from workshops.api.room import room_router
from workshops.api.user import user_app

SLUG = "known-2345"
MORE = (partial(room_router, Mock()), partial(material_router, Mock(), Mock()))
# Half of the values exist; the others are any that the description allows, or forbids.
WORDS = {"slug": [SLUG], "as": ["tina", "otto"], "person": ["paul"], "operator": ["true"]}
CONFIG = {
    "request-timeout": 60,  # seconds; a busy machine may need more than the 10 that are the default
    "dictionaries": {name: {"values": values} for name, values in WORDS.items()},
    "parameters": {
        f"{where}.{name}": {"dictionary": name, "probability": 0.5} for name in WORDS for where in ("path", "query")
    },
    # Valid in form; pools, roles and states decide the rest.
    "checks": {"positive_data_acceptance": {"expected-statuses": [200, 201, 202, 204, 400, 401, 403, 404, 409]}},
}
TOKENS = {"person": "tina-token", "service": "workshops-token", "nobody": "nobody-s"}
few = settings(max_examples=20, deadline=None, derandomize=True)
fewer = settings(max_examples=3, deadline=None, derandomize=True)  # for callers without any permission


def described(app: FastAPI, **more: Any) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_dict(app.openapi(), config=SchemathesisConfig.from_dict(CONFIG | more))


def people_side(caller: str) -> schemathesis.BaseSchema:
    app = mocked(user_app, base_url="/", more=MORE)
    return described(app, auth={"openapi": {"HTTPBearer": {"bearer": TOKENS[caller]}}})


hub_side = described(mocked(hub_app, more=MORE))
by_person, by_service, by_nobody = (people_side(caller) for caller in TOKENS)


class Served:
    """The service's hub app and user app over one service, in a separate thread and event loop.

    ``hub``, ``user``: the addresses of the two apps.
    """

    def __init__(self) -> None:
        self.hub = self.user = ""
        self._folder = tempfile.TemporaryDirectory()
        self._up, self._over = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._up.wait(60)

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            world = await stack.enter_async_context(workshops_world(Path(self._folder.name)))
            fake = FakeHub()
            fake.tokens[TOKENS["person"]] = "tina"
            fake.scopes[TOKENS["person"]] = ["access:servers!user=tina", "access:services!service=workshops"]
            fake.services[TOKENS["service"]] = "workshops"
            url = await stack.enter_async_context(serving(fake.app))
            callers = TokenCallers(world.config.hub.model_copy(update={"url": url}))
            stack.push_async_callback(callers.close)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("workshops.service._slug", lambda _title: SLUG)
                await world.workshops.create(TINA, body())
            self.hub = await stack.enter_async_context(serving(hub_app(world.workshops, world.joining, world.of_hub)))
            user_side = user_app(world.workshops, world.joining, callers, "/", world.more)
            self.user = await stack.enter_async_context(serving(user_side))
            world.room.close()  # streams end after the whole room
            self._up.set()
            await self._over.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(60)
        self._loop.close()
        self._folder.cleanup()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


@hub_side.parametrize()
@few
def test_the_hub_and_the_operator(case: Case, served: Served) -> None:
    case.call_and_validate(base_url=served.hub)


@by_person.parametrize()
@few
def test_a_person(case: Case, served: Served) -> None:
    case.call_and_validate(base_url=served.user)


@by_service.parametrize()
@fewer
def test_a_service(case: Case, served: Served) -> None:
    status = case.call_and_validate(base_url=served.user).status_code
    assert status >= 400 or case.operation.path.endswith("/health")


@by_nobody.parametrize()
@fewer
def test_requests_without_a_token_obey_the_schema(case: Case, served: Served) -> None:
    status = case.call_and_validate(base_url=served.user).status_code
    assert status >= 400 or case.operation.path.endswith("/health")
