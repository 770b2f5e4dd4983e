"""Carries bytes between a Dask client and a cluster's Dask scheduler at another factory than the client's.

The client is connected by a WebSocket, the scheduler by a channel through its door. Client and scheduler encrypt the
bytes with TLS, for which the link has no key. The bytes travel in pieces, so that no message of Dask's is too large for
any part of the path. The link reads from each side only as fast as the other side receives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable

import asyncssh
from fastapi import WebSocket, WebSocketDisconnect
from pydantic import TypeAdapter, ValidationError

from factorycommon.language import N_
from factorycommon.models import ClusterId
from factorylink.api.auth import Caller, Callers
from factorylink.api.http import answer
from factorylink.clusters.service import Clusters
from factorylink.problems import ProblemError, gone, limit
from factorylink.state.live_session import LiveSession

log = logging.getLogger("factorylink")

PIECE = 256 << 10  # size of a message in bytes
MOST = 32  # connections of one cluster at a time; a client uses a few
_ID: TypeAdapter[str] = TypeAdapter(ClusterId)


class ClusterWebSocket:
    """The WebSocket endpoint for Dask clients that are not at the factory of the Dask scheduler they connect to."""

    def __init__(self, clusters: Clusters, callers: Callers) -> None:
        self._clusters = clusters
        self._callers = callers
        self._open: Counter[str] = Counter()

    async def handle(self, websocket: WebSocket, cluster_id: str) -> None:
        """Serve one WebSocket connection until it is closed.

        Deny the connection if the caller may not open it, or if the cluster's scheduler cannot be reached.
        """
        try:
            caller = await self._callers.of(websocket.headers)
            self._check(caller, cluster_id)
        except ProblemError as error:
            await websocket.send_denial_response(answer(error))
            return
        self._open[cluster_id] += 1  # before the next await, so that concurrent connections are counted
        try:
            await self._carry(websocket, caller, cluster_id)
        finally:
            self._open[cluster_id] -= 1
            if not self._open[cluster_id]:
                del self._open[cluster_id]

    async def _carry(self, websocket: WebSocket, caller: Caller, cluster_id: str) -> None:
        try:
            reader, writer = await self._clusters.enter(cluster_id, caller.user)
        except ProblemError as error:
            await websocket.send_denial_response(answer(error))
            return
        try:
            await websocket.accept()
            over = () if caller.session is None else (_over(caller.session),)
            await _first(_outwards(websocket, writer), _inwards(reader, websocket), *over)
        except (asyncssh.Error, OSError, WebSocketDisconnect, RuntimeError) as error:
            log.info("A way to cluster %s was cut: %s", cluster_id, error)
        finally:
            writer.channel.abort()
            with contextlib.suppress(RuntimeError):  # the client itself closed the connection
                await websocket.close()

    def _check(self, caller: Caller, cluster_id: str) -> None:
        """Raise ProblemError if the caller may not use the cluster, or if the cluster has too many connections."""
        try:
            _ID.validate_python(cluster_id)
        except ValidationError as error:
            raise gone(N_("This cluster")) from error
        if self._open[cluster_id] >= MOST:
            raise limit(f"There are {MOST} connections to this cluster from elsewhere.", "Close some of its clients.")
        caller.has(self._clusters.own(cluster_id, caller.user).record)


async def _outwards(websocket: WebSocket, writer: asyncssh.SSHWriter[bytes]) -> None:
    async for piece in websocket.iter_bytes():
        writer.write(piece)
        await writer.drain()


async def _inwards(reader: asyncssh.SSHReader[bytes], websocket: WebSocket) -> None:
    while piece := await reader.read(PIECE):
        await websocket.send_bytes(piece)


async def _over(session: LiveSession) -> None:
    """Wait until the session's job has ended; then the session ends, and its token becomes invalid."""
    await session.job_over.wait()


async def _first(*directions: Awaitable[None]) -> None:
    """Run all ``directions`` until one ends, then cancel the others, because TLS needs both directions.

    Raises the error with which the first direction ended.
    """
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
