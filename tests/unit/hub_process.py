"""A real hub process on loopback with the gateway's configuration, beside a fake proxy API and a fake notebook."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from fastapi import FastAPI, Request, Response

from factoryspawner.login.password_file import write_passwords
from testbed import ports

ROOT = Path(__file__).parents[2]
# The link and the services that a hub asks are in the process of the tests, which a busy machine may hold up. The hub
# waits for their answers; while there is a file ``patient``, a request for a start waits for its outcome.
BUSY_MACHINE = """
import os
import httpx
from jupyterhub.handlers.base import BaseHandler
from factorylink import client

client._ANSWER_SECONDS = 60.0
limits = httpx.Timeout.as_dict
httpx.Timeout.as_dict = lambda it: {name: 60.0 if 5 <= (one or 0) < 60 else one for name, one in limits(it).items()}
usual = BaseHandler.slow_spawn_timeout.fget
BaseHandler.slow_spawn_timeout = property(lambda self: 60.0 if os.path.exists("patient") else usual(self))
"""
Shown = dict[str, Any] | None  # a server in the hub's API


def is_ready(shown: Shown) -> bool:
    return shown is not None and shown["ready"]


def is_stopped(shown: Shown) -> bool:
    return shown is None or shown["stopped"]


class Beside:
    """The proxy's API as far as the hub uses it, and ``/api`` of every notebook."""

    def __init__(self) -> None:
        self.port = ports.single()
        self.url = f"http://127.0.0.1:{self.port}"
        self.routes: dict[str, Any] = {}
        self.notebook_up = True
        self.removes = asyncio.Event()  # if cleared, the proxy delays the removal of a route
        self.removes.set()
        app = FastAPI()

        @app.get("/api/routes")
        async def routes() -> dict[str, Any]:
            return self.routes

        @app.post("/api/routes/{path:path}")
        async def add(path: str, request: Request) -> Response:
            self.routes["/" + path.strip("/")] = {**await request.json(), "last_activity": "2026-01-01T00:00:00Z"}
            return Response(status_code=201)

        @app.delete("/api/routes/{path:path}")
        async def remove(path: str) -> Response:
            await self.removes.wait()
            self.routes.pop("/" + path.strip("/"), None)
            return Response(status_code=204)

        @app.get("/{path:path}")
        async def notebook(path: str) -> Response:
            return Response("{}", status_code=200 if self.notebook_up else 502)

        self._server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="error", lifespan="off"))
        self._serving: asyncio.Task[None] | None = None

    async def up(self) -> None:
        """Start listening."""
        self._serving = asyncio.create_task(self._server._serve())
        while not self._server.started:
            await asyncio.sleep(0.01)

    async def down(self) -> None:
        """Stop listening, and close all connections."""
        assert self._serving is not None
        self._server.should_exit = self._server.force_exit = True
        await self._serving


class HubProcess:
    """One hub with its files in ``folder``, which tests kill and start.

    ``extra``: Python code for its configuration; ``pages``: the folder of its pages, None: the usual one; ``login``:
    that part of hub.yaml, None: people have passwords; ``workshops``: the socket of a workshops service, None: there is
    none.
    """

    def __init__(
        self,
        folder: Path,
        link_socket: Path,
        beside: Beside,
        extra: str = "",
        pages: Path | None = None,
        login: dict[str, Any] | None = None,
        workshops: Path | None = None,
    ) -> None:
        self.folder = folder
        self.port = ports.single()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin = secrets.token_hex(16)
        self.service = secrets.token_hex(16)
        for name, text in {"admin": self.admin, "service": self.service, "proxy": "p" * 16}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        write_passwords(folder / "passwords.json", {"ada": "ada-secret", "bob": "bob-secret"})
        self.configure(extra)
        config: dict[str, Any] = {
            "public_url": "http://127.0.0.1:1",
            "hub_url": self.url,
            "proxy_api_url": beside.url,
            "proxy_token_file": "proxy",
            "link_socket": str(link_socket),
            "link_url": beside.url,
            "service_token_file": "service",
            "db_file": "hub.sqlite",
            "cookie_secret_file": "cookie",
            "passwords_file": "passwords.json",
            "admin_token_file": "admin",
            "extra_config": "extra.py",
        }
        if pages is not None:
            config |= {"pages": str(pages)}
        if workshops is not None:  # the socket of a workshops service
            (folder / "workshops").write_text("w" * 32)
            (folder / "workshops").chmod(0o600)
            config |= {"workshops": {"socket": str(workshops), "url": beside.url, "token_file": "workshops"}}
        if login is not None:  # providers redirect people to the hub itself, since there is no proxy
            del config["passwords_file"]
            config |= {"login": login, "public_url": self.url}
        (folder / "hub.yaml").write_text(yaml.safe_dump(config))
        self.http = httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False)
        self.process: asyncio.subprocess.Process | None = None

    def configure(self, extra: str) -> None:
        """Write Python code into the hub's configuration, in place of earlier code.

        The code takes effect at the hub's next start.
        """
        (self.folder / "extra.py").write_text(BUSY_MACHINE + extra)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """During the block, make each request for a start wait for its outcome, for up to a minute."""
        (self.folder / "patient").touch()
        try:
            yield
        finally:
            (self.folder / "patient").unlink()

    async def up(self) -> None:
        """Start the hub, and wait until it answers."""
        path = os.pathsep.join(str(ROOT / part) for part in ("spawners", "extensions"))
        environment = {**os.environ, "PYTHONPATH": path, "FACTORYGATE_HUB_CONFIG": str(self.folder / "hub.yaml")}
        with (self.folder / "hub.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "jupyterhub", "-f", str(ROOT / "hub_config" / "jupyterhub_config.py")),
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        while True:
            assert self.process.returncode is None, self.log
            try:
                answer = await self.http.get("/hub/health")
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code == 200:
                return

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send the hub this signal, unless it has ended, and wait until it has ended."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        await self.process.wait()

    async def api(self, method: str, path: str, token: str | None = None, **kwargs: Any) -> httpx.Response:
        """Send a request to the hub's API, as its administrator by default; return the answer, whatever its status."""
        headers = {"Authorization": f"token {token or self.admin}"} | kwargs.pop("headers", {})
        return await self.http.request(method, f"/hub/api{path}", headers=headers, **kwargs)

    async def server(self, user: str, server: str = "") -> dict[str, Any] | None:
        """Return the server from the hub's API, also a stopped one; None if the hub has no server of that name."""
        answer = await self.api("GET", f"/users/{user}?include_stopped_servers=1")
        return answer.json()["servers"].get(server)

    async def until(self, user: str, check: Any, server: str = "") -> Any:
        """Wait until ``check`` accepts the server in the hub's API; return the server.

        ``check`` gets what ``server`` returns: also a stopped server, or None.
        """
        end = time.monotonic() + 120
        while time.monotonic() < end:
            shown = await self.server(user, server)
            if check(shown):
                return shown
            await asyncio.sleep(0.1)
        raise AssertionError(f"{shown}\n{self.log[-6000:]}")

    async def login(self, user: str) -> httpx.AsyncClient:
        """Return a browser that is logged in."""
        browser = httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False, follow_redirects=True)
        await browser.get("/hub/login")
        data = {"username": user, "password": f"{user}-secret", "_xsrf": browser.cookies["_xsrf"]}
        answer = await browser.post("/hub/login", data=data, follow_redirects=False)
        assert answer.status_code == 302, answer.text
        await browser.get("/hub/token")  # sets the XSRF cookie
        return browser

    @property
    def log(self) -> str:
        """Return the hub's whole log."""
        return (self.folder / "hub.log").read_text()
