"""A restarted proxy asks the hub for its routes by itself; tested with the real configurable-http-proxy."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from testbed import ports
from testbed.install import environments as install

PROXY = install.CHECKOUT / "hub_config" / "proxy"
Asked = tuple[str, str, str]


class Hub:
    """A stand-in for the hub that stores the requests that it gets.

    It answers the first ``busy`` requests with 503 and all others with 200. ``asked``: (method, path, Authorization).
    """

    def __init__(self, busy: int) -> None:
        self.asked: queue.Queue[Asked] = queue.Queue()
        self._busy = busy
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing."""

            def do_POST(self) -> None:
                hub._busy -= 1
                self.send_response(503 if hub._busy >= 0 else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                hub.asked.put((self.command, self.path, self.headers["Authorization"]))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(busy=1)
    yield hub
    hub.close()


def node() -> Path:
    """Return the path of Node.js in the hub's environment."""
    python = install.program_folder() / "hub/bin/python"
    if not python.exists():
        pytest.skip("needs Node.js: python3 -m testbed.install demo")
    return install.node(python)


def proxy(hub: Hub, **env: str) -> subprocess.Popen[str]:
    program = install.program_folder() / "node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
    if not program.exists():
        pytest.skip("needs the proxy: python3 -m testbed.install demo")
    port = ports.single()
    listening = ["--ip", "127.0.0.1", "--port", str(port), "--api-ip", "127.0.0.1", "--api-port", str(ports.single())]
    return subprocess.Popen(
        [node(), program, *listening, "--default-target", f"http://127.0.0.1:{hub.server.server_port}"],
        env={
            **os.environ,
            "CONFIGPROXY_AUTH_TOKEN": "t",
            "NODE_OPTIONS": f"--require={PROXY / 'restore-routes.cjs'}",
            **{name: value.replace("PORT", str(port)) for name, value in env.items()},
        },
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def test_the_hub_is_asked_until_it_gives_the_routes(hub: Hub) -> None:
    url = "http://127.0.0.1:PORT/base/hub/api/proxy"
    with proxy(hub, RESTORE_ROUTES_URL=url, RESTORE_ROUTES_TOKEN="secret") as process:
        try:
            expected = ("POST", "/base/hub/api/proxy", "token secret")
            assert [hub.asked.get(timeout=60) for _ in range(2)] == [expected, expected]
            assert process.stderr is not None
            for line in process.stderr:
                assert "secret" not in line
                if "has given its routes" in line:
                    break
            assert hub.asked.empty()
        finally:
            process.terminate()


def test_without_a_token_the_proxy_asks_for_no_routes() -> None:
    """Node.js exits by itself, since no request and no timer is left."""
    env = {**os.environ, "RESTORE_ROUTES_URL": "http://127.0.0.1:9/hub/api/proxy"}
    done = subprocess.run(
        [node(), "--require", PROXY / "restore-routes.cjs", "--eval", "0"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
