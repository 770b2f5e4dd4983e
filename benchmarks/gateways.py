"""Starts the two compared gateways, this one and a JupyterHub with batchspawner, each with a proxy on free ports."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks import measure, programs
from benchmarks.bed import ROOT, Bed, as_user
from benchmarks.programs import UP_SECONDS, Ports, Run, running


class Gateway:
    """A running hub behind its proxy.

    ``counted``: the process ids whose CPU time is measured (hub, and link and workshops service); ``pids``: all of the
    gateway's process ids.
    """

    def __init__(
        self, name: str, bed: Bed, client: httpx.AsyncClient, hub_api: str, options: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.bed = bed
        self.client = client
        self.hub_api = hub_api  # address of the hub's own listener, without the proxy
        self.counted: list[int] = []
        self.pids: tuple[int, ...] = ()
        self.link_socket: Path | None = None
        self.workshops_socket: Path | None = None
        self._options = options

    async def make_people(self) -> None:
        """Create a hub user for each site account, with the same name."""
        answer = await self.client.post("/hub/api/users", json={"usernames": list(self.bed.people)})
        answer.raise_for_status()

    async def token(self, person: str) -> str:
        """Make and return a new hub token of that person."""
        answer = await self.client.post(f"/hub/api/users/{person}/tokens", json={"note": "bench"})
        answer.raise_for_status()
        return str(answer.json()["token"])

    async def start_server(self, person: str, server: str) -> None:
        """Request the start of a server by a POST; return when the hub has answered.

        The server may not be ready then. Raises RuntimeError with the hub's message if the start is refused.
        """
        answer = await self.client.post(f"/hub/api/users/{person}/servers/{server}", json=dict(self._options))
        if answer.is_error:
            raise RuntimeError(f"{self.name}: {answer.status_code}: {answer.text}")

    async def stop_server(self, person: str, server: str) -> None:
        """Stop a server by a DELETE, and wait until the hub no longer has it. Raises TimeoutError after 60 s."""
        url = f"/hub/api/users/{person}/servers/{server}"

        async def gone() -> bool:
            answer = await self.client.request("DELETE", url, json={"remove": True})
            return answer.status_code in (204, 404)

        await measure.until(gone, 60, f"{self.name} lets go of {server}", every=0.3)

    async def answers(self, person: str, server: str) -> bool:
        """Return True if the notebook answers through the proxy."""
        return (await self.client.get(f"/user/{person}/{server}/api")).status_code == 200

    async def story(self, person: str, server: str) -> list[str]:
        """Return the link's log of a session, with seconds since its first line; empty for batchspawner."""
        if self.link_socket is None:
            return []
        transport = httpx.AsyncHTTPTransport(uds=str(self.link_socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://link") as client:
            answer = await client.get("/sessions", params={"user": person, "server": server, "live": "true"})
        log = answer.json()[0]["log"]
        moments = [datetime.fromisoformat(line["at"]) for line in log]
        return [
            f"{(at - moments[0]).total_seconds():5.2f} s  {line['text']}" for at, line in zip(moments, log, strict=True)
        ]

    async def ready(self) -> int:
        """Return the number of servers that the hub reports as ready."""
        answer = await self.client.get("/hub/api/users", params={"state": "ready", "limit": 200})
        answer.raise_for_status()
        return sum(server["ready"] for user in answer.json() for server in user["servers"].values())

    async def info(self) -> None:
        """Send ``GET /hub/api/info`` once."""
        (await self.client.get("/hub/api/info")).raise_for_status()


@asynccontextmanager
async def ours(bed: Bed, seats: int = 0, others: Sequence[Bed] = (), **access: object) -> AsyncIterator[Gateway]:
    """Start this gateway with proxy, link and hub, as an operator would.

    ``seats``: if not 0, start the workshops service, too; this is the number of seats that its workshops may have.
    ``others``: clusters of more factories. ``access``: fields that replace those of the first cluster's own access
    settings.
    """
    folder = _folder(bed, "ours")
    ports = Ports()
    secret_files = {name: _secret(folder / name) for name in ("proxy-token", "service-token", "admin-token")}
    extra = folder / "extra.py"
    extra.write_text("c.JupyterHub.authenticator_class = 'null'\nc.Authenticator.allow_all = True\n")
    hub = {
        "public_url": f"http://127.0.0.1:{ports.public}",
        "hub_url": f"http://127.0.0.1:{ports.hub}",
        "proxy_api_url": f"http://127.0.0.1:{ports.proxy_api}",
        "proxy_token_file": "proxy-token",
        "link_socket": "link.sock",
        "link_url": f"http://127.0.0.1:{ports.link}",
        "service_token_file": "service-token",
        "db_file": "hub.sqlite",
        "cookie_secret_file": "cookie-secret",
        "admin_token_file": "admin-token",
        "named_servers": 0,
        "extra_config": "extra.py",
    }
    if seats:
        hub["workshops"] = _configure_workshops(bed, folder, hub, seats)
    (folder / "hub.yaml").write_text(yaml.safe_dump(hub))
    _configure_link((bed, *others), folder, ports, str(hub["hub_url"]), "bench", **access)
    options = {"factory": bed.factory.id, "size": bed.size.id, "environment": "bench", "hours": 1}
    env = _python_env()
    python = str(bed.hub_python)
    async with running(folder) as run:
        await _proxy(bed, run, ports, secret_files["proxy-token"])
        link_pid = await _link(bed, run)
        hub_env = {**env, "FACTORYGATE_HUB_CONFIG": str(folder / "hub.yaml")}
        config = str(ROOT / "hub_config" / "jupyterhub_config.py")
        hub_pid = await run("hub", (python, "-m", "jupyterhub", "-f", config), hub_env)
        pids = [hub_pid, link_pid]
        if seats:
            argv = (python, "-m", "workshops", "--config", str(folder / "workshops.yaml"))
            pids.append(await run("workshops", argv, env))
        async with _client(ports, secret_files["admin-token"]) as client:
            await _answers(run, client, "/services/factories/health")
            gateway = Gateway("ours", bed, client, f"http://127.0.0.1:{ports.hub}", options)
            gateway.counted, gateway.pids = pids, run.pids
            gateway.link_socket = folder / "link.sock"
            gateway.workshops_socket = folder / "workshops.sock" if seats else None
            await _answers(run, client, "/hub/api/info")
            await gateway.make_people()
            yield gateway


@dataclass(frozen=True)
class Link:
    """A link without hub or proxy."""

    pid: int
    socket: Path


@asynccontextmanager
async def link_alone(bed: Bed, hub_url: str, name: str = "bench", **access: object) -> AsyncIterator[Link]:
    """Start a link, and yield it when it answers; stop it after the block.

    ``hub_url``: the address of a stand-in for the hub; ``name``: the hub's name in job names; ``access``: fields that
    replace those of the cluster's own access settings.
    """
    folder = _folder(bed, "link")
    ports = Ports()
    _secret(folder / "service-token")
    _configure_link((bed,), folder, ports, hub_url, name, **access)
    async with running(folder) as run:
        pid = await _link(bed, run)
        socket_path = folder / "link.sock"
        async with httpx.AsyncClient(
            base_url="http://link", transport=httpx.AsyncHTTPTransport(uds=str(socket_path))
        ) as client:
            await _answers(run, client, "/health")
        yield Link(pid, socket_path)


def _configure_link(
    beds: Sequence[Bed], folder: Path, ports: Ports, hub_url: str, name: str, **changed: object
) -> None:
    accesses = {bed.factory.id: _access(bed) for bed in beds}
    accesses[beds[0].factory.id] |= changed
    link = {
        "catalogue": str(beds[0].catalogue),
        "state_dir": "link",
        "socket": "link.sock",
        "listen_port": ports.link,
        "session_ports": [12000, 13999],  # not the ports of a demo that may run at the same time
        "hub": {"url": hub_url, "token_file": "service-token", "name": name},
        "limits": {"pending_per_person": 10000, "sessions_per_person": 10000},
        "factories": accesses,
    }
    if (folder / "workshops.yaml").exists():
        files = {"table": "workshops-projects.json", "pools": "pools.yaml", "socket": "link-workshops.sock"}
        link["workshops"] = files
    (folder / "link.yaml").write_text(yaml.safe_dump(link))
    (folder / "link").mkdir(mode=0o700)


def _access(bed: Bed) -> dict[str, object]:
    environment = {"id": "bench", "title": "Bench", "kind": "venv", "python": str(bed.notebook_python)}
    accounts = {person: person for person in bed.people}
    return {**bed.cluster.access_fields(), "accounts": accounts, "environments": [environment]}


async def _link(bed: Bed, run: Run) -> int:
    argv = (str(bed.hub_python), "-m", "factorylink", "--config", str(run.folder / "link.yaml"))
    return await run("link", argv, _python_env())


def _configure_workshops(bed: Bed, folder: Path, hub: Mapping[str, Any], seats: int) -> dict[str, Any]:
    """Write the configuration of the workshops service; return the service's section of the hub's YAML."""
    port = programs.free_port()
    _secret(folder / "workshops-token")
    pool = {"id": "pool", "factory": bed.factory.id, "sizes": [bed.size.id], "environments": ["bench"], "seats": seats}
    (folder / "pools.yaml").write_text(yaml.safe_dump({"pools": [pool]}))
    service = {
        "state_dir": "workshops",
        "socket": "workshops.sock",
        "listen_port": port,
        "pools": "pools.yaml",
        "table": "workshops-projects.json",
        "hub": {"url": hub["hub_url"], "public_url": hub["public_url"], "token_file": "workshops-token"},
        "link": {"socket": "link-workshops.sock"},
        "limits": {"warm_minutes": 0},  # seats begin when the benchmark says so
    }
    (folder / "workshops.yaml").write_text(yaml.safe_dump(service))
    url = f"http://127.0.0.1:{port}"
    return {"socket": "workshops.sock", "url": url, "token_file": "workshops-token", "guests": False}


@asynccontextmanager
async def peer(bed: Bed, more: Sequence[str] = ()) -> AsyncIterator[Gateway]:
    """Start JupyterHub with batchspawner and its default settings; comments in this function explain each change.

    ``more``: lines that are added to the end of the configuration.
    """
    folder = _folder(bed, "peer")
    ports = Ports()
    tokens = {name: _secret(folder / name) for name in ("proxy-token", "admin-token")}
    size = bed.size
    # batchspawner must be importable in the job; the notebook's environment stays the same for both sides.
    beside = folder / "beside"
    beside.mkdir(mode=0o755, exist_ok=True)
    site_packages = next((bed.hub_python.parent.parent / "lib").glob("python3*/site-packages"))
    (beside / "batchspawner").symlink_to(site_packages / "batchspawner")
    for step in (bed.folder, folder):
        step.chmod(0o711)  # the site accounts can enter the folder, but not list it
    settings = {
        "JupyterHub.bind_url": f"http://127.0.0.1:{ports.public}",
        "JupyterHub.hub_bind_url": f"http://127.0.0.1:{ports.hub}",
        "JupyterHub.db_url": f"sqlite:///{folder / 'hub.sqlite'}",
        "JupyterHub.cookie_secret_file": str(folder / "cookie-secret"),
        "JupyterHub.authenticator_class": "null",
        "JupyterHub.allow_named_servers": True,
        "JupyterHub.cleanup_servers": False,
        "ConfigurableHTTPProxy.should_start": False,
        "ConfigurableHTTPProxy.api_url": f"http://127.0.0.1:{ports.proxy_api}",
        "JupyterHub.spawner_class": "batchspawner.MultiSlurmSpawner",
        # The nodes' names do not resolve; batchspawner has this setting for several slurmd on one host.
        "MultiSlurmSpawner.daemon_resolver": dict.fromkeys(bed.cluster.nodes, "127.0.0.1"),
        # Replaces sudo, which a fresh Debian does not have; it costs less.
        "BatchSpawnerBase.exec_prefix": " ".join((*bed.cluster.prefix, *as_user("{username}"))),
        "BatchSpawnerBase.batchspawner_singleuser_cmd": (
            f"env PYTHONPATH={beside} {bed.notebook_python} -m batchspawner.singleuser"
        ),
        "Spawner.cmd": [str(bed.notebook_python.parent / "jupyterhub-singleuser")],
        "BatchSpawnerBase.req_partition": size.partition,
        "BatchSpawnerBase.req_runtime": "01:00:00",
        "BatchSpawnerBase.req_nprocs": str(size.cores),
        "BatchSpawnerBase.req_memory": f"{size.memory_gb:.0f}G",
        # All requested servers may start at once, as with this gateway; by default batchspawner refuses more than 100.
        "JupyterHub.concurrent_spawn_limit": 0,
    }  # fmt: skip
    if size.gpus:
        settings["SlurmSpawner.req_gres"] = f"gpu:{size.gpus}"
    lines = [f"c.{name} = {value!r}" for name, value in settings.items()]
    lines += [
        # No limit: by default the jobs would be given up after 300 s in the queue.
        "c.Spawner.start_timeout = 86400",
        f"c.ConfigurableHTTPProxy.auth_token = open({str(folder / 'proxy-token')!r}).read()",
        "c.Spawner.env_keep = ['PATH', 'LANG', 'SLURM_CONF', 'LD_LIBRARY_PATH']",
        f"c.JupyterHub.services = [{{'name': 'admin', 'api_token': open({str(folder / 'admin-token')!r}).read()}}]",
        "c.JupyterHub.load_roles = [{'name': 'bench', 'services': ['admin'],"
        " 'scopes': ['admin:users', 'admin:groups', 'servers', 'access:servers', 'tokens', 'proxy', 'read:hub']}]",
        *more,
    ]
    (folder / "jupyterhub_config.py").write_text("\n".join(lines) + "\n")
    env = {**_plain_env(), **bed.cluster.env}
    try:
        async with running(folder) as run:
            await _proxy(bed, run, ports, tokens["proxy-token"])
            argv = (str(bed.hub_python), "-m", "jupyterhub", "-f", str(folder / "jupyterhub_config.py"))
            hub_pid = await run("hub", argv, env)
            async with _client(ports, tokens["admin-token"]) as client:
                gateway = Gateway("batchspawner", bed, client, f"http://127.0.0.1:{ports.hub}", {})
                gateway.counted, gateway.pids = [hub_pid], run.pids
                await _answers(run, client, "/hub/api/info")
                await gateway.make_people()
                yield gateway
    finally:
        await asyncio.to_thread(_remove_logs, bed.people)


def _remove_logs(people: Sequence[str]) -> None:
    """Remove the logs that batchspawner's script writes into people's homes, one for each job.

    JupyterLab lists the files of a home. With hundreds of logs, later measurements of a click would take longer.
    """
    for person in people:
        for file in Path(f"~{person}").expanduser().glob("jupyterhub_slurmspawner_*.log"):
            file.unlink(missing_ok=True)


def _python_env() -> dict[str, str]:
    return {**_plain_env(), "PYTHONPATH": f"{ROOT / 'spawners'}:{ROOT / 'extensions'}"}


def _plain_env() -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": os.environ["HOME"], "LANG": "C.UTF-8"}


def _folder(bed: Bed, name: str) -> Path:
    folder = bed.folder / f"{name}-{len(list(bed.folder.glob(f'{name}-*'))) + 1}"
    folder.mkdir(mode=0o700)
    return folder


def _secret(path: Path) -> str:
    token = secrets.token_hex(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(token)
    return token


def _client(ports: Ports, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{ports.public}",
        headers={"Authorization": f"token {token}"},
        timeout=60,
        limits=httpx.Limits(max_connections=None, keepalive_expiry=2),  # the proxy closes idle connections after 5 s
    )


async def _proxy(bed: Bed, run: Run, ports: Ports, token: str) -> None:
    argv = (
        str(bed.node), str(bed.proxy), "--ip", "127.0.0.1", "--port", str(ports.public), "--api-ip", "127.0.0.1",
        "--api-port", str(ports.proxy_api), "--error-target", f"http://127.0.0.1:{ports.hub}/hub/error",
    )  # fmt: skip
    await run("proxy", argv, {**_plain_env(), "CONFIGPROXY_AUTH_TOKEN": token})


async def _answers(run: Run, client: httpx.AsyncClient, path: str) -> None:
    async def answers() -> bool:
        run.check()
        try:
            return (await client.get(path)).status_code == 200
        except httpx.TransportError:
            return False

    await measure.until(answers, UP_SECONDS, f"{path} answers; the logs are in {run.folder}", every=0.2)
