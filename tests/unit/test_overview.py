"""The data of a session's pages: always the clock; the gateway's data while it answers, but not too often."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest

from factorycommon.models import LogLine
from factorygate import language
from factorygate.link import Link, LinkError, NoLinkError, _parse
from factorygate.session import overview
from factorygate.session.lab import addresses
from factorygate.session.overview import Overview
from factorygate.session.resource_usage import Gauge, ResourceUsage
from tests.support.scripted_link import factory
from tests.support.told import WHEN, choice, cluster, session

FACTORIES = [factory("it4lia").model_dump(mode="json")]
SESSION = session(
    choice=choice(factory="it4lia", size="gpu-1"), log=(LogLine(at=WHEN, text="long"),), extend_hours=2.5
).model_dump(mode="json")
CLUSTER = cluster(name="dask", choice=choice(factory="other", size="g2"), counts={"running": 2}).model_dump(mode="json")


class FakeLink:
    """Answers of the gateway; an exception in place of an answer is raised."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"/factories": FACTORIES, "/sessions": [SESSION], "/clusters": [CLUSTER]}
        self.asked: list[str] = []
        self.posted: list[tuple[str, object]] = []
        self.silent = asyncio.Event()
        self.silent.set()

    async def get(self, path: str, kind: Any, **_: object) -> Any:
        self.asked.append(path)
        await self.silent.wait()
        answer = self.answers[path]
        if isinstance(answer, Exception):
            raise answer
        return _parse(kind, json.dumps(answer))

    async def post(self, path: str, body: Any, kind: Any) -> Any:
        self.posted.append((path, body.model_dump()))
        return _parse(kind, json.dumps(SESSION | {"extend_hours": 1.5}))


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def shown(tmp_path: Path, link: FakeLink) -> Overview:
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"session": SESSION["id"], "ends": "2026-03-10T12:00:00Z", "messages": []}))
    gauge = Gauge()
    gauge.use = ResourceUsage(5, 10)
    return Overview(clock, gauge, "/hub/home", "/user/ada/", lambda: cast(Link, link))


async def test_the_overview_has_names_and_only_shown_fields(shown: Overview) -> None:
    told = await shown.now()
    assert told["ends"] == "2026-03-10T12:00:00Z"
    assert told["use"] == {"memory": 5, "memory_limit": 10, "gpus": ()}
    assert told["home"] == "/hub/home"
    assert told["sessions"] == [
        {
            "id": SESSION["id"],
            "server": "",
            "state": "running",
            "created": "2026-03-10T12:00:00Z",
            "extend_hours": 2.5,
            "machine": "IT4LIA",
            "size": "1 x A100",
            "url": "/user/ada/",
            "folder": "",
        }
    ]
    assert told["clusters"] == [
        {"id": "c" * 32, "name": "dask", "state": "live", "counts": {"running": 2}, "machine": "other", "size": "g2"}
    ]
    assert told["trouble"] == ""


async def test_the_gateway_is_not_asked_again_too_soon(
    shown: Overview, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shown.now()
    await shown.now()
    assert link.asked == ["/factories", "/sessions", "/clusters"]
    monkeypatch.setattr(overview, "FRESH", -1.0)
    await shown.now()
    assert shown._asking is not None
    await shown._asking
    assert link.asked[3:] == ["/sessions", "/clusters"]  # names are cached longer


async def test_a_message_has_the_gateway_asked_at_once(shown: Overview, link: FakeLink) -> None:
    await shown.now()
    clock = {"session": SESSION["id"], "messages": [{"id": "access-1", "text": "It ends."}]}
    shown._clock.write_text(json.dumps(clock))
    await shown.now()
    assert shown._asking is not None
    await shown._asking
    await shown.now()  # the clock has the same message
    assert link.asked == ["/factories", "/sessions", "/clusters", "/sessions", "/clusters"]


async def test_trouble_is_said_in_the_persons_language(
    shown: Overview, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "here", lambda: language.wanted("de"))
    link.answers["/sessions"] = "none"
    told = await shown.now()
    assert told["trouble"] == "Das Gateway gab eine Antwort, die diese Sitzung nicht versteht."


async def test_a_gateway_without_clusters_has_none(shown: Overview, link: FakeLink) -> None:
    link.answers["/clusters"] = LinkError("forbidden", "The gateway answered 404 Not Found.")
    told = await shown.now()
    assert (told["clusters"], told["trouble"], len(told["sessions"])) == ([], "", 1)


async def test_the_last_data_stay_while_the_gateway_does_not_answer(
    shown: Overview, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "FRESH", -1.0)
    await shown.now()
    link.answers["/sessions"] = LinkError("unreachable", "The gateway does not answer now.")
    await shown.now()
    assert shown._asking is not None
    await shown._asking
    told = await shown.now()
    assert (len(told["sessions"]), told["trouble"]) == (1, "The gateway does not answer now.")


@pytest.mark.parametrize("answer", [None, {}, [1], [{"id": "x"}], [SESSION | {"state": "dancing"}]])
async def test_an_answer_that_is_none_is_said_in_words(shown: Overview, link: FakeLink, answer: object) -> None:
    link.answers["/sessions"] = answer
    told = await shown.now()
    assert told["sessions"] == []
    assert "understand" in told["trouble"]


async def test_a_silent_gateway_does_not_hold_the_clock_up(
    shown: Overview, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "PATIENCE", 0.01)
    link.silent.clear()
    assert (await shown.now())["sessions"] == []
    assert (await shown.now())["ends"]
    assert link.asked == ["/factories"]  # one question is enough
    link.silent.set()
    assert shown._asking is not None
    await shown._asking
    assert len((await shown.now())["sessions"]) == 1


async def test_an_extension_is_shown_at_once(shown: Overview, link: FakeLink) -> None:
    await shown.now()
    assert (await shown.extend(1.5))["extend_hours"] == 1.5
    assert link.posted == [(f"/sessions/{SESSION['id']}/extend", {"hours": 1.5})]
    await shown.now()
    assert shown._asking is not None
    await shown._asking
    assert link.asked.count("/sessions") == 2


async def test_an_event_during_a_request_causes_another_request(shown: Overview, link: FakeLink) -> None:
    await shown.now()
    link.silent.clear()
    for _ in range(2):
        await shown.extend(1.5)
        await shown.now()  # the first call asks, and has no answer yet at the second
    link.silent.set()
    assert shown._asking is not None
    await shown._asking
    await shown.now()
    await shown._asking
    assert link.asked.count("/sessions") == 3


async def test_without_gateway_and_door_the_overview_is_nearly_empty(tmp_path: Path) -> None:
    def none() -> Link:
        raise NoLinkError

    told = await Overview(tmp_path / "none", Gauge(), "", "", none).now()
    assert told.pop("now")
    assert told == {"sessions": [], "clusters": [], "trouble": "", "use": None, "help": None, "home": ""}


async def test_a_named_session_is_open_at_its_own_address(shown: Overview, link: FakeLink) -> None:
    link.answers["/sessions"] = [SESSION | {"server": "a b"}]
    assert (await shown.now())["sessions"][0]["url"] == "/user/ada/a%20b/"


def test_addresses_are_the_hubs() -> None:
    assert addresses({}) == ("", "")
    hub = {"JUPYTERHUB_BASE_URL": "/jh/", "JUPYTERHUB_HOST": "https://hub.x", "JUPYTERHUB_USER": "a@b"}
    assert addresses(hub) == ("https://hub.x/jh/hub/home", "/jh/user/a%40b/")
