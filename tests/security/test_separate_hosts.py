"""Hub, link and proxy on three hosts, with mutual TLS between them; a fourth host belongs to a stranger.

Each host is a network namespace. The link's host has a real Slurm, in which a session runs."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import asyncssh
import httpx
import pytest
import yaml

from factoryoperator import certificates
from factoryspawner.login.password_file import write_passwords
from testbed import factories
from testbed.demo.folder import environment
from testbed.install import environments as install
from tests.support.gateway import eventually
from tests.support.hosts import Hosts, reachable
from tests.unit import site_fakes
from tests.unit.hub_process import ROOT

pytestmark = [pytest.mark.slurm, pytest.mark.root, pytest.mark.timeout(600)]

FACTORY = "apart"
PUBLIC, PROXY_API, PROXY_METRICS, HUB, USER_API, HUB_API, METRICS = 8000, 8001, 8002, 8081, 8090, 8443, 9099
SESSIONS = (20000, 20009)
OPEN = {("proxy", PUBLIC)}  # for people
SECONDS = 240.0


@dataclass
class Apart:
    """The gateway, and the folder with its files."""

    folder: Path
    hosts: Hosts
    admin: str = field(default_factory=lambda: secrets.token_hex(16))
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    of_slurm: set[int] = field(default_factory=set)  # ports on which the link's host listened before the link started

    @property
    def tls(self) -> Path:
        return self.folder / "tls"

    def files(self, name: str) -> dict[str, str]:
        """Return the TLS files of a process, as its configuration names them."""
        return {"certificate": f"tls/{name}/tls.crt", "key": f"tls/{name}/tls.key", "authority": f"tls/{name}/ca.crt"}

    def write(self, name: str, text: str) -> Path:
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o600)
        return self.folder / name

    def start(self, host: str, *argv: str, **environment: str) -> None:
        log: IO[bytes] = (self.folder / f"{host}.log").open("ab")
        path = os.pathsep.join(str(ROOT / part) for part in ("spawners", "extensions"))
        env = {**os.environ, "PYTHONPATH": path, **environment}
        with log:
            self.processes.append(
                subprocess.Popen(self.hosts.on(host, *argv), cwd=self.folder, env=env, stdout=log, stderr=log)
            )

    def log(self, host: str) -> str:
        return (self.folder / f"{host}.log").read_text()

    def ask(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        """Send a request to the public address, from the stranger's host.

        ``token``: None means the token of the hub's administrator.
        """
        headers = {"Authorization": f"token {token or self.admin}"}
        url = f"http://{self.hosts.address['proxy']}:{PUBLIC}{path}"
        work = lambda: httpx.request(method, url, headers=headers, timeout=60, trust_env=False, **more)  # noqa: E731
        return self.hosts.call("stranger", work)

    def server(self) -> dict[str, Any]:
        answer = self.ask("GET", "/hub/api/users/ada?include_stopped_servers=1")
        return answer.json()["servers"].get("", {})

    def answers(self) -> bool:
        assert all(process.poll() is None for process in self.processes), self.log("hub") + self.log("link")
        try:
            return all(
                self.ask("GET", path).status_code == 200
                for path in ("/hub/api/users/ada", "/services/factories/health")
            )
        except httpx.TransportError:
            return False

    def dial(self, host: str, port: int, tls: ssl.SSLContext | None, request: str = "/") -> str:
        """Send an HTTP request from the stranger's host; return the first line of the answer, "" if there is none.

        ``tls``: None sends the request without TLS; ``request``: the path.
        """
        address = self.hosts.address[host]

        def work() -> str:
            try:
                with socket.create_connection((address, port), timeout=60) as plain:
                    line = plain if tls is None else tls.wrap_socket(plain, server_hostname=address)
                    with line:
                        line.sendall(f"GET {request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                        return line.recv(200).decode("latin-1").partition("\r\n")[0]
            except OSError:
                return ""

        return self.hosts.call("stranger", work)


def client(folder: Path | None, authority: Path | None = None) -> ssl.SSLContext:
    """Return TLS settings for a client with the certificate in ``folder``; None: without a certificate.

    The client trusts any server, or, with ``authority``, servers whose certificates this authority has signed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority)
    if folder is not None:
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    programs = install.program_folder()
    folder = programs / "tested-apart"  # a folder that site accounts can read
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = Apart(folder, Hosts(folder, ("hub", "link", "proxy", "stranger")))
    testbed = ("--state", str(folder / "clusters"), "--packages", str(programs / "slurm"))
    testbed += ("--catalogue", str(folder / "factories"))
    try:
        made.hosts.up()
        configure(made, programs)
        subprocess.run(
            made.hosts.on("link", sys.executable, "-m", "testbed", "up", FACTORY, *testbed),
            cwd=ROOT, check=True, timeout=SECONDS,
        )  # fmt: skip
        made.of_slurm = made.hosts.ports("link")
        start(made, programs)
        eventually(made.answers, SECONDS, what="hub, link and proxy answer")
        yield made
    finally:
        for process in made.processes:
            process.terminate()
        for process in made.processes:
            process.wait(60)
        if (folder / "clusters").exists():
            subprocess.run(
                made.hosts.on("link", sys.executable, "-m", "testbed", "down", *testbed),
                cwd=ROOT, check=True, timeout=SECONDS,
            )  # fmt: skip
        made.hosts.down()
    shutil.rmtree(folder, ignore_errors=True)


def configure(made: Apart, programs: Path) -> None:
    for name in ("hub", "link", "proxy"):
        certificates.make(made.tls, name, [name, made.hosts.address[name]], 30)
    entry = site_fakes.factory().model_copy(update={"id": FACTORY, "environments": (environment(programs),)})
    (made.folder / "factories").mkdir()
    made.write(f"factories/{FACTORY}.yaml", yaml.safe_dump(entry.model_dump(mode="json", exclude_none=True)))
    for name in ("proxy", "service"):
        made.write(f"{name}.token", secrets.token_hex(16))
    made.write("admin.token", made.admin)
    made.write("keys/hmac.key", secrets.token_hex(32))
    made.write("keys/link_ed25519", asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())
    write_passwords(made.folder / "passwords.json", {"ada": "secret"})
    hub = {
        "public_url": f"http://{made.hosts.address['proxy']}:{PUBLIC}",
        "hub_url": f"https://hub:{HUB}",
        "hub_bind_url": f"https://0.0.0.0:{HUB}",
        "proxy_api_url": f"https://proxy:{PROXY_API}",
        "proxy_token_file": "proxy.token",
        "link": {"url": f"https://link:{HUB_API}"},
        "link_url": f"https://link:{USER_API}",
        "service_token_file": "service.token",
        "tls": made.files("hub"),
        "db_file": "hub.sqlite",
        "cookie_secret_file": "cookie",
        "passwords_file": "passwords.json",
        "admin_token_file": "admin.token",
    }
    made.write("hub.yaml", yaml.safe_dump(hub))


def start(made: Apart, programs: Path) -> None:
    cluster = factories.load(made.folder / "clusters", FACTORY)
    link = {
        "catalogue": "factories",
        "state_dir": "state",
        "key_dir": "keys",
        "socket": "state/hub.sock",
        "tls": made.files("link"),
        "listen_host": "0.0.0.0",
        "listen_port": USER_API,
        "hub_listener": {"host": "0.0.0.0", "port": HUB_API},
        "session_ports": list(SESSIONS),
        "sessions": {"listen_host": "0.0.0.0", "advertise": "link"},
        "metrics": {"host": "0.0.0.0", "port": METRICS, "tls": True},
        "hub": {"url": f"https://hub:{HUB}", "token_file": "service.token", "name": FACTORY},
        "factories": {FACTORY: {**cluster.access_fields(), "accounts": {"ada": cluster.accounts[0]}}},
    }
    made.write("link.yaml", yaml.safe_dump(link))
    own = ("key", "tls.key"), ("cert", "tls.crt"), ("ca", "ca.crt")
    options = [
        word
        for kind in ("api", "client")
        for part, name in own
        for word in (f"--{kind}-ssl-{part}", str(made.tls / "proxy" / name))
    ]
    extras = [
        word
        for name in ("cut.cjs", "certificates.cjs")
        for word in ("--require", str(ROOT / "hub_config/proxy" / name))
    ]
    made.start(
        "proxy",
        *(str(install.node(Path(sys.executable))), *extras),
        str(programs / "node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"),
        *("--ip", "0.0.0.0", "--port", str(PUBLIC), "--api-ip", "0.0.0.0", "--api-port", str(PROXY_API), *options),
        *("--api-ssl-request-cert", "--api-ssl-reject-unauthorized"),
        *("--client-ssl-request-cert", "--client-ssl-reject-unauthorized"),
        *("--metrics-ip", "0.0.0.0", "--metrics-port", str(PROXY_METRICS), "--default-target", f"https://hub:{HUB}"),
        CONFIGPROXY_AUTH_TOKEN=(made.folder / "proxy.token").read_text(),
        FACTORYGATE_METRICS_TLS="1",
    )
    jupyterhub = ("-m", "jupyterhub", "-f", str(ROOT / "hub_config" / "jupyterhub_config.py"))
    made.start("hub", sys.executable, *jupyterhub, FACTORYGATE_HUB_CONFIG=str(made.folder / "hub.yaml"))
    made.start("link", sys.executable, "-m", "factorylink", "--config", str(made.folder / "link.yaml"))


@pytest.fixture(scope="module")
def notebook(apart: Apart) -> Callable[[], int]:
    """Start a session of Ada's; return a function that sends a request with her token to its notebook.

    The request passes through the proxy; the function returns the HTTP status.
    """
    body = {"factory": FACTORY, "size": "one", "hours": 1}
    answer = apart.ask("POST", "/hub/api/users/ada/server", json=body)
    assert answer.status_code in (201, 202), answer.text
    eventually(lambda: apart.server().get("ready"), SECONDS, what="the session runs")
    token = apart.ask("POST", "/hub/api/users/ada/tokens", json={"expires_in": 3600}).json()["token"]
    return lambda: apart.ask("GET", "/user/ada/api/status", token).status_code


def test_a_session_answers_through_the_proxy(apart: Apart, notebook: Callable[[], int]) -> None:
    assert notebook() == 200
    assert apart.server()["url"] == "/user/ada/"


def test_no_port_answers_a_stranger(apart: Apart, notebook: Callable[[], int], tmp_path: Path) -> None:
    """The test tries each port on which a host listens for others, so it also covers ports that are added later."""
    assert notebook() == 200
    certificates.make(tmp_path, "hub", ["hub"], 30)
    doors = {(host, port) for host in ("hub", "link", "proxy") for port in apart.hosts.ports(host)}
    doors -= {("link", port) for port in apart.of_slurm}
    session = next(port for _, port in doors if SESSIONS[0] <= port <= SESSIONS[1])
    named = {("link", port) for port in (USER_API, HUB_API, METRICS, session)}
    assert doors >= {("hub", HUB), ("proxy", PROXY_API), ("proxy", PROXY_METRICS), *named, *OPEN}
    for host, port in doors - OPEN:
        assert apart.hosts.call("stranger", lambda h=host, p=port: reachable(apart.hosts.address[h], p))
        for tls in (None, client(None), client(tmp_path / "hub")):
            assert apart.dial(host, port, tls) == "", (host, port)


def test_each_port_lets_in_its_own_callers_only(apart: Apart, notebook: Callable[[], int]) -> None:
    assert notebook() == 200
    session = next(port for port in apart.hosts.ports("link") if SESSIONS[0] <= port <= SESSIONS[1])
    allowed = {
        ("link", HUB_API): {"hub"},
        ("link", USER_API): {"hub", "link", "proxy"},
        ("link", session): {"hub", "proxy"},
        ("link", METRICS): {"hub", "link", "proxy"},
        ("proxy", PROXY_METRICS): {"hub", "link", "proxy"},
        ("hub", HUB): {"hub", "link", "proxy"},
    }
    for (host, port), names in allowed.items():
        for name in ("hub", "link", "proxy"):
            tls = client(apart.tls / name, apart.tls / "ca.crt")
            assert bool(apart.dial(host, port, tls)) == (name in names), (host, port, name)
    own = client(apart.tls / "hub")
    assert apart.dial("link", METRICS, own, "/metrics") == "HTTP/1.1 200 OK"
    assert apart.dial("proxy", PROXY_API, own, "/api/routes") == "HTTP/1.1 403 Forbidden"  # a token is wanted as well
    assert apart.dial("proxy", PROXY_METRICS, own, "/metrics") == "HTTP/1.1 200 OK"


def test_certificates_and_authority_are_replaced_while_all_runs(
    apart: Apart, notebook: Callable[[], int], tmp_path: Path
) -> None:
    """No process restarts. New connections use the new certificates, and the old ones are refused everywhere."""
    shutil.copytree(apart.tls, tmp_path / "old")
    assert notebook() == 200
    session = next(port for port in apart.hosts.ports("link") if SESSIONS[0] <= port <= SESSIONS[1])
    certificates.new_authority(apart.tls)
    certificates.renew(apart.tls, None, 30)
    certificates.drop_old(apart.tls)
    for host, port, name in (
        ("link", HUB_API, "hub"), ("link", USER_API, "proxy"), ("link", session, "proxy"), ("link", METRICS, "hub"),
        ("hub", HUB, "proxy"), ("proxy", PROXY_API, "hub"), ("proxy", PROXY_METRICS, "hub"),
    ):  # fmt: skip
        assert apart.dial(host, port, client(apart.tls / name, apart.tls / "ca.crt")) != "", (host, port)
        assert apart.dial(host, port, client(tmp_path / "old" / name)) == "", (host, port)
    assert set(apart.hosts.calls("stranger", [notebook_at(apart)] * 8)) == {200}  # more than there are idle connections
    assert apart.ask("POST", "/hub/api/proxy").status_code == 200
    assert apart.ask("DELETE", "/hub/api/users/ada/server").status_code in (202, 204)
    eventually(lambda: not apart.server() or apart.server()["stopped"], SECONDS, what="the session ended")
    body = {"factory": FACTORY, "size": "one", "hours": 1}
    assert apart.ask("POST", "/hub/api/users/ada/server", json=body).status_code in (201, 202)
    eventually(lambda: apart.server().get("ready"), SECONDS, what="another session runs")
    assert all(process.poll() is None for process in apart.processes)


def notebook_at(apart: Apart) -> Callable[[], int]:
    url = f"http://{apart.hosts.address['proxy']}:{PUBLIC}/user/ada/api"
    return lambda: httpx.get(url, timeout=60, trust_env=False).status_code
