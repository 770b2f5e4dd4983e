"""The demo's command line: the options for isolation and accounting."""

from __future__ import annotations

import pwd
import socket
import subprocess
from pathlib import Path

import pytest

from factorycommon.models import Projects
from factorylink.catalogue import catalogue as federation
from factorylink.config import Access
from factorylink.projects import workshop_table
from factoryspawner.config import hub_config
from testbed.demo import command as demo_command
from testbed.demo import login as demo_login
from testbed.demo.command import open_private
from testbed.demo.folder import DemoFolder, Login, environment
from testbed.demo.options import Ports, arguments, locked
from testbed.demo.run import ROUTE_PAUSES, retry
from testbed.errors import CannotRun
from testbed.network.login_side import Isolation, isolation
from testbed.options import isolation_argv
from tests.conftest import DEMO_SLOTS, WORKER, demo_ports, free_port
from tests.support.trial import CHECKOUT, ORDINARY, ensure_ordinary_user
from workshops import config as workshops_config

BARE = "/usr/bin/python3"


def test_no_two_demos_of_the_tests_share_a_port() -> None:
    processes = 4  # as bin/test starts them
    used: dict[int, int] = {}
    for slot in range(len(DEMO_SLOTS) + processes):
        ports = Ports(demo_ports(slot)[0])
        first, last = ports.sessions
        assert last < 31000  # where other programs of the tests listen
        for port in (*ports.single, *range(first, last + 1)):
            assert used.setdefault(port, slot) == slot, port


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        ([], None),
        (["--forwarding", "no"], None),
        (["--isolated"], Isolation(forwarding=True, carrier="tcp")),
        (["--isolated", "--carrier", "stdio"], Isolation(forwarding=True, carrier="stdio")),
        (["--isolated", "--forwarding", "no"], Isolation(forwarding=False, carrier="stdio")),
    ],
)
def test_a_detached_demo_means_the_same(argv: list[str], meant: Isolation | None) -> None:
    options = arguments(argv)
    assert isolation(options) == meant
    assert isolation(arguments(isolation_argv(options))) == meant


def test_a_login_without_passwords_stays_on_this_machine(tmp_path: Path) -> None:
    assert arguments([]).login == "passwords"
    assert arguments(["--login", "oidc"]).login == "oidc"
    here, elsewhere = "http://127.0.0.1:8000", "https://gateway.example.org"
    for public_url, issuer in ((elsewhere, here), (here, elsewhere)):
        with pytest.raises(CannotRun, match="lets anybody in"):
            demo_login.hub_settings(tmp_path, public_url, issuer)
    assert not list(tmp_path.iterdir())
    settings = demo_login.hub_settings(tmp_path, here, "http://localhost:8091")
    assert set(settings["providers"][0]["names"]) == set(demo_login.GROUPS)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_everybody_of_the_demo_has_a_project(count: int) -> None:
    ids = ["lumi-aif", "it4lia", "brainpp"][:count]
    made = Projects.model_validate(demo_login.projects(ids)).projects
    for name, groups in demo_login.GROUPS.items():
        assert any(project.has(name, frozenset(groups)) for project in made)
    assert {factory for project in made for factory in project.factories} == set(ids)


@pytest.mark.parametrize("login", ["passwords", "oidc"])
def test_the_demo_s_workshops_fit_its_catalogue(tmp_path: Path, login: Login) -> None:
    known = federation.load(CHECKOUT / "hub_config" / "factories").factories
    chosen = {name: known[name] for name in ("lumi-aif", "it4lia", "brainpp")}
    folder = DemoFolder(tmp_path / "demo", Ports(8000), tmp_path / "programs", login, workshop=True)
    folder.prepare()
    hub = hub_config.load(folder.write_hub_config())
    service = workshops_config.load(folder.write_workshops_config(chosen))
    accesses = {name: Access(environments=(environment(folder.programs),)) for name in chosen}
    pools = workshop_table.read_pools(service.pools, chosen, accesses)
    assert [pool.factory for pool in pools.pools] == list(chosen)
    assert service.trainers.has(folder.trainer, frozenset())
    assert hub.workshops is not None
    assert (hub.workshops.socket, hub.workshops.url) == (service.socket, f"http://127.0.0.1:{service.listen_port}")
    assert (folder.trainer in folder.logins()) or login == "oidc"


def test_a_detached_demo_has_its_workshop(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    class Child:
        def __init__(self, argv: list[str], **_more: object) -> None:
            started.extend(argv)

        def wait(self) -> int:
            return 7

    monkeypatch.setattr(demo_command.subprocess, "Popen", Child)
    assert demo_command.detach(arguments(["--workshop"])) == 7
    assert "--workshop" in started


# --- refused before anything is installed or started


def early(folder: Path, *options: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``python3 -m testbed.demo.options`` as ``bin/demo`` does, under the system's bare Python; return the result.

    ``user``: the user's id, if not the present user's.
    """
    argv = [BARE, "-S", "-m", "testbed.demo.options", "--folder", str(folder), *options]
    return subprocess.run(
        argv, cwd=CHECKOUT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=110, check=False,
        user=user,
    )  # fmt: skip


@pytest.mark.parametrize("offset", [0, 1, 81, 90])
def test_a_taken_port_is_told_before_anything_is_installed(tmp_path: Path, offset: int) -> None:
    first = 9600 + 100 * (int(WORKER or 0) % 4)  # the offsets of the other processes' tests lie beyond
    port = free_port(range(first, first + 9))
    assert early(tmp_path, "--port", str(port)).returncode == 0
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port + offset))
        other.listen()
        refused = early(tmp_path, "--port", str(port))
        assert refused.returncode == 1
        assert f"port {port + offset} of 127.0.0.1 is in use by another program" in refused.stderr
        # the next start ends the programs of a demo that was killed
        (tmp_path / "processes.json").write_text("{}")
        assert early(tmp_path, "--port", str(port)).returncode == 0
        (tmp_path / "processes.json").unlink()
        # a running demo is asked for its address
        with open_private(tmp_path / "lock") as lock, locked(lock.fileno()) as ours:
            assert ours
            assert early(tmp_path, "--port", str(port)).returncode == 0


@pytest.mark.root
def test_isolated_factories_without_root_are_refused_before_anything_starts() -> None:
    ensure_ordinary_user()
    folder = Path("/tmp") / "no-demo-here"  # nothing is created there
    refused = early(folder, "--isolated", user=pwd.getpwnam(ORDINARY).pw_uid)
    assert refused.returncode == 3
    assert "--isolated needs root" in refused.stderr
    assert not folder.exists()


def test_bin_demo_looks_for_obstacles_before_it_installs() -> None:
    lines = (CHECKOUT / "bin" / "demo").read_text().splitlines()
    looks, installs = (
        next(number for number, line in enumerate(lines) if f"-m {module}" in line)
        for module in ("testbed.demo.options", "testbed.install demo")
    )
    assert looks < installs


def test_a_bare_checkout_says_what_to_run() -> None:
    argv = [BARE, "-S", "-m", "testbed", "up", "it4lia"]
    env = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "lacks the testbed's packages" in done.stderr
    assert done.stderr.strip().endswith("/hub/bin/python -m testbed up it4lia")


async def test_a_hub_that_refuses_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    answers = iter([False] * 30 + [True])

    async def sleep(seconds: float) -> None:
        pauses.append(round(seconds, 1))

    async def check() -> bool:
        return next(answers)

    monkeypatch.setattr("testbed.demo.run.asyncio.sleep", sleep)
    await retry(check, ROUTE_PAUSES)
    assert len(pauses) == 30
    assert pauses[:20] == [0.1] * 20  # a proxy that is starting gets its routes at once
    assert pauses[20:24] == [0.5, 1.0, 2.0, 5.0]
    assert set(pauses[24:]) == {5.0}
