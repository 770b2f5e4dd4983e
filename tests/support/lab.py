"""A notebook server with the session's extensions but without a door.

The test writes the file with the session's clock, which the door would write, and provides a fake gateway.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response

from factorygate.session.notebook import write_config
from tests.support import told
from tests.support.door import until
from tests.support.scripted_link import factory
from tests.unit.serving import serving

SESSION = "ab" * 16
OTHER = "cd" * 16
TOKEN = "of-this-test"
NVIDIA = "NVIDIA A100-SXM4-64GB, 37, 1024, 65536"
START_SECONDS = 180.0  # a busy machine may need long for JupyterLab and its extensions


def in_minutes(minutes: float) -> str:
    """Return the time ``minutes`` from now, in RFC 3339."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


CHOICE = told.choice(factory="it4lia", size="gpu-1")


def session(**more: Any) -> dict[str, Any]:
    """Return a session as the link sends it. ``more``: other values of its fields."""
    return told.session(id=SESSION, choice=CHOICE, extend_hours=3.0).model_dump(mode="json") | more


def cluster(**more: Any) -> dict[str, Any]:
    """Return a cluster as the link sends it. ``more``: other values of its fields."""
    return told.cluster(choice=CHOICE).model_dump(mode="json") | more


def leonardo() -> dict[str, Any]:
    """Return the factory of these sessions, as the link sends it."""
    view = factory("it4lia")
    sizes = tuple(size.model_copy(update={"gpu_label": "1 x A100 64 GB"}) for size in view.sizes)
    site = view.site.model_copy(update={"machine": "Leonardo"})
    return view.model_copy(update={"site": site, "sizes": sizes}).model_dump(mode="json")


@dataclass
class FakeGateway:
    """The link's user API, as far as a notebook server uses it.

    ``extended``: the hours of each accepted extension; ``refusal``: why extensions are refused, "" if they are
    accepted.
    """

    sessions: list[dict[str, Any]] = field(default_factory=lambda: [session()])
    clusters: list[dict[str, Any]] = field(default_factory=list)
    extended: list[float] = field(default_factory=list)
    refusal: str = ""
    helped: dict[str, Any] | None = None  # what the person has asked for in a workshop; None: the link knows no help
    asked: list[tuple[str, Any]] = field(default_factory=list)  # what was asked for help, with its body

    def app(self) -> FastAPI:
        """Return the ASGI app."""
        made, base = FastAPI(), "/services/factories/api"

        @made.get(f"{base}/factories")
        async def factories() -> list[dict[str, Any]]:
            return [leonardo()]

        @made.get(f"{base}/sessions")
        async def sessions() -> list[dict[str, Any]]:
            return self.sessions

        @made.get(f"{base}/clusters")
        async def clusters() -> list[dict[str, Any]]:
            return self.clusters

        @made.post(f"{base}/sessions/{SESSION}/extend")
        async def extend(request: Request, response: Response) -> dict[str, Any]:
            if self.refusal:
                response.status_code = 409
                return {"kind": "refused", "message": self.refusal}
            self.extended.append((await request.json())["hours"])
            return self.sessions[0]

        @made.api_route(f"{base}/help{{what:path}}", methods=["GET", "PUT", "POST", "DELETE"])
        async def help_(request: Request, response: Response, what: str) -> dict[str, Any]:
            if self.helped is None:
                response.status_code = 404
                return {"kind": "gone", "message": "This address is not known here."}
            if request.method != "GET":
                self.asked.append((f"{request.method} {what}", json.loads(await request.body() or b"null")))
            return self.helped

        return made


@dataclass
class LabServer:
    """A running notebook server. ``tell`` writes the file that the session's door would write.

    ``root``: the folder of the notebook files; ``clock``: that file of the door; ``module``: jupyterlab or notebook.
    """

    url: str
    root: Path
    clock: Path
    gateway: FakeGateway
    module: str

    def page(self, name: str) -> str:
        """Return the URL at which JupyterLab or Notebook opens the text document ``name``."""
        way = f"lab/tree/{name}?reset&" if self.module == "jupyterlab" else f"edit/{name}?"
        return f"{self.url}/{way}token={TOKEN}"

    def tell(self, **values: Any) -> None:
        """Write the file with the session's clock, as the door does. ``values``: replace its usual values."""
        content = {"session": SESSION, "ends": in_minutes(118), "ends_idle": None, "notice": None, "messages": []}
        new = self.clock.with_suffix(".new")
        new.write_text(json.dumps(content | values))
        new.replace(self.clock)


def _url(run: Path) -> str | None:
    """Return the URL of the server from the file in that folder; None as long as the file or its content is missing."""
    for file in run.glob("jpserver-*.json"):
        with suppress(ValueError):
            return str(json.loads(file.read_text())["url"]).rstrip("/")
    return None


def _listening(url: str | None) -> str | None:
    """Return ``url`` if a server listens there, otherwise None.

    The server writes the file with its URL before it listens.
    """
    if url is None:
        return None
    at = urlsplit(url)
    with suppress(OSError), socket.create_connection((str(at.hostname), at.port or 80), timeout=5):
        return url
    return None


def _save_nothing_alone(settings: Path) -> None:
    """Turn off JupyterLab's automatic saving, which may come before the test's own saving on a busy machine."""
    changed = json.loads(settings.read_text())
    changed["@jupyterlab/docmanager-extension:plugin"]["autosave"] = False
    settings.write_text(json.dumps(changed))


@asynccontextmanager
async def lab_server(folder: Path, module: str) -> AsyncIterator[LabServer]:
    """Start a notebook server with a fake gateway; yield it, and kill it after the block.

    ``module``: jupyterlab or notebook; ``folder``: the folder of the notebook files and of all other files that the
    server writes.
    """
    root, run, bin_ = folder / "files", folder / "run", folder / "bin"
    for one in (root, run, bin_, folder / "config"):
        one.mkdir(parents=True)
    write_config(folder)
    _save_nothing_alone(folder / "config" / "labconfig" / "default_setting_overrides.json")
    program = bin_ / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{NVIDIA}'\n")
    program.chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "SLURM_", "CUDA_", "FACTORYGATE_"))}
    gateway = FakeGateway()
    hub_socket = folder / "hub.sock"
    env = clean | {
        "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "JUPYTER_CONFIG_PATH": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(run),
        "JUPYTER_TOKEN": TOKEN,
        "JUPYTERHUB_API_TOKEN": "ours",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_USER": "ada",
        "FACTORYGATE_HUB_SOCKET": str(hub_socket),
        "FACTORYGATE_CLOCK": str(folder / "clock.json"),
    }
    argv = [
        *("-m", module, "--no-browser", "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1", "--allow-root"),
        f"--ServerApp.root_dir={root}",
    ]
    async with serving(gateway.app(), hub_socket):
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *argv, env=env, cwd=root, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            url = await until(lambda: _listening(_url(run)) or process.returncode is not None, START_SECONDS)
            assert url is not True, (folder / "log").read_text()
            made = LabServer(url, root, folder / "clock.json", gateway, module)
            made.tell()
            yield made
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
