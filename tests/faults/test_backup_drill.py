"""The backup drill: a gateway is backed up while it runs, lost with its machine, and restored onto an empty one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page
from websockets.exceptions import WebSocketException

from testbed import processes
from testbed.demo.folder import DemoFolder
from testbed.demo.options import Ports
from testbed.demo.run import environment_passed_on
from testbed.identity import end_now
from testbed.install import environments as install
from testbed.supervisor import Program, SupervisorRecord
from tests.browser.test_oidc import accept_terms, provider_says
from tests.conftest import PORTS, started
from tests.faults.test_kill import back
from tests.support.gateway import Gateway, eventually

KIM = "kim-1"  # the name that the gateway makes for somebody of whom no operator wrote one
OF_THE_FACTORY = ("clusters", "home")  # what a lost gateway does not take along


@pytest.fixture(scope="module")
def gateway(demo_folder: Path) -> Iterator[Gateway]:
    """Start a demo with a login provider and one factory."""
    folder = demo_folder.with_name("tested-backup")
    yield from started(None, folder, PORTS["backup"], "--login", "oidc", "--factories", "brainpp")


@pytest.fixture
def provider(gateway: Gateway) -> Iterator[None]:
    """Keep the login provider running when the gateway's machine is lost, since it belongs to somebody else."""
    known = SupervisorRecord(gateway.path.parent / "processes.json").read()
    provider_says(gateway, "kim", "climate")
    yield
    end_now(known["provider"], 5)


def factorygate(*words: str) -> str:
    """Run the command ``factorygate``; assert that it succeeds, and return its output."""
    argv = [sys.executable, "-m", "factoryoperator", *words]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def configuration(gateway: Gateway) -> tuple[str, ...]:
    folder = gateway.path.parent
    return ("--hub", str(folder / "hub.yaml"), "--link", str(folder / "link.yaml"))


def log_in(gateway: Gateway, page: Page, name: str) -> str:
    """Log in as one of the provider's people; return the person's user name at the gateway."""
    page.context.clear_cookies()
    page.goto(f"{gateway.hub}/login")
    page.get_by_role("link", name=re.compile("^Sign in with")).click()
    page.get_by_placeholder("sub").fill(name)
    page.get_by_role("button", name="Authorize", exact=True).click()
    page.wait_for_url(re.compile(r"/hub/(checklist|home|spawn)"))
    if "/checklist" in page.url:
        accept_terms(page)
        page.wait_for_url(re.compile(r"/hub/(home|spawn)"))
    return user_of(page)


def user_of(page: Page) -> str:
    """Return the user name of the person who is logged in, as the hub's page shows it."""
    return str(page.evaluate("window.jhdata.user"))


def workshop(gateway: Gateway, method: str, path: str = "", **body: Any) -> dict[str, Any]:
    """Create a workshop as a trainer, or read one; return some of its fields, {} if the service does not answer yet."""
    url = f"{gateway.root}/services/workshops/api/workshops{path}"
    headers = {"Authorization": f"Bearer {gateway.token('grace')}"}
    try:
        answer = httpx.request(method, url, headers=headers, json=body or None, timeout=60)
    except httpx.HTTPError:
        return {}
    found: dict[str, Any] = answer.json() if answer.is_success else {}
    return {key: found.get(key) for key in ("slug", "title", "state", "opens", "seats", "places")} if found else {}


def plan() -> dict[str, Any]:
    """Return the request body of a workshop that opens tomorrow."""
    hours = {"opens": 24, "starts": 25, "ends": 28, "closes": 29}
    times = {name: (datetime.now(UTC) + timedelta(hours=by)).isoformat() for name, by in hours.items()}
    place = {"factory": "brainpp", "size": "gpu-1"}
    return {"title": "After the flood", **times, "seats": 2, "hours": 2, "places": [place]}


def lose_the_machine(gateway: Gateway) -> None:
    """Kill the gateway's programs with SIGKILL, and remove all its files. The factory and its jobs go on."""
    folder = gateway.path.parent
    supervisor = json.loads((folder / "supervisor.json").read_text())["supervisor"]["pid"]
    programs = json.loads((folder / "processes.json").read_text())
    pids = (supervisor, *(programs[part]["pid"] for part in ("hub", "proxy", "link", "workshops")))
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it ended with the supervisor
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(processes.find(pid) for pid in pids), what="none of them writes any more")
    eventually(lambda: not back(gateway), what="nobody answers any more")
    for path in folder.iterdir():
        if path.name in OF_THE_FACTORY:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def run(program: Program) -> subprocess.Popen[bytes]:
    program.log.parent.mkdir(exist_ok=True)
    with program.log.open("ab") as log:
        return subprocess.Popen(program.argv, cwd=program.cwd, env=dict(program.env), stdout=log, stderr=log)


@pytest.mark.usefixtures("provider")
def test_a_gateway_that_was_lost_is_restored_from_its_backup(gateway: Gateway, page: Page, tmp_path: Path) -> None:
    for name, known in (("kim", KIM), ("grace", "grace")):
        assert log_in(gateway, page, name) == known
    gateway.started(KIM, "drill", factory="brainpp", size="gpu-1", hours=1)
    gateway.started("grace", "drill", factory="brainpp", size="gpu-1", hours=1)
    before = {user: gateway.session(user, "drill") for user in (KIM, "grace")}
    kernel = gateway.notebook(KIM, "drill").kernel()
    gateway.notebook(KIM, "drill").run("kept = 42", kernel)
    slug = workshop(gateway, "POST", **plan())["slug"]
    planned = workshop(gateway, "GET", f"/{slug}")
    assert planned["title"] == "After the flood"
    assert "Nothing is wrong." in factorygate("check", *configuration(gateway))

    backup = tmp_path / "backup.tar.gz"
    factorygate("backup", *configuration(gateway), str(backup))
    lose_the_machine(gateway)
    factorygate("restore", str(backup))

    folder = DemoFolder(gateway.path.parent, Ports(httpx.URL(gateway.url).port or 0), install.program_folder(), "oidc")
    environ = environment_passed_on()
    parts = (folder.link, folder.workshops, folder.hub, folder.proxy)
    running = [run(part(environ)) for part in parts]
    try:
        eventually(lambda: back(gateway), 120, what="hub, proxy and link answer")
        eventually(lambda: workshop(gateway, "GET", f"/{slug}") == planned, 120, what="the workshop is as it was")
        for user in (KIM, "grace"):
            # the same sessions with the same jobs as the same site accounts
            found = gateway.wait_session(user, "drill", "running", 120)
            was = before[user]
            assert was is not None
            assert {key: found[key] for key in ("id", "job", "account", "url")} == {
                key: was[key] for key in ("id", "job", "account", "url")
            }
            assert found["job"] in gateway.factories["brainpp"].jobs()
        eventually(lambda: (gateway.server(KIM, "drill") or {}).get("ready"), 120, what="the hub has the server again")
        eventually(lambda: kept(gateway, kernel) == "42", 120, what="the kernel answers as before")
        # the same names at the next login, and with them the same site accounts
        for name, known in (("kim", KIM), ("grace", "grace")):
            assert log_in(gateway, page, name) == known
        gateway.started(KIM, "next", factory="brainpp", size="gpu-1", hours=0.5)
        after = gateway.session(KIM, "next")
        assert after is not None
        assert after["account"] == (before[KIM] or {})["account"]
        assert "Nothing is wrong." in factorygate("check", *configuration(gateway))
        for user, server in ((KIM, "drill"), (KIM, "next"), ("grace", "drill")):
            gateway.stopped(user, server)
    finally:
        for process in running:
            process.kill()
            process.wait()


def kept(gateway: Gateway, kernel: str) -> str:
    """Return the value that the kernel has kept since before the loss; "" if the kernel does not answer yet."""
    try:
        return gateway.notebook(KIM, "drill").run("print(kept)", kernel).strip()
    except (OSError, TimeoutError, httpx.HTTPError, WebSocketException):  # a hub that has just started says 424
        return ""
