"""``python -P -m factorygate.session``: the program that a session's job runs.

Exit codes: 0 a clean end, 1 the notebook or the door failed, 2 an option is wrong, the door could not be opened, or
the job has another slice of a GPU than it requested, or this cannot be checked, 3 no environment variables were
received.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from factorycommon.malloc import keep_blocks
from factorygate import __version__, gpu_slices
from factorygate.job_environment import job_environment
from factorygate.session import folder, processes
from factorygate.session.deadlines import SessionLimits
from factorygate.session.session import GRACE_SIGNALLED, JobSession
from factorygate.session.status import OLDEST_PROTOCOL, DoorStatusLine, moment

log = logging.getLogger("factorygate.session")


def _session_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise argparse.ArgumentTypeError("32 hexadecimal digits are needed")
    return text


def _ports(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    if found is None or not 0 < int(found[1]) <= int(found[2]) < 65536:
        raise argparse.ArgumentTypeError("a range such as 20000-20100 is needed")
    return int(found[1]), int(found[2])


def _key(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except ValueError as error:
        raise argparse.ArgumentTypeError("the base64 part of an ssh-ed25519 public key is needed") from error
    return text


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line ``argv``, given without the program's name. Raises SystemExit (code 2) if it is wrong.

    No option may be a secret, since other accounts on the node may see the command line.
    """
    parser = argparse.ArgumentParser(prog="factorygate.session", description=__doc__)
    parser.add_argument("--id", type=_session_id, required=True, help="the session's id")
    parser.add_argument("--folder", type=Path, required=True, help="the session's folder, absolute")
    parser.add_argument("--authorized", type=_key, required=True, help="base64 part of the link's ssh-ed25519 key")
    parser.add_argument("--listen", default="", help="address to listen on, as the link reaches it; every one if empty")
    parser.add_argument("--stdio", action="store_true", help="listen on no port, only on a socket below --tmp")
    parser.add_argument("--ports", type=_ports, help="range of ports, FIRST-LAST; any free one if not given")
    parser.add_argument(
        "--tmp", type=Path, default=Path(tempfile.gettempdir()), help="node-local folder for the sockets"
    )
    parser.add_argument("--notebook-dir", default="~", help="where the notebook's files are")
    parser.add_argument("--idle-minutes", type=float, default=60)
    parser.add_argument("--unopened-minutes", type=float, default=30)
    parser.add_argument("--environment-wait", type=float, default=900, help="seconds to wait for the environment")
    return parser.parse_args(argv)


def _notebook_root(wanted: str) -> Path:
    root = Path(wanted).expanduser()
    if root.is_dir():
        return root
    log.warning("%s is not there: the notebook's files are in the home folder instead", root)
    return Path.home()


def _door_json(
    session: JobSession, where: dict[str, object], host_key: str, started: float, restarts: int
) -> dict[str, object]:
    return {
        "protocol": OLDEST_PROTOCOL,
        "version": __version__,
        "session": session.status.session,
        "job": session.status.job,
        **where,
        "host_key": host_key,
        "started": moment(started),
        "ends": session.status.ends,
        "restart": restarts,
    }


def _listen_to_scheduler(session: JobSession) -> None:
    loop = asyncio.get_running_loop()
    reason = "The scheduler told the session to end."
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, session.end, "stopped", reason, GRACE_SIGNALLED)
    loop.add_signal_handler(signal.SIGUSR1, session.scheduler_warned)


async def run(options: argparse.Namespace) -> int:
    """Run the session from its start to its end; return the exit code.

    Raises FolderError or OSError if the door cannot be opened; GpuSliceError if the job sees another slice of a GPU
    than it requested, or if this cannot be checked.
    """
    started, umask = time.time(), os.umask(0o077)
    shared = folder.session_folder(options.folder)
    for name in ("end.json", "door.json"):  # files of an earlier run, after which the job was requeued
        (shared / name).unlink(missing_ok=True)
    job = job_environment()
    await gpu_slices.check(job)
    node = folder.node_folder(options.tmp, options.id)
    processes.adopt_orphans()
    keep_blocks()
    session = JobSession(
        DoorStatusLine(
            session=options.id,
            job=job.id,
            phase="waiting",
            notebook_sock=str(node / "notebook.sock"),
            hub_sock=str(node / "hub.sock"),
            ends=moment(job.ends),
            release=__version__,
        ),
        started=started,
        ends=job.ends,
        limits=SessionLimits(options.environment_wait, options.unopened_minutes * 60, options.idle_minutes * 60),
        node=node,
        root=_notebook_root(options.notebook_dir),
        umask=umask,
        write_end=lambda content: folder.write_json(shared / "end.json", content),
    )
    _listen_to_scheduler(session)
    try:
        await session.start()  # first, so that the launcher imports its modules while the door opens
        # imported here, since asyncssh takes a tenth of a second
        from factorygate.session.door import Door, bind, bind_path

        where: dict[str, object]
        if options.stdio:
            bound = bind_path(node / "door.sock")
            where = {"socket": bound.getsockname()}
        else:
            bound = bind(options.listen, options.ports)
            where = {"host": options.listen or socket.gethostname(), "port": bound.getsockname()[1]}
        door = Door(session, options.authorized)
        await door.open(bound)
        folder.write_json(shared / "door.json", _door_json(session, where, door.host_key, started, job.restarts))
        code = await session.live()
        await door.close()
        return code
    finally:
        folder.remove(node)


def main() -> int:
    """Run a session with the process's own arguments; return the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s door %(levelname)s %(message)s")
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # asyncio logs a line for each write to a lost link
    options = parse(sys.argv[1:])
    try:
        return asyncio.run(run(options))
    except gpu_slices.GpuSliceError as error:
        message = gpu_slices.report(error)
    except (folder.FolderError, OSError) as error:
        log.critical("the door cannot be opened: %s", error)
        message = f"The door could not be opened: {error}"
    with contextlib.suppress(OSError):  # the error is logged; if the folder cannot be used, no file can be written
        words = {"reason": "failed", "message": message, "at": moment(time.time())}
        folder.write_json(options.folder / "end.json", words)
    return 2


if __name__ == "__main__":
    sys.exit(main())
