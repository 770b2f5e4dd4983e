"""Measures the cost of a connection through a door, with each carrier, at a factory behind sshd in its own network.

Two links, one with carrier ``tcp`` and one with ``stdio``, have a session each: a real job, door and Jupyter server.
For comparison, in turns and in the same run, the benchmark measures:

- ``ssh-L``: OpenSSH's ``ssh -L`` through the same login host to a Jupyter server of the same environment on the node's
  TCP port. This uses one layer of SSH, up to the login host; the gateway uses a second one, from the link into the job
- ``srun-cat``: the rate at which bare ``srun -u cat`` of the same file writes to a pipe on the login host, without SSH
- ``direct``: the server's own Unix socket, from the same machine, without any carrier

The loads are a download of 200 MB (median of five), and, one after another on one connection, 10,000 small requests and
500 echoes of a real kernel over a WebSocket. Then, for each carrier, one process opens many connections to a door, as a
link with many doors does: the benchmark measures the process's memory, and the time until all are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import gateways, measure, programs
from benchmarks.bed import Bed, bed
from benchmarks.door_clients import Target, output_rate
from factorycommon.models import Choice, Session, SessionRequest, SessionState
from factorylink.client import LinkClient
from testbed.network.login_side import DOOR_PORTS, Isolation
from tests.support.isolated import Visitor

SIZE = 200_000_000  # bytes of the download
ROUNDS = 5
SMALL, ECHOES = 10_000, 500
TURNS = 5
MANY = 100
MB, MS = 1e6, 1e-3
FILE = "factorygate-bench.bin"
ROOT_PATH = "/user/bench/"
# A Jupyter server without authentication, with or without a port; only the account can reach its socket.
SERVER = (
    'exec "$0" -m jupyter_server --no-browser --ServerApp.base_url={base} --ServerApp.token= --ServerApp.password= '
    "--ServerApp.disable_check_xsrf=True --ServerApp.allow_remote_access=True --ServerApp.root_dir={home} {where}"
)


@dataclass(frozen=True)
class Carried:
    """A running session behind one link."""

    carrier: str
    session: Session
    target: Target
    socket: Path  # the Jupyter server's own socket
    config: Path  # configuration of the link


def home(on: Bed) -> Path:
    """Return the path of the home of the first site account, whose jobs the benchmark runs."""
    return Path(pwd.getpwnam(on.people[0]).pw_dir)


def socket_of(session_id: str) -> Path:
    """Return the path of the Jupyter server's own socket; all nodes of a testbed share /tmp."""
    [found] = Path("/tmp").glob(f"factorygate-*-{session_id[:8]}-*/notebook.sock")
    return found


@asynccontextmanager
async def session(on: Bed, carrier: str, door: dict[str, object]) -> AsyncIterator[Carried]:
    """Start a link with that carrier and a session, and yield the session when its server answers.

    Link and session are stopped at the end of the block. ``door``: the section ``door`` of the link's access settings.
    Raises RuntimeError if the session ends before its server answers.
    """
    name = f"bench-{carrier}"
    async with gateways.link_alone(on, "http://127.0.0.1:1", name, door=door) as link:
        client = LinkClient(link.socket)
        session_id, person = uuid.uuid4().hex, on.people[0]
        choice = Choice(factory=on.factory.id, size=on.size.id, environment="bench", hours=1)
        await client.put_session(session_id, SessionRequest(user=person, server=carrier, choice=choice))
        base = f"/user/{person}/{carrier}/"
        server = SERVER.format(home=home(on), base=base, where='--ServerApp.sock="$FACTORYGATE_NOTEBOOK_SOCKET"')
        sent = False
        try:
            async for seen in client.session_events(session_id):
                if seen.state == SessionState.ENDED:
                    raise RuntimeError(f"{carrier}: {seen.end}: {seen.log_tail}")
                if seen.door_open and not sent:
                    argv = ["/bin/sh", "-c", server, str(on.notebook_python)]
                    await client.send_environment(session_id, {"JUPYTERHUB_SERVICE_PREFIX": base}, argv)
                    sent = True
                if seen.state == SessionState.RUNNING and seen.url is not None:
                    break
            else:
                raise RuntimeError(f"{carrier}: the link says no more")
            port = int(seen.url.rpartition(":")[2].split("/")[0])
            yield Carried(carrier, seen, Target(port, base), socket_of(session_id), link.socket.parent / "link.yaml")
        finally:
            with contextlib.suppress(Exception):
                await client.stop(session_id)
            await client.close()


def inside(on: Bed, job: str, *argv: str) -> tuple[str, ...]:
    """Return the argv that runs a command by ``srun`` in a job of the first person, as the carrier ``stdio`` does."""
    step = (
        "srun",
        "-u",
        "--overlap",
        "--jobid",
        job,
        "--nodes=1",
        "--ntasks=1",
        "--mem=0",
        "--mpi=none",
        "--gres=none",
    )
    return on.argv_as(on.people[0], *step, "--export=NONE", "--", *argv)


@contextmanager
def forwarded(on: Bed, carried: Carried) -> Iterator[Target]:
    """Start a Jupyter server in the session's job, and yield a local port that ``ssh -L`` forwards to the server.

    The server may not answer yet. Both programs are killed at the end of the block.
    """
    node, port, here = carried.session.node, DOOR_PORTS[1], programs.free_port()
    where = f"--ServerApp.ip={node} --ServerApp.port={port} --ServerApp.port_retries=0"
    script = SERVER.format(home=home(on), base=ROOT_PATH, where=where)
    argv = inside(on, carried.session.job or "", "/bin/sh", "-c", script, str(on.notebook_python))
    log = (on.folder / "ssh-L.log").open("wb")
    server = subprocess.Popen(argv, env=on.cluster.env, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    keys = on.folder / "keys"
    keys.mkdir()
    way = Visitor(keys, on.cluster).argv(
        on.people[0], "-N", "-o", "ExitOnForwardFailure=yes", "-c", "aes128-gcm@openssh.com",
        "-L", f"127.0.0.1:{here}:{node}:{port}",
    )  # fmt: skip
    ssh = subprocess.Popen(way, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield Target(here, ROOT_PATH)
    finally:
        ssh.kill()
        ssh.wait()
        server.kill()
        server.wait()


@contextmanager
def big_file(on: Bed) -> Iterator[Path]:
    """Create the file for downloads in the site account's home, yield its path, and delete it after the block."""
    account, path = on.people[0], home(on) / FILE
    on.as_account(account, "/bin/dd", "if=/dev/urandom", f"of={path}", "bs=1000000", f"count={SIZE // 1_000_000}")
    try:
        yield path
    finally:
        on.as_account(account, "/bin/rm", str(path))


async def downloads(on: Bed, ways: dict[str, Target], job: str, path: Path) -> dict[str, float]:
    """Return the median bytes per second of downloads over each connection, by the connection's name.

    ``srun-cat`` is the rate of ``srun cat`` of the same file. The rounds alternate between all of them.
    """
    rates: dict[str, list[float]] = {name: [] for name in (*ways, "srun-cat")}
    for _ in range(ROUNDS):
        for name, target in ways.items():
            rates[name].append(await asyncio.to_thread(target.download, FILE, SIZE))
        cat = inside(on, job, "/bin/cat", str(path))
        rates["srun-cat"].append(await asyncio.to_thread(output_rate, cat, on.cluster.env, SIZE))
    for name, each in rates.items():
        measure.note(f"download, {name}: " + ", ".join(f"{rate / MB:.0f}" for rate in each) + " MB/s")
    return {name: measure.median(each) for name, each in rates.items()}


async def in_turns(ways: dict[str, Target], once: Callable[[str], list[float]]) -> dict[str, list[float]]:
    """Run ``once`` for each connection in turn, in all rounds; return all measurements by the connection's name."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name in ways:
            taken[name] += await asyncio.to_thread(once, name)
    return taken


def tell_latency(what: str, taken: dict[str, list[float]]) -> None:
    """Print the median latency of each carrier, and by how much it exceeds the latency of ``direct``.

    ``what``: the load's name in the results; ``taken``: the latencies in seconds, by the connection's name.
    """
    middle = {name: measure.median(each) / MS for name, each in taken.items()}
    for carrier in ("tcp", "stdio"):
        peers = {name: middle[name] for name in middle if name == "ssh-L"}
        measure.report("door", f"{carrier}-{what}", middle[carrier], peers or {"direct": middle["direct"]}, "ms")
        measure.report("door", f"{carrier}-{what}-added", middle[carrier] - middle["direct"], {"aim": 2.0}, "ms")
    told = ", ".join(f"{name} {middle[name]:.2f} / {measure.percentile(taken[name], 0.95) / MS:.2f}" for name in taken)
    measure.note(f"{what}, median / p95 in ms: {told}")


async def many(carried: Carried, on: Bed, number: int) -> None:
    """Open many connections to a door from one process, and print the times and the memory.

    Each call starts a new process for the connections, so that the memory of this process can be measured.
    """
    argv = (
        sys.executable, "-m", "benchmarks.door_many", str(carried.config), str(on.catalogue),
        carried.session.model_dump_json(), str(number),
    )  # fmt: skip
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    told = json.loads(said)
    measure.note(
        f"{number} doors by {carried.carrier}: all open after {told['seconds']:.1f} s, and {told['again']:.1f} s "
        f"after all were lost at once; {told['bytes'] / 1e3:.0f} kB each in the link"
    )


async def measure_all(on: Bed, tcp: Carried, stdio: Carried, path: Path, peer: Target | None) -> None:
    """Run all measurements, and print the results.

    ``path``: the file of ``big_file``; ``peer``: the port that ``ssh -L`` forwards, None if there is none.
    """
    ways = {"direct": Target(tcp.socket, tcp.target.base), "tcp": tcp.target, "stdio": stdio.target}
    if peer is not None:
        ways["ssh-L"] = peer
    for name, target in ways.items():
        await measure.until(lambda target=target: asyncio.to_thread(target.answers), 60, f"{name} answers")
    rates = await downloads(on, ways, stdio.session.job or "", path)
    shown = {name: rate / MB for name, rate in rates.items()}
    measure.rate("door", "stdio-download", shown["stdio"], {"srun-cat": shown["srun-cat"]}, "MB/s")
    peers = {name: shown[name] for name in ("ssh-L", "stdio", "direct") if name in shown}
    measure.rate("door", "tcp-download", shown["tcp"], peers, "MB/s")
    tell_latency("small-request", await in_turns(ways, lambda name: ways[name].small(SMALL // TURNS)))
    kernels = {name: target.kernel() for name, target in ways.items()}
    tell_latency(
        "kernel-echo", await in_turns(ways, lambda name: [kernels[name].echo() for _ in range(ECHOES // TURNS)])
    )
    for kernel in kernels.values():
        kernel.close()
    await many(tcp, on, MANY)
    over_ssh = on.cluster.network is not None
    await many(stdio, on, 12 if over_ssh else MANY)  # MaxSessions of two connections, minus two for commands on each


async def main() -> None:
    """Run the benchmark, and print the results.

    With the argument ``local``, and for users who are not root, there is no sshd between link and factory. This
    measures the carriers alone.
    """
    local = os.geteuid() != 0 or "local" in sys.argv[1:]
    if local:
        measure.note("without sshd between: the link is on the login side, and there is no ssh -L to compare with")
    with bed("door", isolation=None if local else Isolation(forwarding=True, carrier="tcp")) as on:
        door = on.cluster.access_fields()["door"]
        assert isinstance(door, dict)
        with big_file(on) as path:
            async with session(on, "tcp", door) as tcp, session(on, "stdio", {"carrier": "stdio"}) as stdio:
                with contextlib.ExitStack() as stack:
                    peer = None if local else stack.enter_context(forwarded(on, tcp))
                    await measure_all(on, tcp, stdio, path, peer)


if __name__ == "__main__":
    asyncio.run(main())
