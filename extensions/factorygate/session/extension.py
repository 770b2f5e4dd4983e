"""The Jupyter server extension of a session's notebook server.

It reports activity, resource use and steps to the door, serves the session's clock and the other session data to the
browser, keeps tokens out of the log, and removes interrupted uploads. It is loaded through a configuration folder that
only this server reads.
"""

from __future__ import annotations

from pathlib import Path

from jupyter_server.serverapp import ServerApp
from tornado.ioloop import PeriodicCallback

from factorygate.session import activity, clock, lab, pages, tokens
from factorygate.session.jupyter.contents import Contents
from factorygate.session.resource_usage import Gauge
from factorygate.steps.book import StepBook

SWEEP_MS = 10 * 60 * 1000.0


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "factorygate.session.extension"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    tokens.serve(server)
    gauge = Gauge()
    server.io_loop.add_callback(gauge.start)
    book = StepBook(Path(server.root_dir))
    activity.report(server, gauge, book)
    clock.serve(server)
    lab.serve(server, gauge, book)
    pages.serve(server)
    contents = server.contents_manager
    if isinstance(contents, Contents):
        server.io_loop.add_callback(contents.sweep)
        PeriodicCallback(contents.sweep, SWEEP_MS).start()
