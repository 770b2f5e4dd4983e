"""The notebook server's process: starts it early, sends it its environment variables, watches it and stops it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import quote, urlsplit

from factorycommon.material.steps import MOST_STEPS
from factorygate.session import folder as folders
from factorygate.session import processes
from factorygate.session.deadlines import MOST_NAMES, NAME_LENGTH, Activity
from factorygate.session.programs import NOTEBOOK_PROGRAM

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Variables that describe a machine keep the node's values, whatever the hub sends.
_OF_THE_NODE = frozenset({"HOME", "USER", "LOGNAME", "SHELL", "PATH", "TMPDIR", "PWD"})
_KILL_SECONDS = 3.0
_EARLIEST = 946684800.0  # seconds since the epoch: 2000, the earliest moment that the link accepts
_MOST_BYTES = 2**63 - 1  # the largest number of bytes that the link accepts
AUTOSAVE_SECONDS = 15  # JupyterLab's autosave interval (default: 120): the most typing that is lost if the session ends


def check_environment(body: object) -> tuple[dict[str, str], list[str]]:
    """Return ``environment`` and ``argv`` of ``body`` if they have the form that starting a process needs.

    Whether the program exists is not checked. Raises ValueError with an explanation if the form is wrong.
    """
    environment, argv = (body.get("environment"), body.get("argv")) if isinstance(body, dict) else (None, None)
    if not isinstance(environment, dict) or not isinstance(argv, list) or not argv:
        raise ValueError("an object `environment` and a non-empty list `argv` are needed")
    for name, value in environment.items():
        if not _NAME.fullmatch(name) or not isinstance(value, str) or "\0" in value:
            raise ValueError(f"environment: {name!r} is no variable, or its value no text")
    if not all(isinstance(word, str) and "\0" not in word for word in argv) or not argv[0]:
        raise ValueError("argv: every word must be text, and the first not empty")
    return environment, argv


def read_activity(line: bytes) -> Activity:
    """Parse a line in which the notebook server, or the Dask scheduler in a job of its own, reports its activity.

    A number out of bounds is replaced by the nearest bound; the number of a workshop's step that is out of bounds is
    left out. Otherwise the link would refuse the session's whole status. Raises ValueError if the line is no report.
    """
    try:
        report = json.loads(line, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("the report is nested too deeply") from error
    report = _checked(report, dict)
    gpu, memory = report.get("gpu_percent"), report.get("memory_bytes")
    names, steps = _checked(report.get("busy_with", []), list), _checked(report.get("steps", []), list)
    numbers = {_checked(one, int) for one in steps[:MOST_STEPS]}
    return Activity(
        float(min(time.time(), max(_EARLIEST, _checked(report.get("last"), int, float)))),
        _checked(report.get("busy"), bool),
        _checked(report.get("opened"), bool),
        min(100, max(0, _checked(gpu, int))) if gpu is not None else None,
        min(_MOST_BYTES, max(0, _checked(memory, int))) if memory is not None else None,
        # without surrogates, which the link cannot read
        tuple(_checked(name, str)[:NAME_LENGTH].encode(errors="replace").decode() for name in names[:MOST_NAMES]),
        tuple(sorted(one for one in numbers if 0 <= one < MOST_STEPS)),
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _checked(value: object, *kinds: type[_T]) -> _T:
    """Return ``value``, which has exactly one of these types. Raises ValueError if not; a bool is no int."""
    if type(value) not in kinds:
        raise ValueError(f"a {type(value).__name__} is no {kinds[0].__name__}")
    return cast(_T, value)


def _through(socket: Path, url: str) -> str:
    """Return ``http+unix://SOCKET/PATH``: SOCKET is the quoted path of ``socket``, /PATH is the path of ``url``."""
    return f"http+unix://{quote(str(socket), safe='')}{urlsplit(url).path}"


def prepare(
    environment: Mapping[str, str], argv: Sequence[str], node: Path, root: Path
) -> tuple[dict[str, str], list[str]]:
    """Return this job's environment variables and argv, made from those that the hub sent.

    Network addresses are replaced by Unix sockets in ``node``, the session's folder for sockets on the job's node.
    ``root``: the notebook's root folder. For a program other than jupyterhub-singleuser, only the variables are
    changed; the program must listen on the Unix socket whose path is in the variable FACTORYGATE_NOTEBOOK_SOCKET.
    """
    socket, hub = node / "notebook.sock", node / "hub.sock"
    given = {name: value for name, value in environment.items() if name not in _OF_THE_NODE}
    for name in ("JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL"):
        if name in given:
            given[name] = _through(hub, given[name])
    name = given.get("JUPYTERHUB_SERVER_NAME", "")
    if name and given.get("JUPYTERHUB_DEFAULT_URL") == "/lab":
        # JupyterLab remembers open files in the home, which all sessions at a factory share; so each session uses its
        # own name.
        given["JUPYTERHUB_DEFAULT_URL"] = f"/lab/workspaces/{quote(name)}"
    given |= {
        "FACTORYGATE_CLOCK": str(node / "clock.json"),
        "FACTORYGATE_NOTEBOOK_SOCKET": str(socket),
        "FACTORYGATE_HUB_SOCKET": str(hub),
        "JUPYTERHUB_SERVICE_URL": f"http+unix://{given.get('JUPYTERHUB_SERVICE_PREFIX', '/')}",
        "JUPYTERHUB_ROOT_DIR": str(root),
        "JUPYTER_RUNTIME_DIR": str(node / "run"),
        "XDG_RUNTIME_DIR": str(node / "run"),
        "PYTHONNOUSERSITE": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }
    if os.path.basename(argv[0]) != NOTEBOOK_PROGRAM:
        return given, list(argv)
    old = given.get("JUPYTER_CONFIG_PATH") or os.environ.get("JUPYTER_CONFIG_PATH")
    given["JUPYTER_CONFIG_PATH"] = os.pathsep.join([str(node / "config"), *([old] if old else [])])
    kept = [word for word in argv[1:] if not re.match(r"--(ServerApp\.)?(port|ip|sock)=", word)]
    added = [f"--ServerApp.sock={socket}", "--ServerApp.sock_mode=0600", f"--ServerApp.root_dir={root}"]
    if folders.kernels_fit(node):
        added.append("--KernelManager.transport=ipc")
    return given, [argv[0], *kept, *added]


def write_config(node: Path) -> None:
    """Write configuration files for the session's notebook server into ``config`` in the folder ``node``.

    ``node``: the session's folder for sockets on the job's node. In these files, settings of the server override the
    person's settings. Settings of JupyterLab are only defaults: the person's settings override them.
    """
    config = node / "config"
    files = {
        "jupyter_server_config.json": {
            "ServerApp": {
                "contents_manager_class": "factorygate.session.jupyter.contents.Contents",
                "kernel_websocket_connection_class": "factorygate.session.jupyter.kernel_connection.KernelConnection",
            }
        },
        "jupyter_server_config.d/factorygate.json": {
            "ServerApp": {"jpserver_extensions": {"factorygate.session.extension": True}}
        },
        # Only a default: the person's own setting in JupyterLab takes precedence.
        "labconfig/default_setting_overrides.json": {
            "@jupyterlab/docmanager-extension:plugin": {"autosaveInterval": AUTOSAVE_SECONDS},
            # Disabled, since the node may have no Internet access, and people cannot update JupyterLab anyway.
            "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
        },
    }
    for name, content in files.items():
        (config / name).parent.mkdir(mode=0o700, exist_ok=True)
        (config / name).write_text(json.dumps(content), encoding="utf-8")


class Notebook:
    """The process of one notebook server.

    Call ``start`` before ``give``, ``wait`` and ``stop``. Call ``give``, which sends the environment variables and the
    command, at most once. ``node``: the session's folder for sockets on the job's node; ``umask``: that of the process;
    ``on_activity``: called with each of the process's reports.
    """

    def __init__(self, node: Path, umask: int, on_activity: Callable[[Activity], None]) -> None:
        self._node = node
        self._umask = umask  # the account's umask, for the files that the person makes
        self._on_activity = on_activity
        self._process: asyncio.subprocess.Process | None = None
        self._reports: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Return the id of the process; None before ``start``."""
        return self._process.pid if self._process is not None else None

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the launcher was not started")
        return self._process

    async def start(self) -> None:
        """Start the launcher, which imports its modules and waits for the environment variables from ``give``."""
        write_config(self._node)
        reading, writing = os.pipe()
        try:
            # -P: a file in the job's start folder that is named like a module must not be imported.
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "factorygate.session.launch", "--report-fd", str(writing)),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(writing,),
                start_new_session=True,
                umask=self._umask,
                env=os.environ | {"PYTHONNOUSERSITE": "1"},
            )
        finally:
            os.close(writing)
        self._reports = asyncio.create_task(self._read_reports(reading))

    async def _read_reports(self, descriptor: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        try:
            while True:
                try:
                    line = await reader.readline()  # ValueError: the line is too long, and was left out
                    if not line:
                        return
                    found = read_activity(line)
                except ValueError as error:
                    log.warning("the notebook's report cannot be read: %s", error)
                    continue
                self._on_activity(found)
        finally:
            transport.close()

    async def give(self, environment: Mapping[str, str], argv: Sequence[str], root: Path) -> None:
        """Send the environment variables and the command to the launcher, which then starts the program.

        ``root``: the notebook's root folder, in which the program starts. If the launcher has died, nothing is raised:
        ``wait`` reports it.
        """
        ready, words = prepare(environment, argv, self._node, root)
        stdin = self._started().stdin
        if stdin is None:
            raise RuntimeError("the launcher was started without a pipe")
        stdin.write(json.dumps({"environment": ready, "argv": words, "folder": str(root)}).encode())
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the launcher has died, which `wait` reports
            await stdin.drain()
        stdin.close()

    async def listening(self) -> None:
        """Return once the server accepts connections on its socket, which this method polls."""
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(str(self._node / "notebook.sock"))
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    async def wait(self) -> int:
        """Wait for the end of the process; return its exit code, negative for the signal that ended it."""
        return await self._started().wait()

    async def stop(self, grace: float) -> int:
        """Stop the process: send SIGTERM, wait up to ``grace`` seconds, then kill all descendants of the door.

        In these seconds the server shuts down its kernels. Return the exit code, negative for the signal that ended the
        process; -9 if the process cannot be killed.
        """
        process = self._started()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), grace)
        deadline = asyncio.get_running_loop().time() + _KILL_SECONDS
        while await asyncio.to_thread(processes.kill_descendants):
            if asyncio.get_running_loop().time() > deadline:
                log.warning("processes that cannot be killed are left to the scheduler")
                break
            await asyncio.sleep(0.02)  # no event reports the end of processes that are not our children
        if self._reports is not None:
            self._reports.cancel()
        if process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _KILL_SECONDS)
        return process.returncode if process.returncode is not None else -signal.SIGKILL
