"""Two installed releases, a gateway's configuration, and a scripted hub and link, for tests of upgrades."""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from factorycommon.tls import listening
from factoryinstaller.releases import Layout, Release
from factoryoperator.gateway import read
from factoryoperator.units import Part
from factoryoperator.upgrade import Upgrade
from tests.unit.test_check import Configured

ROOT = Path(__file__).parents[2]
OLD, NEW = "0.1.0", "0.2.0"
ADAS, GRACES, CLUSTER = "a" * 32, "b" * 32, "c" * 32


def session(id: str, user: str, **more: Any) -> dict[str, Any]:
    """Return a running session as the link shows it, with a field that only a later release has."""
    return {"id": id, "user": user, "server": "", "job": "7", "state": "running", "reachable": True,
            "of_a_later_release": 1} | more  # fmt: skip


@dataclass
class Script:
    """The behaviour of a release: the sessions and clusters of its link, the ready servers of its hub, and why a part
    does not start."""

    sessions: list[dict[str, Any]]
    ready: list[tuple[str, str]]
    clusters: list[dict[str, Any]] = field(default_factory=list)
    fails: dict[Part, str] = field(default_factory=dict)


class _Quiet(BaseHTTPRequestHandler):
    answer: Callable[[str], tuple[int, Any]]

    def do_GET(self) -> None:
        status, content = type(self).answer(self.path)
        text = json.dumps(content)
        body = (f"event: snapshot\ndata: {text}\n\n" if self.path == "/table" else text).encode()
        self.send_response(status)
        self.send_header("X-JupyterHub-Version", "6.1.1")  # the check recognises a hub by this header
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "here"

    def log_message(self, *_: Any) -> None:
        return


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class Scripted:
    """Units that start servers in threads of this process.

    ``did``: the orders so far, each with the version of the release that was current.
    """

    def __init__(self, layout: Layout, configured: Configured, scripts: dict[str, Script]) -> None:
        self._layout = layout
        gateway = read(configured.folder / "hub.yaml", configured.folder / "link.yaml")
        assert gateway.link.config is not None
        assert gateway.hub.config is not None
        self._socket = gateway.link.config.socket
        self._hub = urlsplit(gateway.hub.config.hub_url)
        self._tls = gateway.hub.config.tls
        self.scripts = scripts
        self.did: list[str] = []
        self.parts: tuple[Part, ...] = ("link", "hub", "proxy")
        self.breaks_at = ""  # the order at which the power goes
        self._up: dict[Part, socketserver.BaseServer] = {}
        self._script: dict[Part, Script] = {}

    def has(self, part: Part) -> bool:
        return part in self.parts

    def stop(self, part: Part) -> None:
        self._order("stop", part)
        server = self._up.pop(part, None)
        if server is not None:
            server.shutdown()
            server.server_close()
            if part == "link":
                self._socket.unlink()

    def start(self, part: Part) -> None:
        self._order("start", part)
        current = self._layout.current()
        assert current is not None
        script = self._script[part] = self.scripts[current.version]
        if part in script.fails or part in ("workshops", "proxy"):
            return
        if part == "link":
            with suppress(FileNotFoundError):
                self._socket.unlink()
            server: socketserver.BaseServer = _UnixServer(str(self._socket), self._handler(self._link(script)))
        else:
            server = ThreadingHTTPServer(
                (self._hub.hostname or "", self._hub.port or 0), self._handler(self._api(script))
            )
            if self._tls is not None:
                server.socket = listening(self._tls, ["hub"]).wrap_socket(server.socket, server_side=True)
        self._up[part] = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def failed(self, part: Part) -> str:
        return self._script[part].fails.get(part, "") if part in self._script else ""

    def end(self) -> None:
        """Stop all servers."""
        self.breaks_at = ""
        for part in list(self._up):
            self.stop(part)

    def _order(self, verb: str, part: Part) -> None:
        current = self._layout.current()
        order = f"{verb} {part} {current.version if current else '-'}"
        self.did.append(order)
        if order == self.breaks_at:
            raise SystemExit("the power went")

    @staticmethod
    def _handler(answer: Callable[[str], tuple[int, Any]]) -> type[_Quiet]:
        return type("Handler", (_Quiet,), {"answer": staticmethod(answer)})

    @staticmethod
    def _link(script: Script) -> Callable[[str], tuple[int, Any]]:
        def answer(path: str) -> tuple[int, Any]:
            if path == "/table":
                live = [one for one in script.sessions if one["state"] != "ended"]
                live_clusters = [one for one in script.clusters if one["state"] != "ended"]
                return 200, {"sessions": live, "factories": [], "clusters": live_clusters}
            if path.startswith("/people/"):
                count = int(parse_qs(urlsplit(path).query).get("ended", ["5"])[0])  # 5 is the link's default
                assert count <= 50  # the link refuses more
                ended = [one for one in script.clusters if one["state"] == "ended"]
                return 200, [one for one in script.clusters if one["state"] != "ended"] + ended[:count]
            found = next((one for one in script.sessions if path == f"/sessions/{one['id']}"), None)
            return (404, {}) if found is None else (200, found)

        return answer

    @staticmethod
    def _api(script: Script) -> Callable[[str], tuple[int, Any]]:
        def answer(path: str) -> tuple[int, Any]:
            if path.endswith("/hub/health"):
                return 200, {}
            people = sorted({person for person, _ in script.ready})
            return 200, [
                {"name": one, "servers": {server: {"ready": True} for person, server in script.ready if person == one}}
                for one in people
            ]

        return answer


class World:
    """A machine with two releases: OLD, which runs, and NEW. ``said``: printed texts; ``answer``: the answer to each
    question."""

    def __init__(self, folder: Path, configured: Configured) -> None:
        self.configured = configured
        self.layout = Layout(folder / "opt")
        for version in (OLD, NEW):
            self.make(version)
        self.old, self.new = self.layout.installed_release(OLD), self.layout.installed_release(NEW)
        self.layout.switch(self.old)
        script = {
            version: Script([session(ADAS, "ada"), session(GRACES, "grace", state="pending", reachable=False, job="8")],
                            [("ada", "")], [{"id": CLUSTER, "user": "ada", "state": "live", "counts": {}}])
            for version in (OLD, NEW)
        }  # fmt: skip
        self.units = Scripted(self.layout, configured, script)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.answer = True
        self.backups = folder / "backups"
        for part in ("link", "hub"):
            self.units.start(part)
        self.units.did.clear()

    def make(self, version: str, proxy: str = "same", checks: bool = False) -> Release:
        """Make an installed release whose Python is this one; return it.

        ``proxy``: the digest of its proxy, which tells whether the proxy changes; ``checks``: its ``check`` really
        runs, which takes seconds; otherwise it finds no mistake.
        """
        folder = self.layout.root / "releases" / version
        (folder / "venv" / "bin").mkdir(parents=True, exist_ok=True)
        python = folder / "venv" / "bin" / "python"
        path = f"{ROOT / 'spawners'}:{ROOT / 'extensions'}"
        skips = "" if checks else '[ "$3" = check ] && exit 0\n'
        python.write_text(f'#!/bin/sh\n{skips}PYTHONPATH={path} exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        (folder / "release.json").write_text(json.dumps({"version": version, "proxy": proxy}))
        return self.layout.installed_release(version)

    @property
    def upgrade(self) -> Upgrade:
        """Return the object that upgrades this machine."""
        return Upgrade(
            layout=self.layout,
            units=self.units,
            hub=self.configured.folder / "hub.yaml",
            link=self.configured.folder / "link.yaml",
            backups=self.backups,
            say=self.said.append,
            confirm=self._confirm,
            patience=1.0,
        )

    @property
    def current(self) -> str:
        """Return the version of the current release."""
        found = self.layout.current()
        assert found is not None
        return found.version

    def _confirm(self, question: str) -> bool:
        self.asked.append(question)
        return self.answer
