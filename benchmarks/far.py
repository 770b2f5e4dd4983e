"""Measures the speed of data between a notebook and a Dask cluster at another factory, compared with plain ``ssh``.

Two factories are in networks of their own, behind sshd, as in an isolated demo. In a session at one factory, a kernel
creates a ``FactoryCluster`` at the other, whose scheduler is a job there. A client's data pass through the session's
door, the link and the scheduler's door. For comparison, in turns, the gateway's machine runs:

- ``ssh``: ``ssh A cat FILE | ssh B wc -c``, and the reverse, over connections that are open already

The data are 50 MB that cannot be compressed. ``FactoryCluster`` runs ``client.scatter`` (up), and ``client.gather`` of
a result (down); the data go to the scheduler and from there to a worker, or the reverse, while ssh ends at the login
hosts. The first transfers of each side are not counted. Round trips are measured, too: a question to the scheduler,
compared with the sum of one-byte echoes from the two login hosts. Everything is measured twice: with only Linux's own
virtual network between hub and factories, where this machine's CPUs limit both sides; and with a delay of 10 ms in each
direction at each factory's border (``testbed fault slow``), as between countries.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import measure
from testbed.faults import faults
from testbed.install import environments as install
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.support.gateway import Gateway, Notebook
from tests.support.isolated import Visitor

HERE, THERE = "lumi-aif", "it4lia"
PORT = 9700
MB = 1e6
SIZE = 50_000_000  # bytes
WARM_ROUNDS = 2  # before the measurement: the first transfers of a process are slower, also with ssh
ROUNDS = 9
TRIPS = 20
WIRES = {"near": 0, "wide": 20}  # milliseconds of a round trip over a factory's border
GOAL = 0.5  # promised share of ssh's rate, on either wire
FILE = "factorygate-bench.bin"
PEER = "ssh"

MADE = """
import os, time, factorygate
from dask.distributed import wait
from factorygate import FactoryCluster
factorygate.use_token({token!r})
cluster = FactoryCluster(factory={there!r}, workers=1, hours=1, silence_logs="critical")
client = cluster.get_client()
client.wait_for_workers(1, timeout=200)
data = os.urandom({size})
held = client.submit(lambda size: __import__("os").urandom(size), {size}, pure=False)
wait(held)
def seconds(of):
    began = time.perf_counter()
    of()
    return time.perf_counter() - began
"""
UP = "print(seconds(lambda: client.scatter(data, hash=False)))"
DOWN = "print(seconds(lambda: client.gather(held)))"
TRIP = "print([seconds(lambda: client.run_on_scheduler(int)) for _ in range({trips})])"


@contextmanager
def demo() -> Iterator[Path]:
    """Start the gateway with the two factories, and yield its folder; stop it after the block.

    A gateway of an earlier run is stopped first.
    """
    programs = install.program_folder()
    folder = programs / "bench" / "far"
    argv = [str(programs / "hub" / "bin" / "python"), "-m", "testbed.demo", "--folder", str(folder)]
    start = ("--detach", "--isolated", "--port", str(PORT), "--factories", f"{HERE},{THERE}")
    subprocess.run([*argv, "--stop"], check=True, stdout=subprocess.DEVNULL)
    try:
        subprocess.run([*argv, *start], check=True, stdout=subprocess.DEVNULL)
        yield folder
    finally:
        subprocess.run([*argv, "--stop"], check=True, stdout=subprocess.DEVNULL)


class Ours:
    """A kernel in a session at one factory, with a cluster at the other."""

    def __init__(self, gateway: Gateway) -> None:
        user = gateway.make_user()
        gateway.started(user, "", factory=HERE, hours=2)
        self._notebook: Notebook = gateway.notebook(user)
        self._kernel = self._notebook.kernel()
        self._run(MADE.format(token=gateway.token(user), there=THERE, size=SIZE))

    def up(self) -> float:
        """Send the data from the notebook's kernel to the cluster; return the seconds."""
        return float(self._run(UP))

    def down(self) -> float:
        """Fetch the data from the cluster into the notebook's kernel; return the seconds."""
        return float(self._run(DOWN))

    def trips(self) -> list[float]:
        """Send questions to the Dask scheduler; return the seconds of each."""
        return [float(one) for one in json.loads(self._run(TRIP.format(trips=TRIPS)))]

    def close(self) -> None:
        """End the cluster."""
        self._run("client.close(); cluster.close()")

    def _run(self, code: str) -> str:
        return self._notebook.run(code, self._kernel, 300).strip()


class Ssh:
    """OpenSSH's client, with an open connection to each login host."""

    def __init__(self, folder: Path, here: SlurmCluster, there: SlurmCluster) -> None:
        """Connect to both login hosts, and write a file with the data on each.

        ``folder``: a 0700 folder with a short path, for keys and sockets.
        """
        self._account = here.accounts[0]
        self._sides: list[Visitor] = []
        for side in (here, there):
            keys = folder / side.id
            keys.mkdir()
            self._sides.append(Visitor(keys, side))
        for side in self._sides:
            subprocess.run([*self._argv(side), f"head -c {SIZE} /dev/urandom > {FILE}"], check=True)

    def up(self) -> float:
        """Send the data from the login host of ``here`` to that of ``there``; return the seconds."""
        return self._carry(*self._sides)

    def down(self) -> float:
        """Send the data from the login host of ``there`` to that of ``here``; return the seconds."""
        return self._carry(*reversed(self._sides))

    def trips(self) -> list[float]:
        """Send a byte to each login host and back, one after the other; return the seconds of each."""
        with ExitStack() as stack:
            lines = [stack.enter_context(side.line(self._account)) for side in self._sides]
            taken = []
            for _ in range(TRIPS):
                began = time.perf_counter()
                assert all(line.echoes(30) for line in lines)
                taken.append(time.perf_counter() - began)
        return taken

    def close(self) -> None:
        """Remove the files with the data, and close the connections."""
        for side in self._sides:
            subprocess.run([*self._argv(side), "rm", "-f", FILE], check=True)
            subprocess.run(self._argv(side, "-O", "exit"), check=True, capture_output=True)

    def _argv(self, side: Visitor, *more: str) -> list[str]:
        kept = (f"-oControlPath={side.folder}/%C", "-oControlMaster=auto", "-oControlPersist=600")
        return side.argv(self._account, *kept, *more)

    def _carry(self, source: Visitor, target: Visitor) -> float:
        get, put = (
            shlex.join([*self._argv(side), *what]) for side, what in ((source, ["cat", FILE]), (target, ["wc", "-c"]))
        )
        began = time.perf_counter()
        done = subprocess.run(["/bin/sh", "-c", f"{get} | {put}"], stdout=subprocess.PIPE, text=True, check=True)
        taken = time.perf_counter() - began
        if int(done.stdout) != SIZE:
            raise RuntimeError(f"ssh carried {done.stdout.strip()} bytes of {SIZE}")
        return taken


def one_wire(name: str, ours: Ours, ssh: Ssh) -> bool:
    """Measure with one delay of the network, and print the results; return True if the promise is kept.

    ``name``: the delay's name in the results. The promise is at least ``GOAL`` of ssh's rate, up and down.
    """
    kept = True
    for way in ("up", "down"):
        both: dict[str, list[float]] = {"ours": [], PEER: []}
        for _ in range(WARM_ROUNDS):
            for side in (ours, ssh):
                getattr(side, way)()
        for _ in range(ROUNDS):
            for side, found in ((ours, both["ours"]), (ssh, both[PEER])):
                measured: Callable[[], float] = getattr(side, way)
                found.append(SIZE / MB / measured())
        measure.note(f"{name} {way}: " + "; ".join(f"{who} {_few(rates)} MB/s" for who, rates in both.items()))
        rates = {who: measure.median(found) for who, found in both.items()}
        measure.rate("far", f"{name}-{way}", rates["ours"], {PEER: rates[PEER]}, "MB/s")
        kept &= rates["ours"] >= GOAL * rates[PEER]
    trips = [1000 * measure.median(side.trips()) for side in (ours, ssh)]
    measure.report("far", f"{name}-round-trip", trips[0], {PEER: trips[1]}, "ms")
    return kept


def _few(rates: list[float]) -> str:
    return ", ".join(f"{rate:.1f}" for rate in rates)


def main() -> bool:
    """Run the benchmark, and print the results; return True if the promise is kept (see ``one_wire``)."""
    kept = True
    with demo() as folder, tempfile.TemporaryDirectory() as keys, ExitStack() as at_end:
        gateway = Gateway(folder / "demo.json")
        here, there = (cluster.load(folder / "clusters", name) for name in (HERE, THERE))
        ours, ssh = Ours(gateway), Ssh(Path(keys), here, there)
        at_end.callback(ours.close)
        at_end.callback(ssh.close)
        for name, milliseconds in WIRES.items():
            with ExitStack() as slowed:
                for side in (here, there) if milliseconds else ():
                    slowed.enter_context(faults.begin(side, "slow", milliseconds, 0))
                kept &= one_wire(name, ours, ssh)
    measure.note(f"at least {GOAL:g} of ssh's rate for {SIZE / MB:.0f} MB: {'yes' if kept else 'NO'}")
    return kept


if __name__ == "__main__":
    sys.exit(not main())
