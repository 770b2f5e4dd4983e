"""Starts and stops a demo's clusters and programs, and describes the running demo in ``demo.json``."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from factorycommon.models import Factory
from factorylink.catalogue import loading
from testbed import clock, factories
from testbed.demo import login as demo_login
from testbed.demo import workshop as demo_workshop
from testbed.demo.folder import ADMIN, PEOPLE, DemoFolder
from testbed.demo.options import in_use
from testbed.errors import CannotRun
from testbed.factories import Running
from testbed.install import environments as install
from testbed.network.login_side import Isolation
from testbed.supervisor import Supervisor, write_private

USABLE_SECONDS = 120.0  # seconds from the start of the last program until the demo can be used
GOODBYE_SECONDS = 15.0  # seconds for sessions to end by themselves
DESCRIBED = ("slurm_conf", "pbs_conf", "env", "prefix")  # fields of a factory's cluster in demo.json
RETRY = 0.1  # seconds between two checks of a program that reports nothing
ROUTE_PAUSES = (*(RETRY,) * 20, 0.5, 1.0, 2.0, 5.0)  # increasing pauses for a proxy or hub that refuses for long
NOT_PASSED_ON = ("JUPYTERHUB_", "SLURM_", "PBS_", "CONFIGPROXY_", "FACTORYGATE_", "PYTHONPATH", "VIRTUAL_ENV")


class DemoError(Exception):
    """Raised if the demo could not be started; the message is for the person at the terminal."""


class Demo:
    """Starts and stops all parts of the demo.

    ``clusters``: the folder of the clusters; ``isolation``: how they are isolated; ``accounting``: whether accounts and
    QOS are enforced.
    """

    def __init__(
        self,
        folder: DemoFolder,
        clusters: Path,
        factories: Sequence[str],
        isolation: Isolation | None = None,
        gpu_nodes: int = 2,
        accounting: bool = False,
    ) -> None:
        self._folder = folder
        self._clusters_folder = clusters
        self._names = factories
        self._isolation = isolation
        self._gpu_nodes = gpu_nodes
        self._accounting = accounting
        self._clusters: dict[str, Running] = {}
        self._supervisor = Supervisor(folder.record, self._write_demo_json, self._restarted)
        self._started = False
        self._pids: dict[str, int] = {}
        self._workshop: dict[str, Any] = {}  # what demo.json says of the workshop

    @staticmethod
    async def until(work: Coroutine[Any, Any, None], ended: asyncio.Event) -> bool:
        """Run ``work``, and cancel it when ``ended`` is set; return whether it was completed.

        Raises the error of ``work``.
        """
        tasks = [asyncio.create_task(work), asyncio.create_task(ended.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        done = tasks[0].done()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        if done and isinstance(results[0], BaseException):
            raise results[0]
        return done

    async def start(self) -> None:
        """Start everything; return when the demo can be used. Raises DemoError, or an error of the testbed."""
        chosen = self._chosen()
        try:
            self._folder.prepare()
        except ValueError as error:
            raise CannotRun(str(error)) from error
        ports = self._folder.ports
        environ = environment_passed_on()
        clock.forget(self._folder.path)
        self._folder.write_hub_config()
        await self._supervisor.start()
        if taken := ports.taken(self._folder.login):
            raise DemoError(in_use(*taken))
        self._started = True
        if self._folder.login == "oidc":
            program = await asyncio.to_thread(self._folder.provider, environ)
            await self._supervisor.start(program)
        await self._supervisor.start(self._folder.proxy(environ), self._folder.hub(environ))
        print(f"Starting {_schedulers(chosen)} ...", flush=True)
        made = await asyncio.gather(*(asyncio.to_thread(self._up, factory) for factory in chosen.values()))
        self._clusters = {one.id: one for one in made}
        self._folder.write_link_config(self._clusters, chosen)
        self._folder.write_workshops_config(chosen)
        await self._supervisor.start(self._folder.link(environ), self._folder.workshops(environ))
        print("Starting proxy, hub, link and workshops ...", flush=True)
        await self._usable()
        if self._folder.has_workshop:
            self._workshop = await demo_workshop.ready(self._folder, list(chosen), retry)
            self._write_demo_json(self._pids)

    async def broken(self) -> None:
        """Wait for an error of the supervisor itself and raise it."""
        await self._supervisor.broken()

    async def stop(self) -> None:
        """Stop everything; return when no process is left."""
        if self._clusters:
            await self._end_sessions()
        await self._supervisor.stop()
        for file in (self._folder.path / "demo.json", self._folder.greeting):
            file.unlink(missing_ok=True)
        if self._started:
            names = factories.known(self._clusters_folder)
            await asyncio.gather(*(asyncio.to_thread(factories.load(self._clusters_folder, n).down) for n in names))

    def greet(self) -> str:
        """Return the text that names the demo's address and how to log in.

        The text is kept in a 0600 file, for the next start of this demo to print.
        """
        words = self._greeting()
        write_private(self._folder.greeting, words)
        return words

    def _greeting(self) -> str:
        logins = self._folder.logins()
        lines = ["", f"The gateway is at {self._folder.url}", ""]
        if self._folder.login == "oidc":
            lines += [f"  log in as {', '.join(demo_login.GROUPS)}: no password is asked for", ""]
            logins = {}
        lines += [f"  {name:6} {logins[name]}" + ("   (administrator)" if name == ADMIN else "") for name in logins]
        if self._workshop:
            workshop = self._workshop["workshop"]
            lines += ["", f"Workshop: {workshop['join_url']}, code {workshop['code']}, led by {self._folder.trainer}"]
        lines += ["", f"Factories: {', '.join(self._clusters)}. Logs: {self._folder.path / 'log'}"]
        if not all(one.root for one in self._clusters.values()):
            lines.append(
                "Without root there is one site account, your own: jobs of different people are not kept apart here."
            )
        return "\n".join([*lines, ""])

    # --- parts

    def _chosen(self) -> dict[str, Factory]:
        known = loading.load(install.CHECKOUT / "hub_config" / "factories")
        strange = [name for name in self._names if name not in known]
        if strange or not self._names:
            raise DemoError(f"--factories: {', '.join(strange) or 'empty'}; there are: {', '.join(known)}")
        return {name: known[name] for name in self._names}

    def _up(self, factory: Factory) -> Running:
        slurm = self._folder.programs / "slurm"
        return factories.up(
            factory,
            self._clusters_folder,
            slurm,
            gpu_nodes=self._gpu_nodes,
            isolation=self._isolation,
            accounting=self._accounting,
        )

    def _write_demo_json(self, pids: dict[str, int]) -> None:
        self._pids = pids
        if not {"proxy", "hub", "link"} <= set(pids):
            return
        logins = self._folder.logins() if self._folder.login == "passwords" else dict.fromkeys(PEOPLE, "")
        content = {
            "hub_url": self._folder.url,
            **({"login_provider": self._folder.issuer} if self._folder.login == "oidc" else {}),
            "users": [{"name": name, "password": logins[name]} for name in PEOPLE],
            "admin_token": self._folder.secret("admin"),
            "factories": {
                name: {key: value for key, value in one.describe().items() if key in DESCRIBED}
                for name, one in self._clusters.items()
            },
            "pids": {name: pids[name] for name in ("hub", "proxy", "link")},
            **self._workshop,
        }
        write_private(self._folder.path / "demo.json", json.dumps(content, indent=1))

    async def _restarted(self, name: str) -> None:
        """Ask the hub to restore the proxy's routes if the restarted program ``name`` is the proxy.

        Without this request, the hub may need up to 60 s to notice that routes are missing.
        """
        if name != "proxy":
            return
        token = {"Authorization": f"token {self._folder.secret('proxy')}"}
        admin = {"Authorization": f"token {self._folder.secret('admin')}"}
        async with httpx.AsyncClient(timeout=10) as http:
            await retry(lambda: _ok(http.get(f"{self._folder.proxy_api_url}/api/routes", headers=token)), ROUTE_PAUSES)
            hub = f"{self._folder.hub_url}{self._folder.base_url}hub/api/proxy"
            await retry(lambda: _ok(http.post(hub, headers=admin)), ROUTE_PAUSES)

    async def _end_sessions(self) -> None:
        """Stop the sessions, so that people find them ended at the next start, and not lost with their clusters.

        This takes at most ``GOODBYE_SECONDS``; a failure is only printed.
        """
        transport = httpx.AsyncHTTPTransport(uds=str(self._folder.link_socket))
        async with httpx.AsyncClient(base_url="http://link", transport=transport, timeout=5) as link:

            async def live() -> list[str]:
                answer = await link.get("/sessions", params={"live": "true"})
                return [session["id"] for session in answer.raise_for_status().json()]

            async def none_left() -> bool:
                return not await live()

            try:
                async with asyncio.timeout(GOODBYE_SECONDS):
                    for session in await live():
                        await link.delete(f"/sessions/{session}", params={"by": "operator"})
                    await retry(none_left)
            except (TimeoutError, httpx.HTTPError) as error:
                print(f"Not all sessions could be ended first ({error!r}); they end with their clusters.", flush=True)

    # --- readiness

    async def _usable(self) -> None:
        """Wait until proxy, hub, link and workshops service answer and every factory is available.

        Raises DemoError after ``USABLE_SECONDS``.
        """
        transport = httpx.AsyncHTTPTransport(uds=str(self._folder.link_socket))
        async with (
            httpx.AsyncClient(base_url=self._folder.url, timeout=5) as client,
            httpx.AsyncClient(base_url="http://link", transport=transport, timeout=5) as link,
        ):
            checks: dict[str, Callable[[], Awaitable[bool]]] = {
                "hub": lambda: _ok(client.get("/hub/health")),
                "link": lambda: _ok(client.get("/services/factories/health")),
                "factories": lambda: self._all_well(link),
                "workshops": lambda: _ok(client.get("/services/workshops/health")),
            }
            try:
                async with asyncio.timeout(USABLE_SECONDS):
                    await asyncio.gather(*(retry(check) for check in checks.values()))
            except TimeoutError:
                late = [name for name, check in checks.items() if not await check()]
                raise DemoError(self._why_late(late)) from None

    async def _all_well(self, link: httpx.AsyncClient) -> bool:
        try:
            answer = await link.get("/factories", params={"user": ADMIN})
        except httpx.TransportError:
            return False
        if answer.status_code != httpx.codes.OK:
            return False
        states = {view["id"]: view["health"]["state"] for view in answer.json()}
        return all(states.get(name) == "ok" for name in self._clusters)

    def _why_late(self, late: Sequence[str]) -> str:
        lines = [f"not usable within {USABLE_SECONDS:.0f} s: {', '.join(late) or 'all too slow'}"]
        for name in ("proxy", "hub", "link", "workshops"):
            log = self._folder.path / "log" / f"{name}.log"
            if log.exists():
                tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
                lines += [f"--- {log}", *tail]
        return "\n".join(lines)


def _schedulers(chosen: Mapping[str, Factory]) -> str:
    """Return the schedulers of the factories as text, such as ``Slurm for a, b, PBS for c``."""
    names: dict[str, list[str]] = {}
    for name, factory in chosen.items():
        names.setdefault(factory.scheduler, []).append(name)
    titles = {"slurm": "Slurm", "pbs": "PBS"}
    return ", ".join(f"{titles.get(scheduler, scheduler)} for {', '.join(ids)}" for scheduler, ids in names.items())


def environment_passed_on() -> dict[str, str]:
    """Return the environment variables of the demo's programs.

    They are those of this process, without those that would change what the programs do.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}


async def _ok(request: Awaitable[httpx.Response]) -> bool:
    try:
        return (await request).is_success
    except httpx.TransportError:
        return False


async def retry(check: Callable[[], Awaitable[bool]], pauses: Iterable[float] = (RETRY,)) -> None:
    """Call ``check`` until it returns true, to wait for a program that does not report its readiness.

    ``pauses``: seconds between two calls; the last value applies to all further calls.
    """
    waits, pause = iter(pauses), RETRY
    while True:
        since = time.monotonic()
        if await check():
            return
        pause = next(waits, pause)
        await asyncio.sleep(max(0.0, pause - (time.monotonic() - since)))
