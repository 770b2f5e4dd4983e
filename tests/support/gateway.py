"""A running gateway for tests: JupyterHub's public API, and each factory's scheduler as its administrator."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from websockets.sync.client import connect

T = TypeVar("T")
TRUST = (
    ssl.create_default_context()
)  # made once, since httpx would read all certificates of the system for each request


def eventually(look: Callable[[], T], timeout: float = 120, every: float = 0.2, what: str = "") -> T:
    """Call a function until its result is truthy; return the result. Raises AssertionError after ``timeout`` seconds.

    For state of other programs whose changes no event reports. ``every``: the pause between two calls in seconds;
    ``what``: what is awaited, for the message.
    """
    end = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"did not happen within {timeout} s: {what or look}; last seen: {seen!r}")
        time.sleep(every)


@dataclass
class Factory:
    """A factory's scheduler, with the rights of its administrator."""

    id: str
    slurm_conf: str  # empty if the factory has PBS
    env: dict[str, str]
    prefix: list[str]

    def ask(self, *argv: str, check: bool = True) -> str:
        """Run one of the scheduler's programs; return its stdout.

        If the program fails, raises AssertionError, unless ``check`` is False.
        """
        env = {"PATH": os.environ["PATH"], "HOME": "/", **self.env}
        done = subprocess.run([*self.prefix, *argv], env=env, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode:
            raise AssertionError(f"{argv}: exit {done.returncode}: {done.stderr}")
        return done.stdout

    def jobs(self) -> dict[str, dict[str, str]]:
        """Return all jobs of a Slurm factory that have not ended, by id: {state, user, name, comment}."""
        rows = {}
        for line in self.ask("squeue", "-h", "-r", "-o", "%i\x1f%T\x1f%u\x1f%j\x1f%k").splitlines():
            job, state, user, name, comment = line.split("\x1f")
            if state not in ("COMPLETING", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT"):
                rows[job] = {"state": state, "user": user, "name": name, "comment": comment}
        return rows


class Gateway:
    """A running gateway, used as the demo's administrator or as one of its people.

    ``demo``: the content of demo.json; ``root``, ``hub``: the URLs of the gateway and of the hub, without ``/`` at the
    end; ``factories``: by id; ``passwords``: by person.
    """

    def __init__(self, demo_json: Path):
        self.path = demo_json
        self.refresh()
        self._tokens: dict[str, str] = {}

    def refresh(self) -> None:
        """Read demo.json again, since process ids change with restarts."""
        self.demo: dict[str, Any] = json.loads(self.path.read_text())
        self.url: str = self.demo["hub_url"].rstrip("/")
        self.hub = self.url.removesuffix("/hub") + "/hub"
        self.root = self.hub.removesuffix("/hub")
        self.admin_token: str = self.demo["admin_token"]
        self.factories = {
            name: Factory(name, f.get("slurm_conf", ""), f["env"], f["prefix"])
            for name, f in self.demo["factories"].items()
        }
        self.passwords = {user["name"]: user["password"] for user in self.demo["users"]}

    def pid(self, part: str) -> int:
        """Return the present process id of hub, proxy or link."""
        self.refresh()
        return int(self.demo["pids"][part])

    def api(self, method: str, path: str, token: str | None = None, **kwargs: Any) -> httpx.Response:
        """Send one request to the hub's API; return the answer, whatever its status.

        ``path``: the path below ``/hub/api``; ``token``: None: the administrator's; ``kwargs``: for ``httpx.request``.
        """
        headers = {"Authorization": f"token {token or self.admin_token}"} | kwargs.pop("headers", {})
        return httpx.request(method, f"{self.hub}/api{path}", headers=headers, timeout=60, verify=TRUST, **kwargs)

    def token(self, user: str) -> str:
        """Return a token of that person; it is made at the first call, and the same one is returned later."""
        if user not in self._tokens:
            answer = self.api("POST", f"/users/{user}/tokens", json={"note": "test"})
            assert answer.status_code == 201, answer.text
            self._tokens[user] = answer.json()["token"]
        return self._tokens[user]

    def make_user(self) -> str:
        """Create a new person with a unique name; return the name."""
        name = f"t{uuid.uuid4().hex[:10]}"
        answer = self.api("POST", f"/users/{name}")
        assert answer.status_code == 201, answer.text
        return name

    # --- servers

    @staticmethod
    def _server(user: str, server: str) -> str:
        return f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"

    def start(self, user: str, server: str = "", token: str | None = None, **choice: Any) -> httpx.Response:
        """Request the start of a server by a POST; return the hub's answer.

        ``token``: None: the administrator's; ``choice``: the server's options.
        """
        return self.api("POST", self._server(user, server), token=token, json=choice or None)

    def refusal(self, user: str, server: str = "", token: str | None = None, status: int = 400, **choice: Any) -> str:
        """Request a start that must be refused with this HTTP status; return the message.

        ``choice``: the server's options. A hub that is busy accepts the request (202) before it knows that the start is
        refused. The last progress event has the same message then, after "Spawn failed: ".
        """
        answer = self.start(user, server, token=token, **choice)
        if answer.status_code == 202:
            told = list(self.progress(user, server))[-1]
            assert told.get("failed"), told
        else:
            assert answer.status_code == status, answer.text
            told = answer.json()
        return str(told["message"]).removeprefix("Spawn failed: ")

    def stop(self, user: str, server: str = "", remove: bool = False) -> httpx.Response:
        """Stop a server by a DELETE, which also cancels a pending start; return the hub's answer.

        ``remove``: remove the named server from the hub, too.
        """
        return self.api("DELETE", self._server(user, server), json={"remove": remove} if remove else None)

    def server(self, user: str, server: str = "") -> dict[str, Any] | None:
        """Return the hub's model of a server; None if the hub has no active server of that name."""
        answer = self.api("GET", f"/users/{user}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] | None = answer.json()["servers"].get(server)
        return found

    def progress(self, user: str, server: str = "", timeout: float = 120) -> Iterator[dict[str, Any]]:
        """Return the events that a waiting page receives, up to the last one."""
        path = self._server(user, server) + "/progress"
        headers = {"Authorization": f"token {self.admin_token}"}
        with httpx.stream("GET", f"{self.hub}/api{path}", headers=headers, timeout=timeout, verify=TRUST) as answer:
            assert answer.status_code == 200, answer.status_code
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    event = json.loads(line[5:])
                    yield event
                    if event.get("ready") or event.get("failed"):
                        return

    def wait_ready(self, user: str, server: str = "", timeout: float = 120) -> dict[str, Any]:
        """Wait until a server is ready; return the hub's model of the server.

        Fails the test with the last progress event if the start failed.
        """
        model = self.server(user, server)
        if model and model["ready"]:
            return model
        last: dict[str, Any] = {}
        for event in self.progress(user, server, timeout):
            last = event
        assert last.get("ready"), f"did not start: {last}"
        model = self.server(user, server)
        assert model is not None
        return model

    def started(self, user: str, server: str = "", **choice: Any) -> dict[str, Any]:
        """Start a server with these options, and wait until it is ready; return the hub's model of the server."""
        answer = self.start(user, server, **choice)
        assert answer.status_code in (201, 202), answer.text
        return self.wait_ready(user, server)

    def stopped(self, user: str, server: str = "") -> None:
        """Stop a server, and wait until neither the hub nor the link has the session."""
        answer = self.stop(user, server)
        assert answer.status_code in (202, 204), answer.text
        eventually(
            lambda: self.session(user, server) is None and self.server(user, server) is None,
            what=f"{user}/{server} ended",
        )

    # --- sessions, as the link reports them

    def sessions(self, user: str) -> list[dict[str, Any]]:
        """Return the person's sessions, live and ended, as the link's user API returns them, newest first."""
        headers = {"Authorization": f"Bearer {self.token(user)}"}
        answer = httpx.get(f"{self.root}/services/factories/api/sessions", headers=headers, timeout=60, verify=TRUST)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found

    def clusters(self, user: str) -> list[dict[str, Any]]:
        """Return the person's live clusters by the link's user API."""
        headers = {"Authorization": f"Bearer {self.token(user)}"}
        answer = httpx.get(
            f"{self.root}/services/factories/api/clusters?live=true", headers=headers, timeout=60, verify=TRUST
        )
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found

    def everybody(self) -> list[dict[str, Any]]:
        """Return all live sessions, as the link reports them to the hub."""
        return self._link("/sessions", live="true")

    def project(self, user: str, project: str) -> dict[str, Any]:
        """Return a project with its GPU-hours, as the link reports it to the hub for a person."""
        (found,) = [one for one in self._link("/projects", user=user) if one["id"] == project]
        return found

    def _link(self, path: str, **params: str) -> list[dict[str, Any]]:
        """Return the answer of the link's API for the hub to a GET with this query."""
        transport = httpx.HTTPTransport(uds=str(self.path.parent / "link" / "hub.sock"), verify=TRUST)
        with httpx.Client(base_url="http://link", transport=transport, timeout=60) as link:
            answer = link.get(path, params=params)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found

    def session(self, user: str, server: str = "") -> dict[str, Any] | None:
        """Return the live session of (user, server)."""
        live = [s for s in self.sessions(user) if s["server"] == server and s["state"] != "ended"]
        assert len(live) <= 1, f"two live sessions of one server: {live}"
        return live[0] if live else None

    def wait_session(self, user: str, server: str, state: str, timeout: float = 120) -> dict[str, Any]:
        """Wait until the live session is in this state; return the session."""

        def look() -> dict[str, Any] | None:
            session = self.session(user, server)
            return session if session and session["state"] == state else None

        found = eventually(look, timeout, what=f"{user}/{server} {state}")
        assert found is not None
        return found

    def health(self, user: str, factory: str) -> dict[str, Any]:
        """Return a factory's health, as the link's user API tells it to this person."""
        headers = {"Authorization": f"Bearer {self.token(user)}"}
        answer = httpx.get(f"{self.root}/services/factories/api/factories", headers=headers, timeout=60, verify=TRUST)
        found: dict[str, Any] = next(f["health"] for f in answer.json() if f["id"] == factory)
        return found

    # --- notebooks

    def notebook(self, user: str, server: str = "", token: str | None = None) -> Notebook:
        """Return the running single-user server, as reached through the proxy. ``token``: None: a token of ``user``."""
        base = f"{self.root}/user/{user}/{server}".rstrip("/")
        return Notebook(base, token or self.token(user))

    def browser_session(self, user: str) -> httpx.Client:
        """Return a client that is logged in with name and password by the login page, as a browser does."""
        client = httpx.Client(follow_redirects=True, timeout=60)
        page = client.get(f"{self.hub}/login")
        xsrf = client.cookies.get("_xsrf", path="/hub/") or client.cookies.get("_xsrf")
        assert page.status_code == 200 and xsrf
        form = {"username": user, "password": self.passwords[user], "_xsrf": xsrf}
        answer = client.post(f"{self.hub}/login?next=", data=form)
        assert answer.status_code == 200 and "/login" not in str(answer.url), answer.url
        return client


class Notebook:
    """A JupyterLab server, used by its REST API and kernel WebSockets."""

    def __init__(self, base: str, token: str):
        self.base = base
        self.headers = {"Authorization": f"token {token}"}

    def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Send a request below the server's base URL; return the answer, also if it is a redirect.

        ``kwargs``: for ``httpx.request``.
        """
        return httpx.request(method, f"{self.base}{path}", headers=self.headers, timeout=60, verify=TRUST, **kwargs)

    def remove_notebooks(self) -> None:
        """End the kernels of this server's notebooks, and remove these notebooks; notebooks without a kernel stay.

        Other files of the same account stay, too: a server of another test may have them open.
        """
        for session in self.request("GET", "/api/sessions").json():
            self.request("DELETE", f"/api/sessions/{session['id']}")
            self.request("DELETE", f"/api/contents/{session['path']}")

    def kernel(self) -> str:
        """Start a Python kernel; return its id."""
        answer = self.request("POST", "/api/kernels", json={"name": "python3"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def run(self, code: str, kernel: str | None = None, timeout: float = 60) -> str:
        """Run a cell in this kernel, or in a new one if ``kernel`` is None; return what the cell printed.

        Raises AssertionError if the cell raises an error.
        """
        kernel = kernel or self.kernel()
        url = self.base.replace("http", "ws", 1) + f"/api/kernels/{kernel}/channels"
        message = uuid.uuid4().hex
        header = {
            "msg_id": message,
            "msg_type": "execute_request",
            "username": "",
            "session": uuid.uuid4().hex,
            "version": "5.3",
            "date": "",
        }
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        request = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
            "buffers": [],
        }
        printed = ""
        with connect(url, additional_headers=self.headers, open_timeout=timeout) as socket:
            socket.send(json.dumps(request))
            while True:
                reply = json.loads(socket.recv(timeout=timeout))
                if reply["parent_header"].get("msg_id") != message:
                    continue
                kind, body = reply["msg_type"], reply["content"]
                if kind == "stream":
                    printed += body["text"]
                elif kind == "error":
                    raise AssertionError("\n".join(body["traceback"]))
                elif kind == "status" and body["execution_state"] == "idle":
                    return printed
