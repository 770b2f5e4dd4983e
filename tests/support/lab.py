"""A notebook server with the session's extensions and no door: the clock's file and the gateway are the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response

from factorygate.session.notebook import write_config
from tests.support.door import until
from tests.unit.serving import serving

SESSION = "ab" * 16
OTHER = "cd" * 16
TOKEN = "of-this-test"
NVIDIA = "NVIDIA A100-SXM4-64GB, 37, 1024, 65536"


def in_minutes(minutes: float) -> str:
    """RFC 3339."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def session(**more: Any) -> dict[str, Any]:
    """As the link tells it."""
    choice = {"factory": "it4lia", "size": "gpu-1"}
    return {"id": SESSION, "server": "", "state": "running", "choice": choice, "extend_hours": 3.0} | more


@dataclass
class FakeGateway:
    """The link's user API as far as a notebook server asks it."""

    sessions: list[dict[str, Any]] = field(default_factory=lambda: [session()])
    clusters: list[dict[str, Any]] = field(default_factory=list)
    extended: list[float] = field(default_factory=list)
    refusal: str = ""

    def app(self) -> FastAPI:
        """To be served."""
        made, base = FastAPI(), "/services/factories/api"

        @made.get(f"{base}/factories")
        async def factories() -> list[dict[str, Any]]:
            sizes = [{"size": {"id": "gpu-1"}, "gpu_label": "1 x A100 64 GB"}]
            return [{"id": "it4lia", "site": {"machine": "Leonardo"}, "sizes": sizes}]

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

        return made


@dataclass
class LabServer:
    """A running server; what its session's door would tell is what ``tell`` wrote last."""

    url: str
    root: Path
    clock: Path
    gateway: FakeGateway
    module: str

    def page(self, name: str) -> str:
        """Address at which the text document of that name is open."""
        way = f"lab/tree/{name}?reset&" if self.module == "jupyterlab" else f"edit/{name}?"
        return f"{self.url}/{way}token={TOKEN}"

    def tell(self, **told: Any) -> None:
        """As the door does."""
        content = {"session": SESSION, "ends": in_minutes(118), "ends_idle": None, "notice": None, "messages": []}
        new = self.clock.with_suffix(".new")
        new.write_text(json.dumps(content | told))
        new.replace(self.clock)


def told_url(run: Path) -> str:
    """Where the server says that it is; empty while its file is not there, or not yet written to its end."""
    for file in run.glob("jpserver-*.json"):
        with contextlib.suppress(json.JSONDecodeError):
            return str(json.loads(file.read_text())["url"]).rstrip("/")
    return ""


@asynccontextmanager
async def lab_server(folder: Path, module: str) -> AsyncIterator[LabServer]:
    """``module``: jupyterlab or notebook. In ``folder`` are its files and all that it writes elsewhere."""
    root, run, bin_ = folder / "files", folder / "run", folder / "bin"
    for one in (root, run, bin_, folder / "config"):
        one.mkdir(parents=True)
    write_config(folder)
    program = bin_ / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{NVIDIA}'\n")
    program.chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "SLURM_", "CUDA_", "FACTORYGATE_"))}
    gateway = FakeGateway()
    socket = folder / "hub.sock"
    env = clean | {
        "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "JUPYTER_CONFIG_PATH": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(run),
        "JUPYTER_TOKEN": TOKEN,
        "JUPYTERHUB_API_TOKEN": "ours",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_USER": "ada",
        "FACTORYGATE_HUB_SOCKET": str(socket),
        "FACTORYGATE_CLOCK": str(folder / "clock.json"),
    }
    argv = [
        *("-m", module, "--no-browser", "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1", "--allow-root"),
        f"--ServerApp.root_dir={root}",
    ]
    async with serving(gateway.app(), socket):
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *argv, env=env, cwd=root, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            url = await until(lambda: told_url(run) or process.returncode is not None)
            assert url is not True, (folder / "log").read_text()
            made = LabServer(url, root, folder / "clock.json", gateway, module)
            made.tell()
            yield made
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
