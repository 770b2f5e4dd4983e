"""A scripted link for notebooks: an HTTP server on a Unix socket that sends what a test wants."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import TypeAdapter

from factorycommon.models import (
    Accelerator,
    Bounds,
    Environment,
    FactoryView,
    Folder,
    Health,
    IdleLimits,
    NodeSize,
    Offer,
    PartitionLoad,
    Price,
    SessionBounds,
    SiteInfo,
    SizeView,
)

SINCE = datetime(2026, 3, 10, 12, tzinfo=UTC)
PREFIX = "/services/factories/api"


def factory(name: str, state: Any = "ok", fits: int = 2, **more: Any) -> FactoryView:
    """Return a factory with sizes ``cpu`` and ``gpu-1``; the environment ``torch`` is for ``gpu-1`` only.

    ``state``: the state of the factory's health; ``fits``: ``fits_now`` of each size, and the number of free GPUs;
    ``more``: other values of the factory's fields.
    """

    def size(size_id: str, gpus: int, hours: float) -> SizeView:
        fitting = ("plain", "torch") if gpus else ("plain",)
        return SizeView(
            size=NodeSize(id=size_id, gpus=gpus, cores=8, memory_gb=60, partition="p", max_hours=hours),
            gpu_label=f"{gpus} x A100" if gpus else "no GPU",
            fits_now=fits,
            offer=Offer(
                environments=fitting, environment="plain", hours=Bounds(least=min(0.25, hours), most=hours, preset=1)
            ),
            price=Price(gpu_hours=gpus, counted=gpus, charged_for="gpus" if gpus else "cores", number=gpus or 8),
            billed_gpus=gpus,
        )

    made = FactoryView(
        id=name,
        name=f"AI Factory {name}",
        site=SiteInfo(machine=name.upper(), host="h", city="Kajaani", country="FI"),
        scheduler="slurm",
        accelerator=Accelerator(vendor="NVIDIA", model="A100", memory_gb=64, per_node=4),
        health=Health(state=state, since=SINCE, answered_at=SINCE),
        partitions=(PartitionLoad(name="p", gpus_total=8, gpus_free=fits, cores_total=8, cores_free=8, pending=1),),
        sizes=(size("cpu", 0, 4.0), size("gpu-1", 1, 24.0)),
        environments=(
            Environment(id="plain", title="Plain", kind="venv", python="/e"),
            Environment(id="torch", title="PyTorch", kind="venv", python="/e", sizes=("gpu-1",)),
        ),
        default_environment="plain",
        default_size="gpu-1",
        folder=Folder(),
        outbound="none",
        idle=IdleLimits(),
        bounds=SessionBounds(
            idle_minutes=Bounds(least=1, most=480, preset=60),
            unopened_minutes=Bounds(least=1, most=120, preset=30),
            give_up_hours=Bounds(least=0.05, most=720),
        ),
    )
    return made.model_copy(update=more)


class ScriptedLink:
    """The scripted link. ``tell`` sends another catalogue to all readers; while ``problem`` is set, it is the answer to
    all requests."""

    def __init__(self, socket: Path) -> None:
        self.problem: tuple[int, dict[str, Any]] | None = None
        self.asked: list[dict[str, list[str]]] = []  # the queries of requested estimates
        self.followers = 0
        self._factories = "[]"  # as JSON
        self._changed = threading.Condition()
        self._round = 0
        self._stopped = False
        self.server = socketserver.ThreadingUnixStreamServer(str(socket), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def tell(self, factories: Sequence[FactoryView]) -> None:
        self.tell_json(TypeAdapter(Sequence[FactoryView]).dump_json(factories).decode())

    def tell_json(self, text: str) -> None:
        with self._changed:
            self._factories = text
            self._round += 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    def follow(self, write: Any) -> None:
        told = 0
        with self._changed:
            self.followers += 1
        try:
            while True:
                with self._changed:
                    while self._round == told and not self._stopped:
                        # Check whether the client is still connected, as the link's heartbeats do.
                        if not self._changed.wait(0.05):
                            write(b": still here\n\n")
                    if self._stopped:
                        return
                    told, text = self._round, self._factories
                write(f"event: factories\ndata: {text}\n\n".encode())
        except OSError:
            return
        finally:
            with self._changed:
                self.followers -= 1


def _handler(link: ScriptedLink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            good = self.headers["Authorization"] == "token secret" and url.path.startswith(PREFIX)
            if link.problem or not good:
                code, body = link.problem or (403, {"kind": "forbidden", "message": "No."})
                self._answer(code, "application/json")
                self.wfile.write(json.dumps(body).encode())
            elif url.path == f"{PREFIX}/factories/events":
                self._answer(200, "text/event-stream")
                link.follow(self._write)
            elif url.path.endswith("/estimate"):
                link.asked.append(parse_qs(url.query))
                self._answer(200, "application/json")
                body = {"start": "2026-03-10T14:00:00Z", "basis": "test-only", "asked_at": "2026-03-10T12:00:00Z"}
                self.wfile.write(json.dumps(body).encode())

        def _answer(self, code: int, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.end_headers()

        def _write(self, data: bytes) -> None:
            self.wfile.write(data)
            self.wfile.flush()

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: Any) -> None: ...

    return Handler
