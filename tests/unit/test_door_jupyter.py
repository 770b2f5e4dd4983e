"""A real jupyterhub-singleuser behind a door, with a fake hub that knows one token."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncssh
from jupyter_client import AsyncKernelClient

from factorylink.sessions import robots
from tests.support.door import SESSION, RunningDoor, ask, fetch, running_door, until

TOKEN = "the-token-of-u"
GIVEN = {
    "environment": {
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api",
        "JUPYTERHUB_ACTIVITY_URL": "http://127.0.0.1:8081/hub/api/users/u/activity",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-u",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": "/user/u/oauth_callback",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": '["access:servers!server=u/"]',
        "JUPYTERHUB_OAUTH_SCOPES": '["access:servers!server=u/"]',
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/u/",
        "JUPYTERHUB_USER": "u",
    },
}
ARGV = ["jupyterhub-singleuser", "--port=8888", *(["--allow-root"] if os.getuid() == 0 else [])]
# A terminal whose command ends, so that its shell then waits.
WORK = f"600.{os.getpid()}"  # the seconds of the shell's work, by which no other test's process is found
SHELL = f"{{'shell_command': ['/bin/sh', '-c', 'sleep {WORK}; exec cat']}}"
USER = {"kind": "user", "name": "u", "admin": False, "groups": [], "scopes": ["access:servers!server=u/"]}


async def hub(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of a connection as the hub does.

    The answer is the hub's version, the owner of the token, or, at the end of a login, the token. Other tokens get 403.
    """
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            known = f"token {TOKEN}" in head
            answer = USER if "/hub/api/user " in head and known else {"version": "6.1.1"}
            length = re.search(r"(?i)content-length: (\d+)", head)
            told = await reader.readexactly(int(length[1])) if length is not None else b""
            if head.startswith("POST /hub/api/oauth2/token "):  # a browser returned from the hub's login page
                assert b"client_id=jupyterhub-user-u" in told
                known, answer = True, {"access_token": TOKEN}
            body = json.dumps(answer).encode()
            code = b"200 OK" if known or head.startswith("GET /hub/api ") else b"403 Forbidden"
            writer.write(
                b"HTTP/1.1 %s\r\nX-JupyterHub-Version: 6.1.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (code, len(body), body)
            )
    except asyncio.IncompleteReadError:
        writer.close()


def running(*argv: str) -> int:
    """Return the pid of a process with exactly this command line; 0 if there is none."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cmdline").read_bytes() == b"".join(word.encode() + b"\0" for word in argv):
                return int(process.name)
    return 0


class Server:
    """The single-user server, reached through its door."""

    def __init__(
        self, link: asyncssh.SSHClientConnection, status: dict[str, Any], watch: asyncssh.SSHClientProcess[str]
    ) -> None:
        self.link = link
        self.watch = watch  # the door's statuses since the server is up
        self.node = Path(status["notebook_sock"]).parent

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = await ask(self.link, "hello")
        return found

    async def visit(self, path: str, cookies: dict[str, str]) -> tuple[str, dict[str, Morsel[str]]]:
        """Request a page with these cookies; return where it redirects ("" if nowhere), and the new cookies."""
        reader, writer = await self.link.open_unix_connection(str(self.node / "notebook.sock"))
        sent = "; ".join(f"{name}={value}" for name, value in cookies.items())
        answer = await fetch(reader, writer, path, f"Sec-Fetch-Mode: navigate\r\nCookie: {sent}\r\n")
        goes, given = "", SimpleCookie()
        for line in answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
            name, _, value = line.partition(": ")
            if name.lower() == "set-cookie":
                given.load(value)
            if name.lower() == "location":
                goes = value
        return goes, dict(given)

    async def request(self, path: str, method: str = "GET", token: str = TOKEN, body: Any = None) -> tuple[int, Any]:
        reader, writer = await self.link.open_unix_connection(str(self.node / "notebook.sock"))
        headers = f"Authorization: token {token}\r\n" if token else ""
        if method == "POST":
            writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode())
            sent = json.dumps(body or {})
            writer.write(f"Content-Length: {len(sent)}\r\n{headers}\r\n{sent}".encode())
            answer = await reader.read(-1)
        else:
            answer = await fetch(reader, writer, path, headers)
        head, _, told = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(told) if b"application/json" in head else told


@asynccontextmanager
async def server(door: RunningDoor, *words: str, given: dict[str, Any] = GIVEN) -> AsyncIterator[Server]:
    link = await door.enter()
    status = await ask(link, "hello")
    back = str(door.folder.parent / "back.sock")
    listening = await asyncio.start_unix_server(hub, back)
    await link.forward_remote_path(status["hub_sock"], back)
    await ask(link, "environment", given | {"argv": [*ARGV, *words]})
    watch = await link.create_process("watch")
    while (status := json.loads(await watch.stdout.readline()))["phase"] != "up":
        assert status["phase"] == "launching", status
    yield Server(link, status, watch)
    listening.close()


async def test_the_notebook_of_a_robot_answers_and_lets_nobody_in() -> None:
    record: Any = SimpleNamespace(user="robot.w-2345.1", server="", id=SESSION)
    variables = robots.environment("/", record)
    base = "/user/robot.w-2345.1"
    async with running_door() as door, server(door, given={"environment": variables}) as notebook:
        assert (await notebook.request(f"{base}/api", token=""))[0] == 200  # this is what the link looks for
        for token in ("", TOKEN, variables["JUPYTERHUB_API_TOKEN"]):  # those of nobody, of a person, and its own
            for path in ("api/kernels", "api/contents", "api/status"):
                assert (await notebook.request(f"{base}/{path}", token=token))[0] == 403
        assert (await notebook.status())["opened"] is False
        await ask(notebook.link, "stop")
        assert await door.exit() == 0


async def client_of(notebook: Server, kernel: str) -> AsyncKernelClient:
    """Return a client of a kernel once the kernel has started.

    A kernel that is stopped while it starts would log errors.
    """
    client = AsyncKernelClient(connection_file=str(notebook.node / "run" / f"kernel-{kernel}.json"))
    client.load_connection_file()
    client.hb_channel.time_to_dead = 10.0  # a busy machine would miss the default of one second
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    return client


def test_a_server_does_not_import_what_no_server_uses(tmp_path: Path) -> None:
    """These imports would take most of the start, and a person's environment may have the modules."""
    (tmp_path / "rfc3987_syntax.py").write_text("raise SystemExit('imported')")
    look = "from factorygate.session import launch; launch._warm(); import jsonschema.validators"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", look], env=environment, check=True, timeout=110)


async def test_a_notebook_server_is_opened_used_and_stopped() -> None:
    async with running_door() as door, server(door) as notebook:
        code, version = await notebook.request("/user/u/api", token="")
        assert (code, set(version)) == (200, {"version"})
        assert (await notebook.request("/user/u/api/kernels", token=""))[0] == 403
        assert (await notebook.request("/user/u/api/kernels", token="wrong"))[0] == 403
        assert (await notebook.status())["opened"] is False  # probes and requests of strangers do not count
        code, kernel = await notebook.request("/user/u/api/kernels", "POST")
        assert code == 201
        connection = await until(lambda: list((notebook.node / "run").glob(f"kernel-{kernel['id']}.json")))
        assert json.loads(connection[0].read_text())["transport"] == "ipc"
        status = await notebook.status()
        assert status["opened"] is True
        assert status["last_activity"]
        socket = f"{notebook.node}/run/kernel-{kernel['id']}"
        await until(lambda: socket in Path("/proc/net/unix").read_text(), what="the kernel's sockets")
        (await client_of(notebook, kernel["id"])).stop_channels()
        pid = status["notebook_pid"]
        assert TOKEN not in Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()
        await ask(notebook.link, "stop")
        assert await door.exit() == 0
        assert door.file("end.json")["reason"] == "stopped"
        assert "Traceback" not in door.log.read_text()


async def test_browsers_send_its_cookies_to_no_other_server() -> None:
    async with running_door() as door, server(door) as notebook:
        goes, asked = await notebook.visit("/user/u/lab", {})
        assert urlsplit(goes).path == "/hub/api/oauth2/authorize"
        [state] = parse_qs(urlsplit(goes).query)["state"]
        kept = {name: one.value for name, one in asked.items()}
        goes, given = await notebook.visit(f"/user/u/oauth_callback?code=good&state={state}", kept)
        assert goes == "/user/u/lab"
        assert given["jupyterhub-user-u"].value
        assert {name: one["path"] for name, one in (asked | given).items()} == dict.fromkeys(asked | given, "/user/u/")
        goes, _ = await notebook.visit("/user/u/lab", kept | {name: one.value for name, one in given.items()})
        assert goes == ""  # the browser is logged in
        await ask(notebook.link, "stop")
        assert await door.exit() == 0


def test_modules_imported_early_do_not_read_the_environment() -> None:
    look = (
        "import sys; from factorygate.session import launch; launch._warm();"
        "assert 'jupyterhub.scopes' in sys.modules; print([m for m in sys.modules if m in"
        " ('jupyterhub.services.auth', 'jupyterhub._xsrf_utils', 'jupyterhub.singleuser', 'jupyterhub.metrics')])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=110)
    assert done.stdout.strip() == "[]"


async def test_the_clock_is_served_and_reading_it_is_no_activity() -> None:
    soon = str(int(time.time()) + 600)
    async with running_door(environment={"FACTORYGATE_JOB_END": soon}) as door, server(door) as notebook:
        code, told = await notebook.request("/user/u/api/factorygate/clock")
        assert (code, told["session"]) == (200, SESSION)
        assert datetime.fromisoformat(told["ends"]).timestamp() == int(soon)
        assert (told["notice"]["kind"], told["notice"]["minutes"]) == ("walltime", 15)
        code, told = await notebook.request("/user/u/api/factorygate/overview")
        assert (code, told["session"], told["home"]) == (200, SESSION, "/hub/home")
        assert told["use"]["memory"] > 1 << 20
        code, told = await notebook.request("/user/u/api/factorygate/texts")
        assert (code, told) == (200, {"language": "en", "texts": {}, "plural": ""})
        for wanted in ("de_DE", "de-AT"):
            code, told = await notebook.request(f"/user/u/api/factorygate/texts?language={wanted}")
            assert (code, told["language"], told["texts"]["Save all"]) == (200, "de", "Alles speichern")
        assert "Start a session" not in told["texts"]  # texts of the hub's pages are not needed there
        assert (await notebook.request("/user/u/api/factorygate/texts?language=../x"))[1]["language"] == "en"
        assert (await notebook.status())["opened"] is False
        assert (await notebook.request("/user/u/api/factorygate/texts", token=""))[0] == 403
        assert (await notebook.request("/user/u/api/factorygate/overview", token=""))[0] == 403
        assert (await notebook.request("/user/u/api/factorygate/extend", "POST", token=""))[0] == 403
        assert (await notebook.request("/user/u/api/factorygate/extend", "POST"))[0] == 400  # without hours
        assert (await notebook.request("/user/u/api/factorygate/examples", "POST", token=""))[0] == 403
        assert (await notebook.request("/user/u/api/factorygate/clock", token=""))[0] == 403
        assert (await notebook.request("/user/u/api/factorygate/clock", token="another's"))[0] == 403


async def test_at_the_end_of_its_time_a_busy_kernel_is_interrupted_and_ends_cleanly() -> None:
    """Code in ``finally`` and ``atexit`` runs, so that results are written."""
    async with running_door() as door, server(door) as notebook:
        asked = {"path": "train.ipynb", "name": "", "type": "notebook", "kernel": {"name": "python3"}}
        _, made = await notebook.request("/user/u/api/sessions", "POST", body=asked)
        client = await client_of(notebook, made["kernel"]["id"])
        home = door.folder.parent / "home"
        client.execute(
            "import atexit, time\n"
            f"atexit.register(lambda: open({str(home / 'at-exit')!r}, 'w').close())\n"
            "try:\n"
            f"    open({str(home / 'busy')!r}, 'w').close()\n"
            "    time.sleep(600)\n"
            "finally:\n"
            f"    open({str(home / 'finally')!r}, 'w').close()"
        )
        await until((home / "busy").exists, what="the cell runs")
        client.stop_channels()
        watch = await notebook.link.create_process("watch")
        while not (status := json.loads(await watch.stdout.readline()))["busy"]:
            pass
        assert status["busy_with"] == ["train.ipynb"]
        watch.close()
        ends = datetime.fromtimestamp(time.time() + 60, UTC).isoformat()
        assert (await ask(notebook.link, "ends", {"ends": ends}))["ends"]
        assert await door.exit() == 0
        assert door.file("end.json")["reason"] == "walltime"
        assert sorted(path.name for path in home.iterdir() if path.name[0] != ".") == ["at-exit", "busy", "finally"]


async def test_gives_the_node_back_when_nobody_comes() -> None:
    async with running_door("--unopened-minutes", "0.1") as door, server(door) as notebook:
        while not json.loads(await notebook.watch.stdout.readline())["ends_idle"]:
            pass  # the server accepts connections before it reports itself
        assert await door.exit() == 0
        assert door.file("end.json")["reason"] == "unopened"


async def test_gives_the_node_back_when_nothing_happens_but_not_while_a_terminal_works() -> None:
    async with (
        running_door("--idle-minutes", "0.25") as door,
        server(door, f"--ServerApp.terminado_settings={SHELL}") as notebook,
    ):
        code, terminal = await notebook.request("/user/u/api/terminals", "POST")
        assert code == 200, terminal
        working = await until(lambda: running("sleep", WORK), what="the shell's work")
        watch = await notebook.link.create_process("watch")
        while not (status := json.loads(await watch.stdout.readline()))["busy"]:
            assert status["opened"] is True
        await asyncio.sleep(16)  # longer than the limit
        told = await notebook.status()
        assert (told["busy"], told["busy_with"]) == (True, [f"Terminal {terminal['name']}"])
        os.kill(working, signal.SIGKILL)
        assert await door.exit() == 0
        assert door.file("end.json")["reason"] == "idle"
