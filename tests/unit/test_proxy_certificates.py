"""configurable-http-proxy with ``certificates.cjs``: it uses its certificate for the link and the hub, and checks their
names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from factorycommon.tls import PROXY, dialing, listening
from factoryoperator import certificates
from testbed import ports
from testbed.install import environments as install
from tests.unit.hub_process import ROOT
from tests.unit.test_tls import files, of

TOKEN = "t" * 32
PROGRAM = install.program_folder() / "node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="needs configurable-http-proxy (bin/test installs it)")


@asynccontextmanager
async def notebook(tls_folder: Path) -> AsyncIterator[int]:
    """Run a session's port, which accepts only the proxy, on 127.0.0.1 and 127.0.0.2; yield its number."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            await writer.drain()
        writer.close()

    tls = listening(of(tls_folder / "link"), [PROXY])
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    async with server, await asyncio.start_server(answer, "127.0.0.2", port, ssl=tls):
        yield port


@asynccontextmanager
async def proxy(tls_folder: Path, *more: str) -> AsyncIterator[tuple[str, str]]:
    """Run the proxy; yield its public address, and the address of its API.

    ``more``: options for Node.js.
    """
    own, (public, api) = tls_folder / "proxy", (ports.single(), ports.single())
    pairs = [(part, str(own / name)) for part, name in (("key", "tls.key"), ("cert", "tls.crt"), ("ca", "ca.crt"))]
    process = await asyncio.create_subprocess_exec(
        *(str(install.node(Path(sys.executable))), *more, str(PROGRAM)),
        *("--ip", "127.0.0.1", "--port", str(public), "--api-ip", "127.0.0.1", "--api-port", str(api)),
        *(word for part, path in pairs for word in (f"--api-ssl-{part}", path)),
        *(f"--client-ssl-{part}={path}" for part, path in pairs),
        *("--api-ssl-request-cert", "--api-ssl-reject-unauthorized"),
        *("--client-ssl-request-cert", "--client-ssl-reject-unauthorized"),
        env={**os.environ, "CONFIGPROXY_AUTH_TOKEN": TOKEN},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        for port in (public, api):
            await listens(port)
        yield f"http://127.0.0.1:{public}", f"https://localhost:{api}"
    finally:
        process.terminate()
        said = (await process.communicate())[0].decode()
        assert "Uncaught" not in said, said


async def listens(port: int) -> None:
    """Wait until the proxy accepts connections at this port; its own message about this comes a little too early."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                return
            await asyncio.sleep(0.05)


async def route(api: str, tls_folder: Path, target: str) -> int:
    """Add a route as the hub does; return the answer's status, 0 if there is none."""
    async with httpx.AsyncClient(verify=dialing(of(tls_folder / "hub")), timeout=30, trust_env=False) as hub:
        try:
            headers = {"Authorization": f"token {TOKEN}"}
            return (await hub.post(f"{api}/api/routes/user/ada", headers=headers, json={"target": target})).status_code
        except httpx.HTTPError:
            return 0


async def asked(public: str, host: str) -> int:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as browser:
        return (await browser.get(f"{public}/user/ada/", headers={"Host": host})).status_code


HOOK = ("--require", str(ROOT / "hub_config" / "proxy" / "certificates.cjs"))


async def test_certificates_are_replaced_while_the_proxy_runs(tmp_path: Path) -> None:
    tls, old = tmp_path / "tls", tmp_path / "old"
    for name in ("hub", "link", "proxy"):
        files(tls, name)
    async with notebook(tls) as port, proxy(tls, *HOOK) as (public, api):
        assert await route(api, tls, f"https://localhost:{port}") == 201
        assert await asked(public, "gateway.example.org") == 200
        shutil.copytree(tls, old)
        certificates.new_authority(tls)
        certificates.renew(tls, None, 30)
        certificates.drop_old(tls)
        assert await asked(public, "gateway.example.org") == 200
        assert await route(api, tls, f"https://localhost:{port}") == 201
        assert await route(api, old, f"https://localhost:{port}") == 0
        (tls / "proxy" / "tls.key").write_text("")  # an incomplete renewal: the last good certificate is used
        assert await asked(public, "gateway.example.org") == 200


async def test_the_server_s_name_is_checked_for_the_host_that_is_dialled(tmp_path: Path) -> None:
    tls = tmp_path / "tls"
    for name in ("hub", "link", "proxy"):
        files(tls, name)
    async with notebook(tls) as port, proxy(tls, *HOOK) as (public, api):
        for target, status in ((f"https://127.0.0.1:{port}", 200), (f"https://127.0.0.2:{port}", 503)):
            assert await route(api, tls, target) == 201
            for host in ("localhost", "gateway.example.org"):
                assert await asked(public, host) == status, (target, host)
    # this failure is the reason for ``certificates.cjs``
    async with notebook(tls) as port, proxy(tls) as (public, api):
        assert await route(api, tls, f"https://localhost:{port}") == 201
        assert await asked(public, "gateway.example.org") == 503
