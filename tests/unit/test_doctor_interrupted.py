"""What the doctor says when it is interrupted and cannot remove everything."""

from __future__ import annotations

from typing import Any, cast

import pytest

from factorycommon.models import Words
from factorylink.doctor import doctor


class LostVisit:
    """A doctor's visit that the test ends before its second step, and whose job cannot be removed."""

    kept = ""

    def __init__(self, *_: object) -> None:
        async def good() -> str:
            return "fine"

        self.steps = [("login", good), ("home", good)]

    async def leave(self) -> list[Words]:
        return [Words(code="left", what="Job 7 may still be there.", do="Cancel it.", whose="operator")]


async def test_an_interrupted_doctor_tells_what_it_could_not_remove(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(doctor, "Visit", LostVisit)
    nothing = cast(Any, None)
    walk = doctor.examine(nothing, nothing, "a", nothing, 1)
    assert (await anext(walk)).good
    await cast(Any, walk).aclose()
    assert caplog.messages == ["Job 7 may still be there."]
