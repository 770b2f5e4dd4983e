"""Starts the notebook server: imports its modules while the door waits, then reads environment variables from stdin.

The environment variables contain tokens, so they are sent through a pipe and never in an argv. The imports take a
second, which the link needs anyway to find the door.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys

from factorygate.session import processes
from factorygate.session.programs import HEAD_PROGRAM, NOTEBOOK_PROGRAM

log = logging.getLogger(__name__)


# Modules that a single-user server imports anyway, and that do not read the environment on import.
# jupyterhub.singleuser and jupyterhub.services.auth do read it: without JUPYTERHUB_SERVICE_PREFIX the latter sets the
# cookies' path to ``/``, and browsers would send the cookies to other people's servers.
_WARM = (
    "jupyter_server.serverapp",
    "jupyterhub.scopes",
    "jupyterlab.labapp",
    "jupyterlab_server.handlers",
    "jupyter_server_terminals.app",
    "jupyter_lsp",
    "notebook_shim.nbserver",
    "jupyter_server.services.kernels.connection.channels",
    "factorygate.session.extension",
    "nbformat.v4",
    "tornado.curl_httpclient",
    "sqlite3",
)


# A module that checks a string format (IRI) which no schema of Jupyter uses. jsonschema imports it if it is installed,
# which takes longer than all other imports of a server. So it is hidden here.
_UNUSED = "rfc3987_syntax"


def _warm() -> None:
    sys.modules.setdefault(_UNUSED, None)  # type: ignore[arg-type]  # "not found", without a search
    for name in _WARM:
        try:
            importlib.import_module(name)
        except ImportError as error:  # not part of this environment; the server itself complains if it needs the module
            log.debug("not warmed: %s (%s)", name, error)


def main() -> None:
    """Import the notebook server's modules, read from stdin which program to run, and run it in this process.

    Stdin: ``{"environment": {...}, "argv": [...], "folder": PATH}``; PATH is the folder in which the program starts. If
    stdin is empty, nothing is run.
    """
    parser = argparse.ArgumentParser(prog="factorygate.session.launch")
    parser.add_argument("--report-fd", type=int, required=True, help="pipe on which the server tells its activity")
    report = parser.parse_args().report_fd
    os.set_inheritable(report, False)  # kernels and terminals must not keep the pipe open
    processes.end_with_parent()
    _warm()
    received = sys.stdin.buffer.read()
    if not received:
        return  # the door ended before it received an environment
    task = json.loads(received)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.environ.update(task["environment"])
    os.chdir(task["folder"])
    argv = task["argv"]
    if os.path.basename(argv[0]) == HEAD_PROGRAM:
        from factorygate.session import scheduler_process

        sys.exit(scheduler_process.become(argv[1:], report))
    if os.path.basename(argv[0]) != NOTEBOOK_PROGRAM:
        os.execvpe(argv[0], argv, os.environ)
    from jupyterhub.singleuser import main as singleuser  # imported only now: see _WARM

    from factorygate.session import activity

    activity.attach(report)
    sys.argv = [NOTEBOOK_PROGRAM, *argv[1:]]
    singleuser()


if __name__ == "__main__":
    main()
