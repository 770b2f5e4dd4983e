"""Random sequences of operations on a cluster: it can be closed, every caller gets an answer, and no job is left."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from distributed.core import Status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factorygate.link import LinkError
from tests.unit.cluster_world import Life

CAP = 12.0  # GPU-hours, of jobs of one hour
# seconds in which every caller gets an answer: requests to a link that is down are repeated for 40 s each
ANSWER = 900.0


@dataclass(frozen=True)
class Step:
    """Do ``what``, then wait ``after`` seconds.

    ``number``: a number of jobs or workers, for operations that need one.
    """

    what: str
    number: int = 0
    after: float = 0.0


counts = st.one_of(st.integers(0, 14), st.sampled_from([60, 2500]))
pauses = st.sampled_from([0.0, 0.0, 0.01, 0.03, 0.1, 0.6, 5.0, 40.0])
steps = st.builds(
    Step,
    st.sampled_from(["scale", "scale", "adapt", "work", "cancel", "close", "scancel", "refuse", "away", "back"]),
    counts,
    pauses,
)


class Sequence:
    """The operations on a cluster, and the callers that still wait for an answer."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.asked: list[asyncio.Future[Any]] = []

    def do(self, step: Step) -> None:
        cluster, grid = self.life.cluster, self.life.grid
        if step.what == "scale":
            self._ask(lambda: cluster.scale(jobs=step.number))
        elif step.what == "adapt":
            cluster.adapt(minimum_jobs=0, maximum_jobs=max(1, step.number), interval=0)
        elif step.what == "work":
            self.life.dask.target = step.number
        elif step.what == "cancel" and self.asked:  # as a notebook does with an interrupted cell
            self.asked[-1].cancel()
        elif step.what == "close":
            self._ask(lambda: asyncio.ensure_future(cluster._close()))
        elif step.what == "scancel":
            for job in grid.alive()[: step.number]:
                grid.ends(job, "CANCELLED by 0")
        elif step.what == "refuse":
            grid.refuses = "" if grid.refuses else "Job violates accounting/QOS policy"
        elif step.what == "away":
            self.life.link_up = False
            self.life.cut.set()
        elif step.what == "back":
            self._back()

    def _ask(self, ask: Any) -> None:
        with suppress(LinkError, ValueError):  # refused at once, with an explanation
            self.asked.append(ask())

    def _back(self) -> None:
        if not self.life.link_up:
            self.life.link_up, self.life.cut = True, asyncio.Event()

    async def run(self, sequence: list[Step]) -> None:
        for step in sequence:
            self.do(step)
            await asyncio.sleep(step.after)
        self._back()
        self._ask(lambda: asyncio.ensure_future(self.life.cluster._close()))
        done, waiting = await asyncio.wait(self.asked, timeout=ANSWER)
        assert not waiting, f"nobody answers {waiting}"
        for one in done:
            error = None if one.cancelled() else one.exception()
            assert error is None or isinstance(error, LinkError | ValueError), repr(error)


@pytest.mark.timeout(1200)
def test_any_sequence_ends_with_a_closed_cluster_and_no_job(
    tmp_path_factory: Any, request: pytest.FixtureRequest
) -> None:
    examples = 200 if request.config.getoption("--long") else 60

    @settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(steps, max_size=8), st.sampled_from([0.0, 0.05, 0.7]), st.sampled_from([None, CAP]))
    def holds(sequence: list[Step], delay: float, cap: float | None) -> None:
        life = Life(folder := tmp_path_factory.mktemp("life"), cap=cap)
        try:
            assert isinstance(folder, Path)
            life.delay = delay
            life.run(Sequence(life).run(sequence))
            assert life.cluster.status is Status.closed
            life.passes(60)
            assert not life.grid.alive()
            ever = len(life.grid.runs_of)
            life.passes(120)
            assert len(life.grid.runs_of) == ever, "something was asked for after the end"
            assert life.cluster.cluster_api._flush is None or life.cluster.cluster_api._flush.done()
        finally:
            life.close()

    holds()
