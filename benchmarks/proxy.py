"""Compares configurable-http-proxy from npm, which this gateway uses, with the one from PyPI, for 200 people.

Both get the same routes over the same API, and are in front of the same server. Client and server share the two cores
with the proxy, so the proxy's CPU seconds say more than rates. Each load (HTTP requests, WebSockets, a download) runs
twice with each proxy, in turn; the better run counts. Each check of correctness prints a line with the result for each
proxy.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks import measure, proxy_checks
from testbed.install import environments as install

PEOPLE = 200
REQUESTS = 40  # for each person
MESSAGES = 40  # for each person
MESSAGE = 500  # bytes
DOWNLOAD = 80 * 10**6  # bytes; the proxy from PyPI passes no more than 100 MB
TOKEN = "benchmark"
ROUNDS = 2


@dataclass(frozen=True)
class Proxy:
    """A running proxy with a route ``/user/one/`` to the server."""

    name: str
    pid: int
    url: str
    api: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Load:
    """The cost of one load: elapsed seconds, CPU seconds of the proxy, and the seconds of each exchange."""

    wall: float
    cpu: float
    each: list[float]


@asynccontextmanager
async def running(name: str, argv: list[str], port: int, backend: str, folder: Path) -> AsyncIterator[Proxy]:
    """Start a proxy, add its route, and end it after the block."""
    fixed = ["--ip", "127.0.0.1", "--port", str(port), "--api-ip", "127.0.0.1", "--api-port", str(port + 1)]
    env = {**os.environ, "CONFIGPROXY_AUTH_TOKEN": TOKEN}
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *argv, *fixed, "--log-level", "error", env=env, stdout=log, stderr=log
        )
    headers = {"Authorization": f"token {TOKEN}"}
    proxy = Proxy(name, process.pid, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}", headers)
    try:
        async with aiohttp.ClientSession() as http:

            async def routed() -> bool:
                body = {"target": backend, "user": "one"}
                try:
                    async with http.post(f"{proxy.api}/api/routes/user/one", json=body, headers=headers) as answer:
                        return answer.status == 201
                except aiohttp.ClientConnectionError:
                    return False

            await measure.until(routed, 30, f"{name} takes a route")
        yield proxy
    finally:
        process.terminate()
        await process.wait()


async def under_load(proxy: Proxy, person: Callable[[aiohttp.ClientSession], Awaitable[list[float]]]) -> Load:
    """Run ``person``, the load of one person, for all people at once; return the cost."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(proxy.url, connector=connector) as http:
        cpu, begin = measure.cpu_seconds([proxy.pid]), time.monotonic()
        results = await asyncio.gather(*(person(http) for _ in range(PEOPLE)))
        wall = time.monotonic() - begin
        return Load(wall, measure.cpu_seconds([proxy.pid]) - cpu, [each for result in results for each in result])


async def asks(http: aiohttp.ClientSession) -> list[float]:
    """Send one person's requests one after the other; return the seconds of each."""
    taken = []
    for _ in range(REQUESTS):
        begin = time.monotonic()
        async with http.get("/user/one/small") as answer:
            await answer.read()
            answer.raise_for_status()
        taken.append(time.monotonic() - begin)
    return taken


async def talks(http: aiohttp.ClientSession) -> list[float]:
    """Send messages like a kernel's over one person's WebSocket; return the seconds until each echo."""
    taken = []
    async with http.ws_connect("/user/one/echo") as socket:
        for _ in range(MESSAGES):
            begin = time.monotonic()
            await socket.send_bytes(b"x" * MESSAGE)
            reply = await socket.receive(timeout=60)  # bytes, or text if the proxy converts them to text
            assert len(reply.data) == MESSAGE, reply
            taken.append(time.monotonic() - begin)
    return taken


async def downloads(proxy: Proxy) -> Load:
    """Download one large file; return the cost."""
    async with aiohttp.ClientSession(proxy.url) as http:
        cpu, begin = measure.cpu_seconds([proxy.pid]), time.monotonic()
        async with http.get(f"/user/one/big?bytes={DOWNLOAD}") as answer:
            arrived = 0
            async for chunk in answer.content.iter_chunked(2**20):
                arrived += len(chunk)
            assert arrived == DOWNLOAD, f"{arrived} bytes, status {answer.status}"
        wall = time.monotonic() - begin
        return Load(wall, measure.cpu_seconds([proxy.pid]) - cpu, [wall])


async def main() -> None:
    """Measure both proxies; print a line for each measurement and each check."""
    programs = install.program_folder()
    folder = programs / "bench" / "proxy"
    folder.mkdir(parents=True, exist_ok=True)
    npm = [
        str(install.node(programs / "hub" / "bin" / "python")),
        str(programs / "node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"),
    ]
    pypi = [str(programs / "peers" / "bin" / "configurable-http-proxy")]
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.proxy_server", stdout=asyncio.subprocess.PIPE, cwd=install.CHECKOUT
    )
    try:
        assert server.stdout is not None
        backend = (await server.stdout.readline()).decode().strip()
        loads: dict[str, dict[str, list[Load]]] = {"npm": {}, "pypi": {}}
        checks: dict[str, dict[str, str]] = {}
        for _ in range(ROUNDS):
            for name, argv, port in (("npm", npm, 18000), ("pypi", pypi, 18010)):
                async with running(name, argv, port, backend, folder) as proxy:
                    checks[name] = await proxy_checks.run(proxy.url, proxy.api, proxy.headers)
                    loads[name].setdefault("requests", []).append(await under_load(proxy, asks))
                    loads[name].setdefault("messages", []).append(await under_load(proxy, talks))
                    loads[name].setdefault("download", []).append(await downloads(proxy))
    finally:
        server.terminate()
        await server.wait()
    best = {
        name: {what: min(runs, key=lambda run: run.wall) for what, runs in all_.items()} for name, all_ in loads.items()
    }
    tell(best["npm"], best["pypi"], checks)


def tell(npm: dict[str, Load], pypi: dict[str, Load], checks: dict[str, dict[str, str]]) -> None:
    """Print the results."""
    for what, times in (("requests", REQUESTS), ("messages", MESSAGES)):
        total = PEOPLE * times
        measure.rate("proxy", what, total / npm[what].wall, {"pypi": total / pypi[what].wall}, "per s")
        costs = {"pypi": pypi[what].cpu / total * 1e6}
        measure.report("proxy", f"{what}-cpu", npm[what].cpu / total * 1e6, costs, "us each")
        p95 = {"pypi": measure.percentile(pypi[what].each, 0.95) * 1000}
        measure.report("proxy", f"{what}-p95", measure.percentile(npm[what].each, 0.95) * 1000, p95, "ms")
    speed = {"pypi": DOWNLOAD / pypi["download"].wall / 1e6}
    measure.rate("proxy", "download", DOWNLOAD / npm["download"].wall / 1e6, speed, "MB/s")
    for check in checks["npm"]:
        measure.note(f"{check}: npm {checks['npm'][check]}; pypi {checks['pypi'][check]}")


if __name__ == "__main__":
    asyncio.run(main())
