"""Serves an app on a real socket in the test's event loop, so that clients see streams and their ends as in reality."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import uvicorn
from fastapi import FastAPI


def mocked(make_app: Callable[..., FastAPI], **given: Any) -> FastAPI:
    """Return an app with mocks for its parts, except those in ``given``; its OpenAPI description needs no parts."""
    return make_app(**{name: Mock() for name in inspect.signature(make_app).parameters} | given)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: Any, path: Path | None = None) -> AsyncIterator[str]:
    """Serve on a Unix socket, or on a free port; yield the base URL."""
    if path is None:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        url = "http://link"
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = _Server(config)
    task = asyncio.create_task(server.serve([sock]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield url
    finally:
        server.should_exit = True
        await task
