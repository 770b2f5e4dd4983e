"""Measures the cost of the panel of a cluster with 500 jobs, compared with the widget of dask's cluster managers.

Each widget runs in its own real kernel. A client plays the page and opens the widget. The benchmark counts all bytes
that the kernel publishes (whole messages with headers), and takes the CPU time of the kernel's process from the system:
for 20 s without changes (all jobs run, so that GPU-hours grow), then for 20 s in which ten jobs per second change, all
of them visible on the page. Dask's widget renders all workers as HTML every 500 ms, and sends the HTML if it has
changed. Its changes are workers' metrics; each real worker reports these twice a second, so its widget always has
changes. A kernel without any widget gives the baseline.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager

from benchmarks import measure

CHECKOUT = Path(__file__).resolve().parent.parent
JOBS = 500
WINDOW = 20.0  # seconds
SETTLES = 3.0  # seconds before a measurement starts: loading and the first display are not counted
MOST_REST, MOST_CPU = 2000.0, 5.0  # promised limits: bytes per second without changes, and CPU in % of a core


@dataclass(frozen=True)
class Cost:
    """The cost of a measurement window: published bytes per second, and CPU in % of a core."""

    traffic: float
    cpu: float


class Kernel:
    """A running kernel: runs code in it, sends messages to its widgets, and measures its traffic and CPU time.

    :func:`kernel` starts one. ``published``: the bytes that it has published, counted while ``listen`` runs.
    """

    def __init__(self, manager: AsyncKernelManager, client: AsyncKernelClient, heard: zmq.asyncio.Socket) -> None:
        self._client, self._heard = client, heard
        self.pid: int = manager.provisioner.pid
        self.published = 0

    async def run(self, code: str) -> None:
        """Run a cell to its end. Raises RuntimeError with the cell's traceback if the cell fails."""
        reply = await self._client.execute_interactive(
            code, store_history=False, output_hook=lambda _: None, timeout=60
        )
        if reply["content"]["status"] != "ok":
            raise RuntimeError("\n".join(reply["content"]["traceback"]))

    async def value(self, expression: str) -> str:
        """Return the ``repr`` of an expression's value in the kernel, without quotation marks at its ends."""
        reply = await self._client.execute_interactive(
            "", user_expressions={"it": expression}, output_hook=lambda _: None, timeout=60
        )
        return str(reply["content"]["user_expressions"]["it"]["data"]["text/plain"]).strip("'")

    def page(self, comm: str, content: dict[str, object]) -> None:
        """Send a message to a widget, as JupyterLab's page does. ``comm``: the id of the widget's comm."""
        message = self._client.session.msg(
            "comm_msg", {"comm_id": comm, "data": {"method": "custom", "content": content}}
        )
        self._client.shell_channel.send(message)

    async def listen(self) -> None:
        """Count published bytes until cancelled."""
        while True:
            self.published += sum(len(frame) for frame in await self._heard.recv_multipart())

    async def window(self) -> Cost:
        """Wait ``SETTLES`` seconds, then return the cost of the next ``WINDOW`` seconds."""
        await asyncio.sleep(SETTLES)
        sent, used = self.published, measure.cpu_seconds([self.pid])
        await asyncio.sleep(WINDOW)
        return Cost((self.published - sent) / WINDOW, (measure.cpu_seconds([self.pid]) - used) / WINDOW * 100)


@asynccontextmanager
async def kernel() -> AsyncIterator[Kernel]:
    """Start a kernel of this Python and yield it when it answers; end it after the block."""
    manager = AsyncKernelManager()
    manager.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    path = os.pathsep.join(str(CHECKOUT / part) for part in ("", "extensions", "spawners"))
    await manager.start_kernel(cwd=str(CHECKOUT), env={**os.environ, "PYTHONPATH": path})
    client = manager.client()
    client.start_channels()
    heard = zmq.asyncio.Context.instance().socket(zmq.SUB)
    heard.connect(f"tcp://{manager.ip}:{manager.iopub_port}")
    heard.subscribe(b"")
    one = Kernel(manager, client, heard)
    counting = asyncio.create_task(one.listen())
    try:
        await client.wait_for_ready(timeout=60)
        yield one
    finally:
        counting.cancel()
        heard.close()
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def costs(what: str) -> tuple[Cost, Cost]:
    """Return the costs of a widget, first without changes, then with changing jobs.

    ``what``: the widget's class in `panel_kernel.py`, "Ours" or "Dask". Raises RuntimeError if the widget sends the
    page nothing.
    """
    async with kernel() as one:
        await one.run(f"from benchmarks import panel_kernel\nwidget = panel_kernel.{what}({JOBS})")
        one.page(await one.value("widget.shown"), {"op": "watch", "page": "bench"})
        before = one.published
        rest = await one.window()
        if one.published == before:
            raise RuntimeError(f"{what}: the page was told nothing at all")
        await one.run("stop = panel_kernel.keep_changing(widget)")
        changing = await one.window()
        await one.run("stop()")
        return rest, changing


async def main() -> None:
    async with kernel() as one:
        await one.run("from benchmarks import panel_kernel")
        floor = await one.window()
    measure.note(f"a kernel without a widget: {floor.traffic:.0f} B/s, {floor.cpu:.2f} % of a core")
    (rest, changing), (dask_rest, dask_changing) = await costs("Ours"), await costs("Dask")
    measure.report("panel", f"traffic-at-rest-{JOBS}", rest.traffic, {"dask": dask_rest.traffic}, "B/s")
    measure.report("panel", f"cpu-at-rest-{JOBS}", rest.cpu, {"dask": dask_rest.cpu}, "%")
    measure.report("panel", f"traffic-10-changes-{JOBS}", changing.traffic, {"dask": dask_changing.traffic}, "B/s")
    measure.report("panel", f"cpu-10-changes-{JOBS}", changing.cpu, {"dask": dask_changing.cpu}, "%")
    kept = rest.traffic < MOST_REST and max(rest.cpu, changing.cpu) < MOST_CPU
    measure.note(f"under {MOST_REST:.0f} B/s at rest and {MOST_CPU:.0f} % of a core: {'yes' if kept else 'NO'}")


if __name__ == "__main__":
    asyncio.run(main())
