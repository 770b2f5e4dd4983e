"""The demo with isolated factories: a session behind the firewall, by each carrier, and a link with a wrong clock."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import clock, install, network
from tests.conftest import demo, free_port
from tests.support.gateway import Gateway, eventually

pytestmark = [pytest.mark.slurm, pytest.mark.root, pytest.mark.timeout(400)]

LOOK = """
import json, os, socket
def answers(address, port):
    try:
        socket.create_connection((address, port), timeout=1.5).close()
    except OSError:
        return False
    return True
print(json.dumps({"host": socket.gethostname(), "hub": answers(HUB, 22), "login": answers(LOGIN, 22)}))
"""


@pytest.fixture(params=[("--carrier", "tcp"), ("--forwarding", "no")], ids=["tcp", "stdio"])
def isolated(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    folder = install.program_folder() / "isolated"
    demo(folder, "--stop")
    shutil.rmtree(folder, ignore_errors=True)
    options = ["--detach", "--isolated", *request.param, "--factories", "it4lia", "--port", str(free_port())]
    started = demo(folder, *options)
    try:
        assert started.returncode == 0, started.stdout
        yield Gateway(folder / "demo.json")
    finally:
        stopped = demo(folder, "--stop")
    assert stopped.returncode == 0, stopped.stdout
    assert not list(Path("/run/netns").glob(f"*-{network.tag(folder / 'clusters/it4lia')}-*"))
    shutil.rmtree(folder)


def where(gateway: Gateway) -> network.Network:
    record = json.loads((gateway.path.parent / "clusters/it4lia/cluster.json").read_text())
    return network.Network.model_validate(record["place"]["network"])


def test_a_session_behind_the_firewall(isolated: Gateway) -> None:
    gateway, factory = isolated, isolated.factories["it4lia"]
    assert factory.prefix, "the administrator's way in"
    gateway.started("ada", "behind", factory="it4lia", size="gpu-1", hours=1)
    assert [job["user"] for job in factory.jobs().values()] == ["fg-ada"]

    addresses = where(gateway)
    facts = f"HUB = {addresses.hub!r}; LOGIN = {addresses.hosts[network.LOGIN]!r}"
    seen = json.loads(gateway.notebook("ada", "behind").run(f"{facts}\n{LOOK}"))
    assert seen["host"] in addresses.nodes
    assert (seen["hub"], seen["login"]) == (False, True)

    link = gateway.pid("link")
    clock.put(gateway.path.parent, "link", 90)
    eventually(lambda: gateway.pid("link") not in (0, link), what="another link")
    clock.put(gateway.path.parent, "link", 0)
    eventually(lambda: answered(gateway), 120, what="the notebook, once the door is open again")
    gateway.wait_session("ada", "behind", "running")
    assert len(factory.jobs()) == 1
    gateway.stopped("ada", "behind")


def answered(gateway: Gateway) -> bool:
    return gateway.notebook("ada", "behind").request("GET", "/api/status").status_code == 200
