"""A newcomer's session works at a factory that allows no outbound connections, with each carrier.

Everything else is unreachable.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import subprocess
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncssh
import pytest

from factorylink.catalogue.loading import load, load_link_config, offered
from factorylink.doors import carriers
from factorylink.doors.protocol import DoorFile
from factorylink.site.connecting import make_connections
from testbed import clock
from testbed.network import login_side
from testbed.network import namespaces as network
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.browser.conftest import end_sessions
from tests.browser.test_first_session import closed, test_from_login_to_a_cell_and_back  # noqa: F401 (run here as well)
from tests.faults.test_kill import back
from tests.support.gateway import Gateway, eventually
from tests.support.isolated import Visitor, answers, listener

pytestmark = [pytest.mark.slurm, pytest.mark.root, pytest.mark.timeout(400)]

T = TypeVar("T")
FACTORY, USER, ACCOUNT, SERVER = "it4lia", "ada", "fg-ada", "behind"

# Prints which of PLACES answer.
REACH = """
import json, socket
from concurrent.futures import ThreadPoolExecutor
def answers(place):
    try:
        socket.create_connection(place, timeout=1.5).close()
    except OSError:
        return False
    return True
with ThreadPoolExecutor(32) as pool:
    print(json.dumps([place for place, yes in zip(PLACES, pool.map(answers, PLACES)) if yes]))
"""
# Sends requests to the notebook's address of the hub, as the notebook itself does; prints [status, answer] of each
# path.
ASK = """
import http.client, json, os, socket
from urllib.parse import unquote, urlsplit
url = urlsplit(os.environ["JUPYTERHUB_API_URL"])
def ask(path):
    line = http.client.HTTPConnection("hub")
    line.sock = socket.socket(socket.AF_UNIX)
    line.sock.connect(unquote(url.netloc))
    line.request("GET", path, headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]})
    answer = line.getresponse()
    return [answer.status, answer.read().decode()]
print(json.dumps([ask(path) for path in [url.path + "/user", *PATHS]]))
"""


@dataclass
class Behind:
    """A running session with a kernel, at a factory that allows no outbound connections."""

    gateway: Gateway
    bed: SlurmCluster
    carrier: str
    id: str
    job: str
    node: str
    kernel: str

    def cell(self, code: str) -> str:
        """Run a cell in the notebook; return its output."""
        return self.gateway.notebook(USER, SERVER).run(code, self.kernel)

    @property
    def folder(self) -> Path:
        """Return the session's folder as a path on this machine."""
        return self.bed.folder / "homes" / ACCOUNT / ".factorygate/sessions" / self.id

    @property
    def door(self) -> DoorFile:
        return DoorFile.model_validate_json((self.folder / "door.json").read_text())


@pytest.fixture(scope="module")
def gateway(outbound_none: Gateway) -> Gateway:
    """Return the demo of ``outbound_none`` instead of the default demo."""
    return outbound_none


@pytest.fixture
def no_sessions() -> None:
    """Replace the fixture that ends sessions after each test, since one session serves most of this file."""


@pytest.fixture(scope="module")
def bed(gateway: Gateway) -> SlurmCluster:
    return cluster.load(gateway.path.parent / "clusters", FACTORY)


@pytest.fixture(scope="module")
def behind(gateway: Gateway, bed: SlurmCluster) -> Iterator[Behind]:
    end_sessions(gateway)
    gateway.started(USER, SERVER, factory=FACTORY, size="gpu-1", hours=1)
    session = gateway.session(USER, SERVER)
    assert session is not None and bed.record.isolation is not None
    kernel = gateway.notebook(USER, SERVER).kernel()
    carrier = bed.record.isolation.carrier
    made = Behind(gateway, bed, carrier, session["id"], session["job"], session["node"], kernel)
    assert made.cell("print(6 * 7)") == "42\n"  # the kernel answers
    yield made
    gateway.stopped(USER, SERVER)


@pytest.fixture(scope="module")
def visitor(bed: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Visitor:
    return Visitor(tmp_path_factory.mktemp("keys"), bed)


# --- listening sockets -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listener:
    address: str
    port: int
    owner: int
    argv: str

    @property
    def on_loopback(self) -> bool:
        return self.address.startswith(("127.", "[::1]"))


def owned(bed: SlurmCluster, host: str) -> tuple[list[str]] | None:
    """Return the lines of ``ss`` for all listening sockets on a host, in a tuple, which is true even without lines.

    Return None if a socket has no process, as happens while its process ends.
    """
    told = subprocess.run([*bed.on(host), "ss", "-Hnlptu"], capture_output=True, text=True, check=True, timeout=60)
    lines = told.stdout.splitlines()
    return (lines,) if all("pid=" in line for line in lines) else None


def listeners(bed: SlurmCluster, host: str) -> list[Listener]:
    """Return all TCP and UDP sockets on a host that wait for connections or data, whoever owns them."""
    found_lines = eventually(lambda: owned(bed, host), what=f"each socket on {host} is somebody's")
    assert found_lines is not None
    found = []
    for line in found_lines[0]:
        address, _, port = line.split()[4].rpartition(":")
        for pid in (int(pid) for pid in re.findall(r"pid=(\d+)", line)):
            try:
                argv = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                owner = os.stat(f"/proc/{pid}").st_uid
            except (FileNotFoundError, ProcessLookupError):
                continue  # the process ended in the meantime
            if not argv:
                continue  # it has ended, and its parent has not waited for it yet
            found.append(Listener(address, int(port), owner, argv))
    return found


def test_only_the_door_listens_on_nodes_and_kernels_on_loopback(behind: Behind) -> None:
    found = {host: listeners(behind.bed, host) for host in behind.bed.nodes}
    for host in found:
        scheduler = [each for each in found[host] if each.owner == 0]
        assert {Path(each.argv.split()[0]).name for each in scheduler} == {"slurmd"}, scheduler
    theirs = {host: [each for each in found[host] if each.owner != 0] for host in found}
    session = theirs.pop(behind.node)
    assert not any(theirs.values()), "on a node without a session"
    assert {each.owner for each in session} == {pwd.getpwnam(ACCOUNT).pw_uid}
    inner = [each for each in session if each.on_loopback]
    assert inner and all("ipykernel_launcher" in each.argv for each in inner), inner
    outer = [each for each in session if not each.on_loopback]
    if behind.carrier == "stdio":
        assert outer == []
    else:
        [door] = outer
        assert "factorygate.session" in door.argv
        assert door.port == behind.door.port
        assert login_side.DOOR_PORTS[0] <= door.port <= login_side.DOOR_PORTS[1]


def test_the_gateway_listens_on_no_port_of_the_login_side(behind: Behind) -> None:
    programs = {Path(each.argv.split()[0].rstrip(":")).name for each in listeners(behind.bed, network.LOGIN)}
    entered = {"srun"} if behind.carrier == "stdio" else set()  # the scheduler's own connection into a job
    assert programs <= {"sshd", "slurmctld", *entered}


def test_the_door_takes_keys_only_and_no_strangers(behind: Behind) -> None:
    other = next(node for node in behind.bed.nodes if node != behind.node)
    if behind.carrier == "stdio":
        code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        as_grace = ["setpriv", "--reuid=fg-grace", "--regid=fg-grace", "--init-groups"]
        argv = ["/usr/bin/python3", "-c", code, str(behind.door.socket)]
        for who, refused in (([], False), (as_grace, True)):
            on = behind.bed.on(behind.node)
            done = subprocess.run([*on, *who, *argv], capture_output=True, text=True, timeout=60, check=False)
            assert ("PermissionError" in done.stderr) is refused, done.stderr
        return
    argv = ["ssh", "-F", "none", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-p"]
    argv += [str(behind.door.port), "-oPreferredAuthentications=none", f"link@{behind.node}", "hello"]
    done = subprocess.run([*behind.bed.on(other), *argv], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 255
    assert "Permission denied (publickey)." in done.stderr


# --- reachable addresses ---------------------------------------------------------------------------------------------


def addresses_of_the_hub() -> list[str]:
    """Return the addresses of this machine's own network namespace, without loopback and link-local addresses."""
    told = subprocess.run(["ip", "-json", "address"], capture_output=True, text=True, check=True).stdout
    found = [each["local"] for link in json.loads(told) for each in link["addr_info"] if each["scope"] == "global"]
    assert found
    return found


def test_the_hubs_addresses_do_not_answer_inside_but_its_api_does(behind: Behind) -> None:
    hub = addresses_of_the_hub()
    assert network_of(behind.bed).hub in hub
    front = urlsplit(behind.gateway.root).port or 80
    loopback = [("127.0.0.1", front + offset) for offset in (0, 81)]  # proxy and hub
    with listener("") as open_port:
        assert all(answers(address, open_port) for address in hub if ":" not in address)
        assert all(answers(*place) for place in loopback)
        places = [(address, port) for address in hub for port in (open_port, 22)] + loopback
        inside = [*behind.bed.nodes, network.LOGIN]
        code = f"PLACES = {places}\n{REACH}"
        assert json.loads(behind.cell(code)) == []
        for host in inside:
            argv = [*behind.bed.on(host), "/usr/bin/python3", "-c", code]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
            assert json.loads(done.stdout) == [], host
    # the same code does find what exists
    beside = [[network_of(behind.bed).hosts[network.LOGIN], 22]]
    assert json.loads(behind.cell(f"PLACES = {beside}\n{REACH}")) == beside

    (status, user), *others = json.loads(behind.cell(f"PATHS = ['/hub/login', '/user/grace/', '/']\n{ASK}"))
    assert status == 200 and json.loads(user)["name"] == USER
    assert [status for status, _ in others] == [404, 404, 404]


def network_of(bed: SlurmCluster) -> network.Network:
    assert bed.network is not None
    return bed.network


# --- forwarding ------------------------------------------------------------------------------------------------------


def test_the_login_side_forwards_to_doors_at_most(behind: Behind, visitor: Visitor) -> None:
    hosts, first = network_of(behind.bed).hosts, login_side.DOOR_PORTS[0]
    kernel = next(each.port for each in listeners(behind.bed, behind.node) if each.on_loopback)
    for refused in (
        *(f"{network_of(behind.bed).hub}:22", f"{hosts[network.LOGIN]}:22", f"localhost:{first}", "localhost:6817"),
        *(f"{behind.node}:6818", f"{behind.node}:{kernel}", f"{behind.node}:{login_side.DOOR_PORTS[1] + 1}"),
    ):
        assert "administratively prohibited" in visitor.run(ACCOUNT, "", "-W", refused).stderr, refused
    target = f"{behind.node}:{behind.door.port or first}"
    said = visitor.run(ACCOUNT, "", "-W", target)
    if behind.carrier == "tcp":
        assert said.stdout.startswith("SSH-2.0-")
    else:
        assert "administratively prohibited" in said.stderr
    backwards = visitor.run(ACCOUNT, "true", "-oExitOnForwardFailure=yes", "-R", "12345:127.0.0.1:22")
    assert "remote port forwarding failed" in backwards.stderr
    in_a_thread(reach_a_socket(visitor, f"{behind.bed.record.place.base}/munge/munge.sock"))


async def reach_a_socket(visitor: Visitor, path: str) -> None:
    """Assert that sshd refuses a connection to a Unix socket.

    The connection is made with asyncssh, since OpenSSH's client can reach a Unix socket only by a local listener.
    """
    key = visitor.key(ACCOUNT)
    async with asyncssh.connect(
        visitor.address,
        username=ACCOUNT,
        client_keys=[(str(key), f"{key}-cert.pub")],
        known_hosts=str(visitor.folder / "known_hosts"),
    ) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_unix_connection(path)


def in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread, and return its result; Playwright's event loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@asynccontextmanager
async def through_the_door(behind: Behind) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Yield a connection to the door, made with the link's own key and the link's own route."""
    config = load_link_config(behind.gateway.path.parent / "link.yaml")
    place = make_connections(config, offered(config, load(config.catalogue)))[FACTORY]
    try:
        python = place.factory.environments[0].python
        assert python is not None
        bridge = (python, "-P", "-m", "factorygate.session.bridge")
        carrier = carriers.carrier(place.access.door, place.dialect, behind.job, behind.node, bridge)
        way = carriers.Route(behind.id, FACTORY, ACCOUNT, "", place.commands, place.streams, carrier)
        wire = await way.open(behind.door)
        async with asyncssh.connect(
            "the door",
            tunnel=wire,
            username="link",
            client_keys=[str(config.state_dir / "link_ed25519")],
            known_hosts=([asyncssh.import_public_key(behind.door.host_key)], [], []),
            config=None,
            agent_path=None,
        ) as connection:
            yield connection
        wire.close()
    finally:
        await place.commands.close()


def test_the_door_forwards_to_its_own_sockets_only(behind: Behind) -> None:
    refused = in_a_thread(try_the_door(behind))
    log = behind.folder / "job.log"
    for each in refused:
        eventually(lambda each=each: f"refused: {each}\n" in log.read_text(), what=each)  # type: ignore[misc]
    assert behind.gateway.notebook(USER, SERVER).request("GET", "/api/status").status_code == 200


async def try_the_door(behind: Behind) -> list[str]:
    """Assert that the door refuses forbidden things; return the texts with which its log must report each refusal."""
    hosts = network_of(behind.bed).hosts
    kernel = next(each.port for each in listeners(behind.bed, behind.node) if each.on_loopback)
    refused = []
    async with through_the_door(behind) as door:
        told = json.loads(str((await door.run("hello", check=True)).stdout))
        for host, port in (("127.0.0.1", kernel), ("localhost", 6818), (hosts[network.LOGIN], 22), (behind.node, 22)):
            with pytest.raises(asyncssh.ChannelOpenError):
                await door.open_connection(host, port)
            refused.append(f"a connection to {host!r} port {port}")
        for path in ("/run/munge/munge.socket.2", told["notebook_sock"] + "/../hub.sock", "notebook.sock", ""):
            with pytest.raises(asyncssh.ChannelOpenError):
                await door.open_unix_connection(path)
            refused.append(f"a connection to {path!r}")
        for listen, said in (
            (door.forward_remote_port("", 0, "127.0.0.1", 1), "to listen on '' port 0"),
            (door.forward_remote_path("/tmp/x", "/tmp/y"), "to listen on '/tmp/x'"),
        ):
            with pytest.raises(asyncssh.ChannelListenError):
                await listen
            refused.append(said)
        for command, said in (("id", "command 'id'"), ("hello; id", "command 'hello; id'"), (None, "a shell")):
            with pytest.raises(asyncssh.ChannelOpenError):
                await door.run(command)
            refused.append(said)
        with pytest.raises(asyncssh.ChannelOpenError):
            await door.start_sftp_client()
        refused.append("subsystem 'sftp'")

        reader, writer = await door.open_unix_connection(told["notebook_sock"], encoding=None)
        writer.write(f"GET /user/{USER}/{SERVER}/api HTTP/1.0\r\n\r\n".encode())
        assert b" 200 " in await asyncio.wait_for(reader.readline(), 60)
        writer.close()
    return refused


# --- the session goes on ---------------------------------------------------------------------------------------------


def test_a_link_with_a_wrong_clock_gets_there_too(behind: Behind) -> None:
    gateway = behind.gateway
    link = gateway.pid("link")
    clock.put(gateway.path.parent, "link", 90)
    eventually(lambda: gateway.pid("link") not in (0, link), what="another link")
    clock.put(gateway.path.parent, "link", 0)
    notebook = gateway.notebook(USER, SERVER)
    eventually(lambda: back(gateway), 120, what="all answer again")
    eventually(lambda: notebook.request("GET", "/api/status").status_code == 200, 120, what="the door is open again")
    gateway.wait_session(USER, SERVER, "running")
    assert list(gateway.factories[FACTORY].jobs()) == [behind.job]
