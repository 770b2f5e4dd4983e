"""The link as a notebook asks it, scripted: an HTTP server on a Unix socket that tells what a test wants it to tell."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PREFIX = "/services/factories/api"


def factory(name: str, state: str = "ok", fits: int = 2, **more: Any) -> dict[str, Any]:
    """A factory with sizes ``cpu`` and ``gpu-1``; the environment ``torch`` is for ``gpu-1`` only."""

    def size(size_id: str, gpus: int, hours: float) -> dict[str, Any]:
        told = {"id": size_id, "gpus": gpus, "cores": 8, "memory_gb": 60, "partition": "p", "max_hours": hours,
                "default_hours": 1.0, "billed_as": "1 GPU-hour an hour", "whole_node": False, "note": None}  # fmt: skip
        return {"size": told, "gpu_label": f"{gpus} x A100" if gpus else "no GPU", "fits_now": fits, "estimate": None}

    return {
        "id": name, "name": f"AI Factory {name}", "site": {"machine": name.upper(), "city": "Kajaani", "country": "FI"},
        "accelerator": {"vendor": "NVIDIA", "model": "A100", "memory_gb": 64, "unit": "GPU", "per_node": 4},
        "health": {"state": state, "words": None, "answered_at": "2026-03-10T12:00:00Z"},
        "partitions": [{"name": "p", "gpus_total": 8, "gpus_free": fits, "pending": 1}],
        "sizes": [size("cpu", 0, 4.0), size("gpu-1", 1, 24.0)],
        "environments": [{"id": "plain", "title": "Plain", "sizes": [], "frameworks": []},
                         {"id": "torch", "title": "PyTorch", "sizes": ["gpu-1"], "frameworks": ["PyTorch"]}],
        "default_environment": "plain", "default_size": "gpu-1",
        "idle": {"idle_minutes": 60, "unopened_minutes": 30, "max_idle_minutes": 480, "max_unopened_minutes": 120},
        **more,
    }  # fmt: skip


class ScriptedLink:
    """``tell`` sends all who follow the catalogue another one; ``problem``, while set, is answered instead."""

    def __init__(self, socket: Path) -> None:
        self.problem: tuple[int, dict[str, Any]] | None = None
        self.asked: list[dict[str, list[str]]] = []  # estimates
        self.followers = 0
        self._factories: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._round = 0
        self._stopped = False
        self.server = socketserver.ThreadingUnixStreamServer(str(socket), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def tell(self, factories: list[dict[str, Any]]) -> None:
        with self._changed:
            self._factories = factories
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
                        # Looks whether the other side is still there, as the link's heartbeats do.
                        if not self._changed.wait(0.05):
                            write(b": still here\n\n")
                    if self._stopped:
                        return
                    told, text = self._round, json.dumps(self._factories)
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
