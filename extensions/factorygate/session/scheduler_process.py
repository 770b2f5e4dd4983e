"""Runs a cluster's Dask scheduler as a process of its own, which outlives the kernel that started it.

Beside a notebook the process runs ``python -P -m factorygate.session.scheduler_process``. If the scheduler has a job of
its own, a session's launcher runs this program there instead of a notebook server. The scheduler makes its own keys and
writes them, with its address, to a 0600 file. The process ends on SIGTERM or SIGINT, or when the scheduler has had
nothing to compute for some time. With ``--cluster``, which is used beside a notebook, the process also ends when the
gateway reports the cluster's end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from factorycommon.models import Cluster
from factorygate.cluster import resumable_stream
from factorygate.cluster.daskscheduler import FactoryScheduler
from factorygate.cluster.keys import Keys
from factorygate.cluster.pages import SOCKET
from factorygate.cluster.resumable_stream import ResumableStream
from factorygate.cluster.worker_place import own_address
from factorygate.link import Link, LinkError, NoLinkError
from factorygate.session.folder import write_json
from factorygate.session.programs import HEAD_PROGRAM

log = logging.getLogger("factorygate.cluster")


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line ``argv``, given without the program's name. Raises SystemExit (code 2) if it is wrong.

    No option may be a secret, since other accounts on the node may see the command line.
    """
    parser = argparse.ArgumentParser(prog=HEAD_PROGRAM, description=__doc__)
    parser.add_argument("--file", type=Path, required=True, help="where it tells its address and keys, 0600")
    parser.add_argument("--name", required=True, help="of the cluster")
    parser.add_argument("--idle-seconds", type=float, required=True, help="without work, then it ends")
    parser.add_argument("--pages", type=Path, help="socket for its pages; beside the other if not given")
    parser.add_argument("--cluster", help="id, where it is to say at the gateway that the cluster is still wanted")
    return parser.parse_args(argv)


class SchedulerGate:
    """Accepts, on one Unix socket, the connections that come through the door.

    These are resumable streams of Dask's clients, and HTTP requests for pages. ``scheduler``: host and port of the Dask
    scheduler, to which the streams lead; ``pages``: path of the Unix socket on which the scheduler serves its pages.
    """

    def __init__(self, scheduler: tuple[str, int], pages: Path) -> None:
        self._scheduler = scheduler
        self._pages = pages
        self._streams: dict[bytes, ResumableStream] = {}
        self._carriers: dict[bytes, int] = {}  # by stream id, the number of its last carrier

    async def open(self, path: str) -> asyncio.Server:
        """Listen on a Unix socket at ``path``; return the server."""
        return await asyncio.start_unix_server(self._take, path, limit=resumable_stream.PIECE)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(1)
            if first[0] == resumable_stream.MAGIC:
                await self._client(first + await reader.readexactly(resumable_stream.HELLO.size - 1), reader, writer)
            else:
                await self._page(first, reader, writer)
        except (OSError, EOFError) as error:
            log.info("a connection to the scheduler was cut: %s", error)
        finally:
            writer.close()

    async def _client(self, hello: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, id, theirs = resumable_stream.HELLO.unpack(hello)
        carrier, stream = resumable_stream.Streams(reader, writer), self._streams.get(id)
        if stream is None and theirs:
            await carrier.write(resumable_stream.COUNT.pack(resumable_stream.UNKNOWN))
            return
        if stream is None:
            _, stream = await asyncio.get_running_loop().create_connection(ResumableStream, *self._scheduler)
            self._streams[id] = stream
        await stream.drop_carrier()
        await carrier.write(resumable_stream.COUNT.pack(stream.taken))
        carriers = self._carriers[id] = self._carriers.get(id, 0) + 1
        try:
            await stream.carry(carrier, theirs)
        except (OSError, EOFError):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(resumable_stream.PATIENCE):
                    await stream.over.wait()
        if self._carriers.get(id) == carriers:  # no later connection has replaced this one
            stream.close()
            self._streams.pop(id, None)
            self._carriers.pop(id, None)

    async def _page(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far = await asyncio.open_unix_connection(str(self._pages), limit=resumable_stream.PIECE)
        try:
            far.write(first)
            await asyncio.gather(pump(reader, far), pump(far_reader, writer))
        finally:
            far.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes in one direction until end of file, at the pace of the slower side, and pass the end of file on."""
    while piece := await reader.read(resumable_stream.PIECE):
        writer.write(piece)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def run(options: argparse.Namespace, listen: str | None) -> int:
    """Run the Dask scheduler until its end; return the exit code, which is 0.

    If the command line names a cluster, this function asks the gateway, after the scheduler's end, to end the cluster.
    The gateway is not asked if it has already reported the cluster's end, or if there is no route to the gateway.
    ``options``: the command line, as ``parse`` returns it; ``listen``: path of the Unix socket for connections through
    the door, if the scheduler is a job of its own; else None.
    """
    pages = options.pages or Path(listen or options.file).with_name(SOCKET)
    keys = Keys.new()
    scheduler = await FactoryScheduler(
        host=own_address(),
        protocol="tls://",
        security=keys,
        pages=str(pages),
        local_directory=str(pages.parent),
        idle_timeout=f"{options.idle_seconds} s",
        dashboard=True,
    )
    loop = asyncio.get_running_loop()
    ending: list[asyncio.Task[None]] = []
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, lambda: ending.append(asyncio.create_task(scheduler.close(reason="told to end"))))
    gate = None
    if listen is not None:
        gate = await SchedulerGate((scheduler.ip, scheduler.port), pages).open(listen)
    write_json(options.file, keys.tell(scheduler.address).model_dump(mode="json"))
    log.info("the scheduler of %s is at %s", options.name, scheduler.address)
    wanted = asyncio.create_task(_held(options.cluster, scheduler)) if options.cluster else None
    await scheduler.finished()
    if wanted is not None:
        wanted.cancel()
        await asyncio.wait([wanted])  # the task ends the cluster at the gateway
    if gate is not None:
        gate.close()
    return 0


async def _held(cluster_id: str, scheduler: FactoryScheduler) -> None:
    """Keep the cluster alive by reading its events; close the scheduler when an event reports the cluster's end.

    If a request fails, for example because the link does not know the cluster, the scheduler stays open, and the events
    are requested again. If this task is cancelled before the cluster's end is reported, the task asks the gateway to
    end the cluster, and ignores errors of this request. Without a route to the gateway (NoLinkError), the function
    returns at once.
    """
    try:
        link = Link.here()
    except NoLinkError:
        return
    try:
        while True:
            try:
                async for _, report in link.events(f"/clusters/{cluster_id}/events", Cluster):
                    if report.state != "live":
                        await scheduler.close(reason="the cluster is over")
                        return
            except LinkError as error:
                # the link does not know the cluster yet, or no longer; without clients the scheduler becomes idle
                if error.kind == "gone":
                    log.info("the gateway does not know the cluster: %s", error)
            await asyncio.sleep(5)
    except asyncio.CancelledError:
        with contextlib.suppress(LinkError, TimeoutError):
            async with asyncio.timeout(10):
                await link.delete(f"/clusters/{cluster_id}", Cluster)
        raise
    finally:
        await link.close()


def become(argv: list[str], report: int) -> int:
    """Run the Dask scheduler as the program that a session's launcher starts; return the exit code.

    ``argv``: the command line without the program's name; ``report``: file descriptor of the pipe to the door. At the
    start, this function reports through the pipe that the session is in use.
    """
    # busy until it ends itself, since the Dask scheduler knows when it is idle
    cluster = {"last": time.time(), "busy": True, "opened": True}
    os.write(report, json.dumps(cluster).encode() + b"\n")
    return _main(argv, os.environ["FACTORYGATE_NOTEBOOK_SOCKET"])


def _main(argv: list[str], listen: str | None) -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    os.umask(0o077)
    return asyncio.run(run(parse(argv), listen))


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:], None))
