"""Fixtures that several folders share: the running gateways, the browser, and options for long tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from playwright.async_api import expect as expect_async
from playwright.sync_api import Browser, Page, expect, sync_playwright

from testbed.demo.options import Ports
from testbed.install import environments as install
from tests import sharing
from tests.support.gateway import Gateway

CHECKOUT = Path(__file__).resolve().parent.parent
DEMO_SECONDS = 300  # timeout of a test with a demo that sets no other: the first of these tests starts the demo
PATIENCE = 60_000  # ms; tests must also pass on a loaded machine
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")  # set if several processes run the tests
# The demos that may run at the same time; the processes that run the tests each have a "gateway". No two of them share
# a port (tests/unit/test_demo_options.py).
DEMO_SLOTS = ("isolated", "oidc", "outbound_none", "two_isolated", "pbs_gateway", "base_url", "backup", "upgrade")


def demo_ports(slot: int) -> range:
    """Return the public ports that a demo tries, one after the other.

    ``slot``: a number that differs between demos that run at the same time.
    """
    return range(8300 + 28 * slot, 9500, 400)


PORTS = {name: demo_ports(slot) for slot, name in enumerate(DEMO_SLOTS)}
PORTS["gateway"] = demo_ports(len(DEMO_SLOTS) + int(WORKER or 0))
PORTS["class_gateway"] = demo_ports(len(DEMO_SLOTS) + 3)  # of the fourth process: tests/timing has one


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run what takes minutes by nature, too")


def pytest_configure(config: pytest.Config) -> None:
    """Configure Hypothesis, and the timeouts of Playwright.

    Hypothesis uses the same examples in each run, so that a result depends on the changed code only; with ``--long``,
    it uses many new examples. It sets no time limit for an example, since the machine may be busy.

    A shell that starts the tests in the background lets them ignore SIGINT, which our programs would inherit.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    slow = settings(deadline=None, suppress_health_check=(HealthCheck.too_slow,))
    settings.register_profile("steady", slow, derandomize=True, max_examples=40)
    settings.register_profile("searching", slow, max_examples=500, print_blob=True)
    settings.load_profile("searching" if config.getoption("--long") else "steady")
    expect.set_options(timeout=PATIENCE / 2)
    expect_async.set_options(timeout=PATIENCE / 2)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> sharing.InGroups:
    return sharing.InGroups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        used = [demo for demo in reversed(sharing.DEMOS) if demo in getattr(item, "fixturenames", ())]
        if used and sharing.fixture(sharing.group(item.nodeid)) != used[0]:
            raise pytest.UsageError(
                f"{item.nodeid} uses the fixture {used[0]}: its file is missing in tests/sharing.py"
            )
        if used and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(DEMO_SECONDS))
    if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        # The longest tests come first; if several processes run the tests, the files are handed out in this order.
        items.sort(key=lambda item: sharing.group(item.nodeid) not in sharing.DEMOS)
    skips = {}
    if not config.getoption("--long"):
        skips["long"] = "takes minutes by nature: --long runs it"
    if os.geteuid() != 0:
        skips["root"] = "needs root, for several site accounts"
    for item in items:
        for marker in skips.keys() & {marker.name for marker in item.iter_markers()}:
            item.add_marker(pytest.mark.skip(reason=skips[marker]))


# --- running gateways ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def demo_folder() -> Path:
    """Return the folder for the state of a demo that tests start.

    The site accounts can read it, as they must for a demo.
    """
    return install.program_folder() / f"tested{WORKER}"


@pytest.fixture(scope="session")
def gateway(demo_folder: Path) -> Iterator[Gateway]:
    """Return the demo with three factories, or the one whose demo.json ``FACTORYGATE_TEST_DEMO`` names."""
    yield from started(os.environ.get("FACTORYGATE_TEST_DEMO"), demo_folder, PORTS["gateway"])


@pytest.fixture(scope="session")
def class_gateway(demo_folder: Path) -> Iterator[Gateway]:
    """Return the demo with two factories that have enough nodes for sixty seats and their clusters.

    ``FACTORYGATE_TEST_CLASS`` may name the demo.json of a running demo.
    """
    yield from started(
        os.environ.get("FACTORYGATE_TEST_CLASS"),
        demo_folder.with_name("tested-class"),
        PORTS["class_gateway"],
        *("--factories", "it4lia,lumi-aif", "--gpu-nodes", "23"),
    )


@pytest.fixture(scope="session")
def isolated(demo_folder: Path, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """Return the demo with factories behind sshd in their own networks.

    ``FACTORYGATE_TEST_ISOLATED`` may name the demo.json of a running demo.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    yield from started(
        os.environ.get("FACTORYGATE_TEST_ISOLATED"),
        demo_folder.with_name("tested-isolated"),
        PORTS["isolated"],
        "--isolated",
        *("--factories", "lumi-aif,brainpp"),
        *(("--gpu-nodes", "7") if request.config.getoption("--long") else ()),  # enough for fifty sessions
    )


@pytest.fixture(scope="module")
def two_isolated(demo_folder: Path) -> Iterator[Gateway]:
    """Return the demo with two factories in their own networks; one factory allows no outbound connections.

    ``FACTORYGATE_TEST_TWO`` may name the demo.json of a running demo.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    yield from started(
        os.environ.get("FACTORYGATE_TEST_TWO"),
        demo_folder.with_name("tested-two"),
        PORTS["two_isolated"],
        "--isolated",
        *("--factories", "lumi-aif,it4lia"),
    )


@pytest.fixture(scope="module", params=["tcp", "stdio"])
def outbound_none(request: pytest.FixtureRequest, demo_folder: Path) -> Iterator[Gateway]:
    """Return the demo with a factory that allows no outbound connections, once for each carrier.

    With ``stdio``, the factory's sshd forwards no connections either. ``FACTORYGATE_TEST_TCP`` and
    ``FACTORYGATE_TEST_STDIO`` may name the demo.json of a running demo.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    way = {"tcp": ("--carrier", "tcp"), "stdio": ("--forwarding", "no")}[request.param]
    yield from started(
        os.environ.get(f"FACTORYGATE_TEST_{request.param.upper()}"),
        demo_folder.with_name(f"tested-{request.param}"),
        PORTS["outbound_none"],
        "--isolated",
        *way,
        *("--factories", "it4lia"),
    )


def started(given: str | None, folder: Path, ports: range, *options: str) -> Iterator[Gateway]:
    """Start a demo in an empty folder, and end it with all its sessions after the tests; or use a running demo.

    ``given``: the path of the running demo's demo.json; None or "": start a demo.
    """
    if given:
        yield Gateway(Path(given))
        return
    demo(folder, "--stop")
    shutil.rmtree(folder, ignore_errors=True)
    started = demo(folder, "--detach", "--port", str(free_port(ports)), *options)
    try:
        assert started.returncode == 0, started.stdout
        yield Gateway(folder / "demo.json")
    finally:
        stopped = demo(folder, "--stop")
    assert stopped.returncode == 0, stopped.stdout


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the demo's program with the Python of the tests, so that its coverage is measured."""
    argv = [sys.executable, "-m", "testbed.demo", "--folder", str(folder), *options]
    return subprocess.run(
        argv, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240, check=False
    )


def free_port(ports: range) -> int:
    for port in ports:
        try:
            for single in Ports(port).single:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", single))
        except OSError:
            continue
        return port
    raise AssertionError(f"no free ports in {ports}")


# --- browsers --------------------------------------------------------------------------------------------------------


def chromium_options() -> dict[str, Any]:
    """Return Playwright's launch options for Chromium; skip the test if there is no Chromium.

    Chromium without its user interface (headless shell) takes half of the time; the complete Chromium is used only if
    that is missing.
    """
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium-headless-shell (as root, bin/test installs it)")
    quiet = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-gpu",
        "--disable-quic",
        "--disable-sync",
        "--js-flags=--no-maglev --no-opt",  # optimising compilers only help pages that are open longer
        "--no-first-run",
    ]
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {"executable_path": program, "args": [*quiet, *root]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return Debian's Chromium, without features that would use the network.

    It is closed after each module, since other tests of the process cannot run event loops of their own while
    Playwright's runs.
    """
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(**chromium_options())
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page of a browser without any cookies."""
    # animations would cost CPU time
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()
