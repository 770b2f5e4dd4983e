"""Random sequences of operations on a cluster, with a real Slurm.

After each sequence the cluster can be closed, and no job and no process is left.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.bed import FACTORY, SIZE, Bed
from tests.support.gateway import eventually

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]

MADE = f"""
import asyncio, contextlib, json, psutil
from dask.distributed import Client
from distributed.client import ClosedClientError
from factorygate import FactoryCluster
from factorygate.link import LinkError

async def sequence(steps, name):
    cluster = await FactoryCluster(
        size={SIZE!r}, hours=0.2, name=name, cap_gpu_hours=2, asynchronous=True, silence_logs="critical"
    )
    async with Client(cluster, asynchronous=True, set_as_default=False) as client:
        asked, wanted = [], []
        for step in steps:
            with contextlib.suppress(LinkError, ValueError, ClosedClientError):
                if step["what"] == "scale":
                    asked.append(cluster.scale(jobs=step["number"]))
                elif step["what"] == "adapt":
                    cluster.adapt(maximum_jobs=max(1, step["number"]), interval="100ms", idle_grace=0.5)
                elif step["what"] == "work":
                    wanted = client.map(lambda n: n, range(10 * step["number"]), pure=False)
                elif step["what"] == "cancel" and asked:
                    asked[-1].cancel()
                elif step["what"] == "close":
                    asked.append(asyncio.ensure_future(cluster.close()))
            await asyncio.sleep(step["after"])
        await asyncio.wait_for(cluster.close(), 60)
        for error in await asyncio.gather(*asked, return_exceptions=True):
            assert error is None or isinstance(error, (LinkError, ValueError, asyncio.CancelledError)), repr(error)
    assert cluster.status.name == "closed"
    return cluster.cluster_api.id

def processes(cluster):
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += [process.pid] if any(cluster in word for word in process.cmdline()) else []
    return found
"""


@dataclass(frozen=True)
class Step:
    """One step of a sequence: an operation, and the seconds to wait after it.

    ``number``: how many jobs the operation concerns; for "work", tens of tasks.
    """

    what: str
    number: int
    after: float


steps = st.builds(
    Step,
    st.sampled_from(["scale", "scale", "adapt", "work", "cancel", "close", "scancel"]),
    st.sampled_from([0, 1, 2, 4, 40, 2500]),
    st.sampled_from([0.0, 0.02, 0.06, 0.3, 1.0, 4.0]),
)


def cancel_later(bed: Bed, sequence: list[Step]) -> None:
    """Carry out the steps "scancel" of a sequence with the site's rights, at the times of the sequence."""
    for step in sequence:
        if step.what == "scancel" and (jobs := bed.workers()[: step.number]):
            bed.gateway.factories[FACTORY].ask("scancel", *jobs, check=False)
        time.sleep(step.after)


def test_any_sequence_ends_with_a_closed_cluster_and_nothing_left(bed: Bed, request: pytest.FixtureRequest) -> None:
    bed.run(MADE)
    tried = 0

    @settings(
        max_examples=20 if request.config.getoption("--long") else 4,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(steps, min_size=2, max_size=6), st.booleans())
    def holds(sequence: list[Step], named: bool) -> None:
        nonlocal tried
        tried += 1
        name = f"tried-{tried}" if named else None
        site = threading.Thread(target=cancel_later, args=(bed, sequence))
        site.start()
        asked = json.dumps([asdict(step) for step in sequence])
        cluster = bed.run(f"print(await sequence(json.loads({asked!r}), {name!r}))", timeout=150).splitlines()[-1]
        site.join()
        eventually(lambda: not bed.workers(), 60, what=f"no job is left after {sequence}")
        eventually(lambda: bed.run(f"print(processes({cluster!r}))") == "[]", 60, what=f"no process after {sequence}")

    holds()
    print(f"{tried} sequences, none hung, none left a job or process")
