"""The end of a session's walltime on a real Slurm: the warning, an extension, and the end."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.gateway import Gateway, eventually


@pytest.fixture
def session(gateway: Gateway) -> Iterator[tuple[Gateway, str, dict[str, Any]]]:
    """Start a session of one hour; yield (gateway, user, session)."""
    user = gateway.make_user()
    gateway.started(user, "timed", factory="it4lia", size="gpu-1", hours=1)
    found = gateway.session(user, "timed")
    assert found is not None
    yield gateway, user, found
    gateway.stop(user, "timed")
    eventually(lambda: gateway.session(user, "timed") is None)


def limit(gateway: Gateway, session: dict[str, Any], minutes: int) -> None:
    """Set the walltime of the session's job to ``minutes``, as the site's administrator."""
    factory = gateway.factories["it4lia"]
    factory.ask("scontrol", "update", f"JobId={session['job']}", f"TimeLimit={minutes}")


def clock(gateway: Gateway, user: str) -> dict[str, Any]:
    """Return the session's clock, as the notebook server reports it: among others the end of the walltime."""
    answer = gateway.notebook(user, "timed").request("GET", "/api/factorygate/clock")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ends(told: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(told["ends"])


def extend(gateway: Gateway, user: str, session: dict[str, Any], hours: Any, token: str = "") -> httpx.Response:
    url = f"{gateway.root}/services/factories/api/sessions/{session['id']}/extend"
    headers = {"Authorization": f"Bearer {token or gateway.token(user)}"}
    return httpx.post(url, json={"hours": hours}, headers=headers, timeout=60)


def test_a_session_warns_and_ends_cleanly_before_its_walltime(session: tuple[Gateway, str, dict[str, Any]]) -> None:
    gateway, user, before = session
    assert before["notice"] is None
    assert clock(gateway, user)["notice"] is None
    events = httpx.stream(
        "GET",
        f"{gateway.root}/services/factories/api/sessions/{before['id']}/events",
        headers={"Authorization": f"Bearer {gateway.token(user)}"},
        timeout=180,
    )
    with events as answer:
        lines = (json.loads(line[5:]) for line in answer.iter_lines() if line.startswith("data:"))
        assert next(lines)["notice"] is None
        limit(gateway, before, 12)
        told = next(one for one in lines if one["notice"])
        assert (told["notice"]["kind"], told["notice"]["minutes"], told["state"]) == ("walltime", 15, "running")
        assert ends(told) < ends(before)
        said = datetime.fromisoformat(told["notice"]["at"])
        assert abs(ends(told) - timedelta(minutes=1) - said) < timedelta(seconds=10)
        shown = clock(gateway, user)["notice"]
        assert (shown["kind"], datetime.fromisoformat(shown["at"])) == ("walltime", said)
        limit(gateway, before, 5)
        assert next(one for one in lines if one["notice"]["minutes"] == 5)["notice"]["kind"] == "walltime"
        # The session ends a minute before the limit; on a slow machine two minutes may be over by then.
        ran = datetime.now(UTC) - datetime.fromisoformat(before["started"])
        limit(gateway, before, max(2, math.ceil((ran + timedelta(seconds=90)) / timedelta(minutes=1))))
        over = next(one for one in lines if one["state"] == "ended")
    assert over["end_reason"] == "walltime", over
    assert over["end"]["code"] == "walltime-clean"
    assert datetime.fromisoformat(over["ended"]) < ends(before)

    def state() -> str:
        """Return the job's final state in Slurm, "" while the node has not yet reported the job's end."""
        shown = gateway.factories["it4lia"].ask("scontrol", "show", "job", before["job"])
        (found,) = re.findall(r"JobState=(\w+)", shown)
        return "" if found == "COMPLETING" else str(found)

    # the session ended by itself, before Slurm ended it (TIMEOUT)
    assert eventually(state, what="the job has ended") == "COMPLETED"
    assert gateway.sessions(user)[0]["state"] == "ended"


def test_the_owner_can_extend_a_session(session: tuple[Gateway, str, dict[str, Any]]) -> None:
    gateway, user, before = session
    assert before["extend_hours"] > 1
    assert extend(gateway, user, before, 1).status_code == 200

    def later() -> dict[str, Any] | None:
        now = gateway.session(user, "timed")
        return now if now and ends(now) > ends(before) else None

    after = eventually(later, what="the scheduler's new end")
    assert after is not None
    assert timedelta(minutes=59) <= ends(after) - ends(before) <= timedelta(minutes=62)
    eventually(lambda: abs(ends(clock(gateway, user)) - ends(after)) < timedelta(seconds=6), what="the door knows it")
    assert "TimeLimit=02:0" in gateway.factories["it4lia"].ask("scontrol", "show", "job", before["job"])
    assert any("longer" in line["text"] for line in after["log"])


def test_only_the_owner_can_extend_and_not_without_limit(session: tuple[Gateway, str, dict[str, Any]]) -> None:
    gateway, user, before = session
    stranger = gateway.make_user()
    assert extend(gateway, stranger, before, 1).status_code == 404
    assert extend(gateway, user, before, 1, token="nonsense").status_code == 401
    answer = extend(gateway, user, before, 500)
    assert (answer.status_code, "more for this session" in answer.json()["message"]) == (400, True)
    for wrong in (0, -1, "much", None):
        assert extend(gateway, user, before, wrong).status_code in (400, 422)
    now = gateway.session(user, "timed")
    assert now is not None and ends(now) == ends(before)
