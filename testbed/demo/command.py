"""The command ``bin/demo``: runs proxy, hub, link and a real scheduler for each factory, on 127.0.0.1 of this machine.

The command stays in the foreground until Ctrl-C, or with ``--detach`` until the demo is ready. Exit codes: 0 success; 1
an error; 3 this machine cannot run the demo.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from testbed import factories
from testbed.demo.folder import DemoFolder
from testbed.demo.options import NEEDS_ROOT, Ports, arguments, locked
from testbed.demo.run import Demo, DemoError
from testbed.errors import CannotRun, TestbedError
from testbed.identity import end_now, wait_reaped
from testbed.install import environments as install
from testbed.network.login_side import isolation
from testbed.options import isolation_argv
from testbed.supervisor import SupervisorRecord

READY = "\0ready"  # the last line of a detached start that succeeded
STOP_PATIENCE = 60  # seconds for a supervisor to stop; then it is killed, and its processes are ended
REAP_PATIENCE = 5  # seconds for init to collect a detached supervisor that has ended


def main(argv: Sequence[str]) -> int:
    """Run the action that the command line names; return the exit code."""
    options = arguments(argv)
    os.umask(0o022)  # files that site accounts must not read are created with mode 0600 or 0700
    programs = install.program_folder()
    folder = DemoFolder(
        options.folder or install.state_folder(),
        Ports(options.port),
        programs,
        options.login,
        options.base_url,
        options.workshop,
    )
    clusters = folder.path / "clusters" if options.folder else programs / "clusters"
    if options.stop:
        return stop(folder, clusters)
    if options.detach:
        return detach(options)
    with open_private(folder.path / "lock") as lock, locked(lock.fileno()) as ours:
        if not ours:
            return _runs_already(folder, detached=options.status_fd is not None)
        if options.isolated and os.geteuid() != 0:
            print(f"The demo cannot run here: {NEEDS_ROOT}", flush=True)
            return install.CANNOT_WORK
        SupervisorRecord(folder.path / "supervisor.json").write({"supervisor": os.getpid()})
        try:
            asyncio.run(serve(folder, clusters, options))
        except CannotRun as error:
            print(f"The demo cannot run here: {'; '.join(error.missing)}", flush=True)
            return install.CANNOT_WORK
        except (DemoError, TestbedError) as error:
            print(f"The demo did not start: {error}", flush=True)
            return 1
        finally:
            SupervisorRecord(folder.path / "supervisor.json").forget()
    return 0


async def serve(folder: DemoFolder, clusters: Path, options: argparse.Namespace) -> None:
    """Run the demo until a signal (SIGINT, SIGTERM, SIGHUP) or an error ends it; then stop everything.

    Raises DemoError, and errors of the testbed.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    names = [name for name in options.factories.split(",") if name]
    demo = Demo(folder, clusters, names, isolation(options), options.gpu_nodes, options.accounting)
    try:
        if await demo.until(demo.start(), ended):
            print(demo.greet(), flush=True)
            if options.status_fd is None:
                print("Ctrl-C ends it.", flush=True)
            else:
                _report_ready(options.status_fd, folder.path / "log" / "demo.log")
            await demo.until(demo.broken(), ended)
    finally:
        print("Ending ...", flush=True)
        await demo.stop()


# --- the background process ---------------------------------------------------------------------------------------


def detach(options: argparse.Namespace) -> int:
    """Start the demo in a background process, and print its messages until the demo is ready.

    Return 0 when it is ready, or the exit code of the background process. Ctrl-C before that ends the process.
    """
    reader, writer = os.pipe()
    argv = [sys.executable, "-m", "testbed.demo", "--port", str(options.port), "--base-url", options.base_url]
    argv += ["--factories", options.factories]
    if options.folder:
        argv += ["--folder", os.fspath(options.folder)]
    argv += ["--login", options.login, "--gpu-nodes", str(options.gpu_nodes), *isolation_argv(options)]
    argv += ["--accounting"] if options.accounting else []
    argv += ["--workshop"] if options.workshop else []
    child = subprocess.Popen(
        [*argv, "--status-fd", str(writer)],
        pass_fds=[writer],
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8", errors="replace") as said:
        try:
            for line in said:
                if line.startswith(READY):
                    return 0
                print(line, end="", flush=True)
        except KeyboardInterrupt:
            child.terminate()
    return child.wait()


def _report_ready(descriptor: int, log: Path) -> None:
    """Tell the waiting terminal that the demo is ready; write messages to ``log`` from now on.

    ``descriptor``: the pipe to the terminal's process.
    """
    os.write(descriptor, f"{READY}\n".encode())
    os.close(descriptor)
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())


def open_private(path: Path) -> IO[str]:
    """Return a file for a lock, opened for reading and writing; a missing file is made, with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii")


def _runs_already(folder: DemoFolder, detached: bool) -> int:
    """Print the running demo's address and how to log in; return the exit code.

    A second start changes nothing. A detached start at the same address counts as a success.
    """
    try:
        url = json.loads((folder.path / "demo.json").read_text(encoding="utf-8"))["hub_url"]
        print(folder.greeting.read_text(encoding="utf-8"), flush=True)
    except FileNotFoundError:
        url = "an address that it will print"
    print(f"A demo of this checkout runs already, at {url}. End it with: bin/demo --stop", flush=True)
    return 0 if detached and url == folder.url else 1


# --- stopping ------------------------------------------------------------------------------------------------------


def stop(folder: DemoFolder, clusters: Path) -> int:
    """Stop a demo, even if its supervisor is gone; return 0 when none of its processes is left."""
    supervisor = SupervisorRecord(folder.path / "supervisor.json")
    running = supervisor.read()
    for identity in running.values():
        end_now(identity, STOP_PATIENCE)
    left = SupervisorRecord(folder.record).end_all()
    names = factories.known(clusters)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: factories.load(clusters, name).down(), names))
    supervisor.forget()
    for file in (folder.path / "demo.json", folder.greeting):
        file.unlink(missing_ok=True)
    for identity in running.values():
        wait_reaped(identity, REAP_PATIENCE)
    print("The demo has ended." if running or left else "No demo of this checkout was running.")
    return 0
