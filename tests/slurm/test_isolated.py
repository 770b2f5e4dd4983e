"""Isolated factories: reachable addresses, the rules of sshd, and a complete removal."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest

from factorylink.config import Access
from testbed import processes
from testbed.faults import faults
from testbed.network import login_side
from testbed.network import namespaces as network
from testbed.network.login_side import Isolation
from testbed.network.namespaces import LOGIN
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.support.isolated import Visitor, answers, keygen, listener
from tests.support.trial import CHECKOUT, FACTORY, eventually, python

pytestmark = [pytest.mark.slurm, pytest.mark.root]

OPEN = FACTORY.model_copy(update={"id": "open-aif", "outbound": "login"})
ADA, GRACE = "fg-ada", "fg-grace"


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """Return a state folder outside of pytest's own folder, which site accounts may not enter."""
    folder = Path(tempfile.mkdtemp(prefix="factorygate-isolated-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def closed(state: Path) -> Iterator[SlurmCluster]:
    """Start a site that allows no outbound connections."""
    found = cluster.up(FACTORY, state, isolation=Isolation())
    yield found
    found.down()


@pytest.fixture(scope="module")
def opened(state: Path) -> Iterator[SlurmCluster]:
    """Start a site whose login nodes have Internet access, and whose sshd forwards no connections."""
    found = cluster.up(OPEN, state, gpu_nodes=1, isolation=Isolation(forwarding=False, carrier="stdio"))
    yield found
    found.down()


@pytest.fixture(scope="module")
def visitor(closed: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Visitor:
    return Visitor(tmp_path_factory.mktemp("keys"), closed)


@pytest.fixture(scope="module")
def visitor_of_opened(opened: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Visitor:
    return Visitor(tmp_path_factory.mktemp("keys"), opened)


def where(found: SlurmCluster) -> network.Network:
    assert found.network is not None
    return found.network


# --- reachable addresses ---------------------------------------------------------------------------------------------


def test_the_hub_reaches_the_logins_ssh_and_nothing_else(closed: SlurmCluster) -> None:
    hosts = where(closed).hosts
    ports = {LOGIN: 6817, **dict.fromkeys(closed.nodes, 6818)}
    assert answers(hosts[LOGIN], 22)
    for host, port in ports.items():
        assert answers(hosts[host], port, closed.on("gpu001")), f"{host} does not answer inside"
        assert not answers(hosts[host], port), f"{host} answers outside"


def test_an_isolated_factory_cannot_connect_to_the_hub(closed: SlurmCluster) -> None:
    hub = where(closed).hub
    with listener(hub) as port:
        assert answers(hub, port)
        for host in where(closed).hosts:
            assert not answers(hub, port, closed.on(host)), host


def test_a_login_side_reaches_out_where_the_catalogue_says_so_and_compute_nodes_never(opened: SlurmCluster) -> None:
    hub = where(opened).hub
    with listener(hub) as port:
        assert answers(hub, port, opened.on(LOGIN))
        assert not answers(hub, port, opened.on("gpu001"))


def test_two_isolated_factories_cannot_reach_each_other(closed: SlurmCluster, opened: SlurmCluster) -> None:
    assert where(closed).subnet != where(opened).subnet
    assert answers(where(closed).hosts[LOGIN], 22)
    assert not answers(where(closed).hosts[LOGIN], 22, opened.on("gpu001"))


def test_names_are_known_inside_only(closed: SlurmCluster, visitor: Visitor) -> None:
    assert visitor.says(ADA, "hostname") == LOGIN
    assert visitor.says(ADA, "getent hosts gpu001").split() == [where(closed).hosts["gpu001"], "gpu001"]
    assert subprocess.run(["getent", "hosts", "gpu001"], capture_output=True, check=False).returncode != 0


# --- the rules of sshd ------------------------------------------------------------------------------------------------


def test_a_certificate_is_good_for_its_account_only(visitor: Visitor) -> None:
    assert visitor.says(ADA, "id -un") == ADA
    refused = visitor.run(GRACE, "true", key=visitor.key(ADA))
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr
    assert visitor.run("root", "true", key=visitor.key("root")).returncode == 255


def test_a_key_that_the_site_was_given_is_good_too(closed: SlurmCluster, visitor: Visitor) -> None:
    key = visitor.key(name="plain")
    assert visitor.run(GRACE, "true", key=key).returncode == 255
    login_side.authorize(closed.folder, GRACE, Path(f"{key}.pub").read_text())
    assert visitor.run(GRACE, "id -un", key=key).stdout.strip() == GRACE


def test_a_certificate_of_another_ca_is_refused(visitor: Visitor) -> None:
    other, key = visitor.folder / "other_ca", visitor.key(name="stranger")
    keygen("-t", "ed25519", "-N", "", "-f", str(other))
    keygen("-s", str(other), "-I", "stranger", "-n", ADA, "-V", "+1h", f"{key}.pub")
    assert visitor.run(ADA, "true", key=key).returncode == 255


async def test_one_connection_carries_ten_commands_at_a_time(closed: SlurmCluster, visitor: Visitor) -> None:
    key = visitor.key(ADA)
    async with asyncssh.connect(
        visitor.address,
        username=ADA,
        client_keys=[(str(key), f"{key}-cert.pub")],
        known_hosts=str(visitor.folder / "known_hosts"),
    ) as connection:
        running = [await connection.create_process("cat") for _ in range(10)]
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_process("cat")
        running[0].stdin.write_eof()
        await running[0].wait_closed()
        while True:  # sshd notices this after a moment, without an event
            try:
                again = await connection.run("echo again")
                break
            except asyncssh.ChannelOpenError:
                await asyncio.sleep(0.05)
        assert again.stdout == "again\n"


def test_doors_ports_are_forwarded_where_the_site_allows_it_and_no_others(
    closed: SlurmCluster, opened: SlurmCluster, visitor: Visitor, visitor_of_opened: Visitor
) -> None:
    first, last = login_side.DOOR_PORTS
    for port in (first, last):
        with speaker(closed, "gpu001", port):
            assert visitor.run(ADA, "", "-W", f"gpu001:{port}").stdout == "said\n"
    with speaker(opened, "gpu001", first):
        assert "administratively prohibited" in visitor_of_opened.run(ADA, "", "-W", f"gpu001:{first}").stderr
    hosts = where(closed).hosts
    others = [f"gpu001:{last + 1}", f"{LOGIN}:{first}", f"{hosts[LOGIN]}:22", f"{where(closed).hub}:{first}"]
    for other in ("gpu001:6818", "localhost:6817", *others):
        assert "administratively prohibited" in visitor.run(ADA, "", "-W", other).stderr, other
    backwards = visitor.run(ADA, "true", "-oExitOnForwardFailure=yes", "-R", "12345:127.0.0.1:22")
    assert "remote port forwarding failed" in backwards.stderr


@contextmanager
def speaker(found: SlurmCluster, host: str, port: int) -> Iterator[None]:
    """Run a server that greets every client of that port."""
    code = (
        "import socket, sys; server = socket.create_server(('', int(sys.argv[1]))); print(flush=True)\n"
        "while True: line = server.accept()[0]; line.sendall(b'said\\n'); line.close()"
    )
    process = subprocess.Popen(
        [*found.on(host), "/usr/bin/python3", "-c", code, str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout and process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


# --- a running factory -----------------------------------------------------------------------------------------------


def test_a_job_runs_on_a_node_and_the_watcher_sees_it(visitor: Visitor) -> None:
    assert visitor.says(ADA, "srun -p shared -t 1 -w gpu002 hostname") == "gpu002"
    job = visitor.says(ADA, "sbatch --parsable -p shared -t 5 -o /dev/null --wrap 'sleep 300'")
    assert eventually(lambda: visitor.says(login_side.WATCHER, f"squeue -h -j {job} -o '%u %T'") == f"{ADA} RUNNING")
    visitor.says(ADA, f"scancel {job}")


def test_the_administrators_prefix_leads_to_slurm(closed: SlurmCluster) -> None:
    described = closed.describe()
    assert described["prefix"] == list(closed.prefix) != []
    answer = subprocess.run(
        [*closed.prefix, "sinfo", "-h", "-N", "-o", "%N"],
        env=closed.env, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert set(answer.stdout.split()) == set(closed.nodes)


def test_homes_are_the_factorys_own(closed: SlurmCluster, visitor: Visitor, visitor_of_opened: Visitor) -> None:
    visitor.says(ADA, "echo kept > ~/here")
    assert visitor.says(ADA, "srun -p shared -t 1 cat here") == "kept"
    assert visitor.run(GRACE, f"cat ~{ADA}/here").returncode != 0
    assert visitor_of_opened.run(ADA, "cat ~/here").returncode != 0
    assert (closed.folder / "homes" / ADA / "here").read_text() == "kept\n"
    assert not Path(f"/home/{ADA}/here").exists()


def test_the_link_is_told_how_to_get_there(closed: SlurmCluster, opened: SlurmCluster, visitor: Visitor) -> None:
    access = Access.model_validate(closed.access_fields())
    assert access.transport.kind == "ssh"
    assert access.transport.hosts == (visitor.address,)
    assert access.transport.host_keys[0] in (visitor.folder / "known_hosts").read_text()
    assert (access.door.carrier, access.door.ports) == ("tcp", login_side.DOOR_PORTS)
    assert Access.model_validate(opened.access_fields()).door.carrier == "stdio"


# --- its removal ------------------------------------------------------------------------------------------------------


def traces(found: SlurmCluster) -> list[str]:
    """Return what a factory has on this machine except files: namespaces, interfaces, routes, mounts, processes."""
    tag = where(found).tag
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [
        *(path.name for path in Path("/run/netns").glob(f"*{tag}*")),
        *(path.name for path in Path("/sys/class/net").glob(f"*{tag}*")),
        *(line for line in routes if tag in line or where(found).subnet in line),
        *(line for line in mounts if str(found.folder) in line),
        *(str(process) for process in processes.of_cluster(found.folder)),
    ]


def test_up_adopts_what_runs_and_repairs_what_died(state: Path, closed: SlurmCluster) -> None:
    before = closed.pids
    assert "sshd" in before
    closed.kill("sshd")
    again = cluster.up(FACTORY, state, isolation=Isolation()).pids
    assert again.pop("sshd") != before.pop("sshd")
    assert again == before


def test_down_leaves_nothing_and_a_start_after_a_crash_works(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = Path(tempfile.mkdtemp(prefix="factorygate-crashed-"))
    folder.chmod(0o755)
    small = {"gpu_nodes": 1, "isolation": Isolation()}
    try:
        made = cluster.up(FACTORY, folder, **small)  # type: ignore[arg-type]
        person = Visitor(tmp_path_factory.mktemp("keys"), made)
        person.says(ADA, "sbatch -p shared -t 5 -o /dev/null --wrap 'sleep 300'")
        for process in processes.of_cluster(made.folder, network.inodes(made.folder)):
            processes.kill(process)
        subprocess.run(["ip", "netns", "delete", where(made).namespace("gpu001")], check=True)
        again = cluster.up(FACTORY, folder, **small)  # type: ignore[arg-type]
        assert person.says(ADA, "squeue -h") == ""
        faults.begin(again, "slow", 10, 0)
        faults.begin(again, "disk-full", ADA)
        person.says(ADA, "sbatch -p shared -t 5 -o /dev/null --wrap 'sleep 300'")
        with person.line(ADA):
            assert len(traces(again)) > 10
            again.down()
            assert traces(again) == []
        assert faults.standing(again) == []
    finally:
        for name in cluster.known(folder):
            cluster.load(folder, name).down()
        shutil.rmtree(folder)


def test_without_root_isolation_is_refused_with_the_reason(state: Path) -> None:
    answer = python("-m", "testbed", "up", "it4lia", "--isolated", "--state", str(state / "own"), user=ADA)
    assert answer.returncode == 3
    assert "root" in answer.stderr


def test_the_command_line_shows_a_factory_and_refuses_options_that_do_not_fit(
    state: Path, closed: SlurmCluster
) -> None:
    answer = python("-m", "testbed", "env", FACTORY.id, "--state", str(state))
    assert json.loads(answer.stdout)["prefix"] == list(closed.prefix)
    odd = python("-m", "testbed", "up", "it4lia", "--isolated", "--forwarding", "no", "--carrier", "tcp",
                 "--catalogue", str(CHECKOUT / "hub_config/factories"), "--state", str(state))  # fmt: skip
    assert odd.returncode == 1
    assert "needs forwarding" in odd.stderr
