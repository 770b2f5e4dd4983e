"""A gateway below a URL path: a restarted proxy gets its routes back at once, however it was started."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import CHECKOUT, PORTS, demo, started
from tests.support.gateway import Gateway, eventually

BASE_URL = "/a/gateway/"
UNIT = CHECKOUT / "docs" / "systemd" / "factorygate-proxy.service"
AT_ONCE = 60.0  # seconds; by itself the hub checks the routes only every 300


@pytest.fixture(scope="module")
def gateway(demo_folder: Path) -> Iterator[Gateway]:
    """Start a demo below a path, with one factory."""
    folder = demo_folder.with_name("tested-base-url")
    yield from started(None, folder, PORTS["base_url"], "--base-url", BASE_URL, "--factories", "brainpp")


def routes(gateway: Gateway) -> set[str]:
    """Return the proxy's present routes; an empty set while the proxy does not answer."""
    api = f"http://127.0.0.1:{port(gateway) + 1}/api/routes"
    token = (gateway.path.parent / "proxy.token").read_text()
    try:
        return set(httpx.get(api, headers={"Authorization": f"token {token}"}, timeout=30).json())
    except httpx.HTTPError:
        return set()


def port(gateway: Gateway) -> int:
    return httpx.URL(gateway.url).port or 0


def test_a_session_s_address_and_the_api_s_page_have_the_path(gateway: Gateway) -> None:
    user = gateway.make_user()
    answer = gateway.start(user, hours=0.2)
    assert answer.status_code in (201, 202), answer.text
    url = f"http://127.0.0.1:{port(gateway)}{BASE_URL}user/{user}/"
    assert answer.json()["url"] == url
    gateway.wait_ready(user)
    assert [session["url"] for session in gateway.sessions(user)] == [url]
    headers = {"Authorization": f"token {gateway.token(user)}"}
    assert httpx.get(f"{url}api/kernels", headers=headers, timeout=60).json() == []
    gateway.stopped(user)
    api = f"{gateway.root}/services/factories/api"
    assert httpx.get(f"{api}/docs", timeout=60).status_code == 200
    assert f"{BASE_URL}services/factories/api/sessions" in httpx.get(f"{api}/openapi.json", timeout=60).json()["paths"]


def test_a_killed_proxy_has_its_routes_back(gateway: Gateway) -> None:
    before = routes(gateway)
    assert BASE_URL in {f"{route.rstrip('/')}/" for route in before}
    assert any("/services/factories" in route for route in before)
    os.kill(gateway.pid("proxy"), signal.SIGKILL)
    eventually(lambda: routes(gateway) == before, timeout=AT_ONCE, every=0.05, what="the routes are back")


def test_the_systemd_unit_restores_routes_below_the_path(gateway: Gateway, tmp_path: Path) -> None:
    before = routes(gateway)
    services = next(route for route in before if "/services/factories" in route)
    token = (gateway.path.parent / "proxy.token").read_text()
    api = f"http://127.0.0.1:{port(gateway) + 1}/api/routes{services}"
    assert httpx.delete(api, headers={"Authorization": f"token {token}"}, timeout=60).status_code == 204
    assert services not in routes(gateway)
    header = tmp_path / "restore-routes.header"
    header.write_text(f"Authorization: token {gateway.admin_token}\n")
    argv = restore_argv(base_url=BASE_URL, hub=f"http://127.0.0.1:{port(gateway) + 81}", header=header)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert routes(gateway) == before
    # without the path the hub refuses the request, which the journal shows
    argv = restore_argv(base_url="/", hub=f"http://127.0.0.1:{port(gateway) + 81}", header=header)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "error: 4" in done.stderr


def restore_argv(base_url: str, hub: str, header: Path) -> list[str]:
    """Return the argv of ExecStartPost of factorygate-proxy.service, with these addresses and this header file."""
    text = UNIT.read_text().replace("\\\n", " ")
    line = next(line for line in text.splitlines() if line.startswith("ExecStartPost="))
    line = line.removeprefix("ExecStartPost=-").replace("${BASE_URL}", base_url)
    assert "http://127.0.0.1:8081/" in line
    assert "@%d/restore-routes.header" in line  # %d is the folder with the unit's credentials
    assert "\nLoadCredential=restore-routes.header:/etc/factorygate/restore-routes.header\n" in text
    return shlex.split(line.replace("http://127.0.0.1:8081", hub).replace("%d/restore-routes.header", str(header)))


def test_a_second_start_says_again_how_to_log_in(gateway: Gateway) -> None:
    folder = gateway.path.parent
    for detach in ((), ("--detach",)):
        again = demo(folder, "--port", str(port(gateway)), "--base-url", BASE_URL, *detach)
        assert again.returncode == (0 if detach else 1), again.stdout
        assert f"The gateway is at {gateway.url}" in again.stdout
        for name, password in gateway.passwords.items():
            assert f"{name:6} {password}" in again.stdout
    assert (folder / "greeting.txt").stat().st_mode & 0o777 == 0o600


def test_a_session_works_below_the_path(gateway: Gateway) -> None:
    try:
        gateway.started("ada", "below", factory="brainpp", size="gpu-1", hours=0.5)
        assert gateway.notebook("ada", "below").run("print(6 * 7)").strip() == "42"
    finally:
        gateway.stopped("ada", "below")
