"""Requests and releases 200 and 1,000 Dask workers: FactoryCluster compared with dask-jobqueue's SLURMCluster.

Both use the same Slurm. The notebook is a process of a site account in the notebooks' own environment
(`dask_notebook.py`). ``FactoryCluster`` asks the gateway with the person's token, as a script does, through proxy and
link; dask-jobqueue runs ``sbatch`` itself. The cluster is full, so all jobs wait; a worker is a job of one core. On
both sides, small programs that are first on PATH count the calls of ``sbatch`` and ``scancel``. A second series slows
``sbatch`` down by 50 ms, one call at a time, as a busy controller does (only these 50 ms are under the lock, not the
time that ``sbatch`` itself takes). The sides alternate. The measurements are:

- ids: the time from ``scale(jobs=N)`` until all jobs have ids; for ``FactoryCluster``, until the link has reported them
- submits: the number of calls of ``sbatch``
- freeze: the longest time in which the cluster's event loop did not run, from ``scale`` until 3 s after the ids are
  known. In these 3 s the link reports the states of all jobs to ``FactoryCluster``. An idle event loop in another
  process shows how much of this the machine's other work causes.
- down, cancels, down-freeze: the time, the calls of ``scancel`` and the freeze for ``scale(0)``, until the cluster has
  no jobs

Results are medians of the rounds, also for freezes; the results of each round are printed, too. 1,000 workers of
dask-jobqueue with slowed ``sbatch`` take a minute, and are requested only once. ``FactoryCluster`` uses TLS and
dask-jobqueue does not, as is the default of both.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import pwd
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

from benchmarks import gateways, measure
from benchmarks.bed import CROWD_SIZE, Bed, bed
from benchmarks.dask_notebook import Ticker

ROUNDS = 3
JOBS = (200, 1000)
SLOW = 0.05  # seconds
LIMIT = 400.0
# the promise for 200 workers with slowed sbatch: times faster; longest freeze in seconds; calls of sbatch
FASTER, MOST_FREEZE, CALLS = 5.0, 0.05, 1
NOTEBOOK = Path(__file__).with_name("dask_notebook.py")
OURS, PEER = "ours", "dask-jobqueue"

# Parameters: {0}: the folder for the program's records; {1}: the program's name; {2}: the real program's path.
BEFORE = """#!/bin/sh
echo >> {0}/{1}.calls
pause=$(cat {0}/{1}.pause)
if [ "$pause" != 0 ]; then
  exec 9>> {0}/{1}.lock
  flock 9
  sleep "$pause"
  exec 9>&-
fi
exec {2} "$@"
"""


class Counted:
    """A wrapper around one of the scheduler's programs that counts the program's calls.

    ``name``: the program's name; ``folder``: where the wrapper is written, to be put first on PATH.
    """

    def __init__(self, on: Bed, folder: Path, name: str) -> None:
        self._calls, self._pause = folder / f"{name}.calls", folder / f"{name}.pause"
        for file in (self._calls, self._pause, folder / f"{name}.lock"):
            file.touch()
            file.chmod(0o666)  # site accounts must be able to run it
        real = shutil.which(name, path=on.cluster.env["PATH"])
        (folder / name).write_text(BEFORE.format(folder, name, real))
        (folder / name).chmod(0o755)
        self.begin()

    def begin(self, pause: float = 0) -> None:
        """Start counting calls from 0.

        ``pause``: seconds by which each call is delayed; calls at the same moment are delayed one after the other.
        """
        self._calls.write_text("")
        self._pause.write_text(f"{pause:g}\n")

    def calls(self) -> int:
        """Return how often the scheduler's program was called since ``begin``."""
        return len(self._calls.read_text().splitlines())


@dataclass(frozen=True)
class Scaled:
    """The measurements of one call of ``scale``, in seconds except ``calls``.

    ``freeze``: the longest time in which the event loop did not run; ``turn``: the most CPU time in one turn of the
    loop; ``idle``: the longest freeze of an idle event loop at the same time.
    """

    seconds: float
    freeze: float
    turn: float
    idle: float
    calls: float

    def __str__(self) -> str:
        freeze, turn, idle = (f"{1000 * seconds:.0f} ms" for seconds in (self.freeze, self.turn, self.idle))
        loop = f"freeze {freeze} (most work in a turn {turn}, idle loop {idle})"
        return f"{self.seconds:.2f} s, {self.calls:g} calls, {loop}"


class Side:
    """One of the two compared programs, which runs in a notebook process of its own.

    ``env``: the environment variables of this process; ``where``: the first arguments of `dask_notebook.py`, which are
    the side, and the node size or queue.
    """

    def __init__(self, on: Bed, name: str, env: Mapping[str, str], *where: str) -> None:
        person = on.people[0]
        self.name, self._on = name, on
        self._env = {"HOME": pwd.getpwnam(person).pw_dir, "LANG": "C.UTF-8", **env}
        self._argv = on.argv_as(person, str(on.notebook_python), "-c", NOTEBOOK.read_text(), *where)

    async def ask(self, jobs: int, pause: float, sbatch: Counted, scancel: Counted) -> tuple[Scaled, Scaled]:
        """Run a fresh notebook that scales to ``jobs`` jobs and back to 0; return the measurements of both scalings.

        ``pause``: seconds by which each call of ``sbatch`` is delayed; ``sbatch``, ``scancel``: count the calls.
        """
        sbatch.begin(pause)
        scancel.begin()
        async with asyncio.timeout(LIMIT), self._notebook(str(jobs)) as notebook:
            up = Scaled(**await self._told(notebook), calls=sbatch.calls())
            if (there := await asyncio.to_thread(self._on.jobs)) != jobs:
                raise RuntimeError(f"{self.name}: {there} jobs are in the queue, not {jobs}")
            await self._go_on(notebook)
            told = await self._told(notebook)
            await self._on.idle()
            down = Scaled(**told, calls=scancel.calls())
            await self._go_on(notebook)
            await notebook.wait()
        measure.note(f"{self.name}, {jobs} jobs{' slowed' if pause else ''}: up {up}; down {down}")
        return up, down

    @contextlib.asynccontextmanager
    async def _notebook(self, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        pipe = asyncio.subprocess.PIPE
        with (self._on.folder / f"{self.name}-notebook.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._argv, *words, env=self._env, cwd="/tmp", stdin=pipe, stdout=pipe, stderr=log
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _told(self, notebook: asyncio.subprocess.Process) -> dict[str, float]:
        assert notebook.stdout is not None
        await notebook.stdout.readline()  # the notebook has started to scale
        idle = Ticker()
        ticking = asyncio.create_task(idle.run())
        line = await notebook.stdout.readline()
        ticking.cancel()
        if not line:
            raise RuntimeError(f"{self.name}: the notebook ended; its log is in {self._on.folder}")
        return {**json.loads(line), "idle": idle.freeze}

    @staticmethod
    async def _go_on(notebook: asyncio.subprocess.Process) -> None:
        assert notebook.stdin is not None
        notebook.stdin.write(b"\n")
        await notebook.stdin.drain()


Took = dict[tuple[str, int, float], list[tuple[Scaled, Scaled]]]  # by side, number of jobs, and pause


async def all_rounds(on: Bed) -> Took:
    """Run all measurements, the two sides in turn; return them by side, number of jobs, and pause."""
    folder = on.folder / "before"
    folder.mkdir()
    for step in (on.folder, folder):
        step.chmod(0o755)
    sbatch, scancel = Counted(on, folder, "sbatch"), Counted(on, folder, "scancel")
    slurm = {**on.cluster.env, "PATH": f"{folder}:{on.cluster.env['PATH']}"}
    took: Took = {}
    transport = {"kind": "local", "prefix": list(on.cluster.prefix), "env": slurm}
    async with gateways.ours(on, transport=transport) as gateway:
        on.fill()
        await measure.until(lambda: asyncio.to_thread(on.full), 30, "the cluster is full")
        way = {
            "PATH": "/usr/bin:/bin",
            "FACTORYGATE_URL": str(gateway.client.base_url),
            "FACTORYGATE_TOKEN": await gateway.token(on.people[0]),
        }
        sides = (Side(on, OURS, way, "ours", CROWD_SIZE), Side(on, PEER, slurm, "theirs", on.size.partition))
        for number, jobs, pause, side in itertools.product(range(ROUNDS), JOBS, (0.0, SLOW), sides):
            if number == 0 or (side.name, jobs, pause) != (PEER, JOBS[-1], SLOW):
                seen = await side.ask(jobs, pause, sbatch, scancel)
                took.setdefault((side.name, jobs, pause), []).append(seen)
    return took


def tell(took: Took) -> bool:
    """Print the results; return True if the promises are kept.

    The promises of ``FactoryCluster`` are ``CALLS`` calls for each scaling, no freeze of ``MOST_FREEZE`` seconds, and,
    for the first of ``JOBS`` with a slowed ``sbatch``, ``FASTER`` times the speed of dask-jobqueue.
    """
    kept = True
    for jobs, pause in itertools.product(JOBS, (0.0, SLOW)):
        case = f"{jobs}-slowed" if pause else f"{jobs}"
        rounds = took[OURS, jobs, pause], took[PEER, jobs, pause]
        for number, names in enumerate((("ids", "submits", "freeze"), ("down", "cancels", "down-freeze"))):
            ours, theirs = (_middle([both[number] for both in side]) for side in rounds)
            measure.report("dask", f"{names[0]}-{case}", ours.seconds, {PEER: theirs.seconds}, "s")
            measure.report("dask", f"{names[1]}-{case}", ours.calls, {PEER: theirs.calls}, "calls")
            freezes = {PEER: 1000 * theirs.freeze, "idle-loop": 1000 * ours.idle}
            measure.report("dask", f"{names[2]}-{case}", 1000 * ours.freeze, freezes, "ms")
            kept &= ours.calls == CALLS and ours.freeze < MOST_FREEZE
            if (jobs, pause, number) == (JOBS[0], SLOW, 0):
                kept &= theirs.seconds >= FASTER * ours.seconds
    measure.note(
        f"{FASTER:g} times faster with {JOBS[0]} slowed, one call, no freeze of {1000 * MOST_FREEZE:.0f} ms: "
        f"{'yes' if kept else 'NO'}"
    )
    return kept


def _middle(rounds: list[Scaled]) -> Scaled:
    """Return the median of each measurement over these rounds."""
    columns = zip(*(astuple(one) for one in rounds), strict=True)
    return Scaled(*(measure.median(column) for column in columns))


async def main() -> bool:
    """Run the benchmark, and print the results; return True if the promises are kept (see ``tell``)."""
    with bed("dask", many=1) as on:
        return tell(await all_rounds(on))


if __name__ == "__main__":
    sys.exit(not asyncio.run(main()))
