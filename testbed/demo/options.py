"""The command line of ``bin/demo``, and all checks that are possible before anything is installed or started.

``bin/demo`` runs ``python3 -m testbed.demo.options ARGUMENTS`` first, under the system's bare Python, so this module
uses only the standard library. Exit codes like those of ``testbed.demo``: 0 if the demo can start, 1 if a port is
taken, 2 for wrong options, 3 if this machine cannot run it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed import ports
from testbed.install import environments as install
from testbed.options import add_accounting, add_gpu_nodes, add_isolation

FACTORIES = "lumi-aif,it4lia,brainpp"
NEEDS_ROOT = "--isolated needs root, for network namespaces and sshd; without --isolated root is not needed"


class Ports:
    """TCP ports of one demo, all on 127.0.0.1 and computed from the port that people use."""

    def __init__(self, public: int) -> None:
        self.public, self.proxy_api, self.hub, self.link = public, public + 1, public + 81, public + 90
        self.provider, self.proxy_metrics, self.link_metrics = public + 91, public + 2, public + 3
        self.workshops, self.mail = public + 92, public + 93

    @property
    def sessions(self) -> tuple[int, int]:
        """Return the first and the last port of the range for sessions; the default demo (port 8000) has its own range.

        The other ranges repeat every 336 public ports. Two demos have separate ranges if one of them is the default
        demo, or if their public ports differ by at least 28 and at most 308.
        """
        if self.public == 8000:
            return 20000, 23999
        start = 24000 + self.public % 336 * 19
        return start, start + 28 * 19 - 1

    @property
    def single(self) -> list[int]:
        """Return all ports except those of sessions."""
        return [
            self.public, self.proxy_api, self.proxy_metrics, self.link_metrics, self.hub, self.link, self.provider,
            self.workshops, self.mail,
        ]  # fmt: skip

    def taken(self, login: str) -> list[int]:
        """Return those ports of ``single`` that a demo with this login uses and on which another program listens."""
        wanted = [port for port in self.single if port != self.provider or login == "oidc"]
        return [port for port in wanted if not ports.is_free(port, "127.0.0.1")]


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line ``argv``; end the program with a message if they are wrong."""
    parser = argparse.ArgumentParser(prog="bin/demo", description="The whole gateway on this machine.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--detach", action="store_true", help="return once it can be used")
    what.add_argument("--stop", action="store_true", help="end a running demo and everything it started")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="where browsers come in (default: 8000)")
    parser.add_argument(
        "--base-url", type=_base_url, default="/", metavar="/PATH/", help="the gateway's path (default: /)"
    )
    parser.add_argument(
        "--factories", default=FACTORIES, metavar="A,B,C", help=f"ids from hub_config/factories (default: {FACTORIES})"
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where it keeps its state (default: .demo of this checkout)"
    )
    parser.add_argument(
        "--login", choices=("passwords", "oidc"), default="passwords", help="how people log in (default: passwords)"
    )
    add_gpu_nodes(parser)
    add_accounting(parser)
    add_isolation(parser)
    parser.add_argument(
        "--workshop", action="store_true", help="have a trainer, and a workshop with eight seats that is open"
    )
    # file descriptor for the messages of a detached start
    parser.add_argument("--status-fd", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if not 1024 <= options.port <= 65000:
        parser.error("--port must be between 1024 and 65000")
    return options


def main(argv: Sequence[str]) -> int:
    """Print what prevents a start of the demo; return the exit code."""
    options = arguments(argv)
    folder = options.folder or install.state_folder()
    if options.stop or is_running(folder):
        return 0
    if options.isolated and os.geteuid() != 0:
        print(f"The demo cannot run here: {NEEDS_ROOT}", file=sys.stderr)
        return install.CANNOT_WORK
    # Programs that a killed demo left behind use its ports; the next start ends them.
    left = (folder / "processes.json").exists()
    taken = [] if left else Ports(options.port).taken(options.login)
    if taken:
        print(f"The demo did not start: {in_use(*taken)}", file=sys.stderr)
        return 1
    return 0


def is_running(folder: Path) -> bool:
    """Return whether a running demo holds the lock of this folder."""
    try:
        with (folder / "lock").open("r+", encoding="ascii") as file, locked(file.fileno()) as ours:
            return not ours
    except OSError:
        return False


@contextmanager
def locked(descriptor: int) -> Iterator[bool]:
    """Lock a file during the block, without waiting; yield False if another process holds the lock, else True."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def in_use(*ports: int) -> str:
    """Return the message that says which of the ports other programs use."""
    listed = " and ".join(str(port) for port in ports)
    return f"port {listed} of 127.0.0.1 is in use by another program; choose others with --port N"


def _base_url(text: str) -> str:
    if not re.fullmatch(r"/([A-Za-z0-9_.-]+/)*", text):
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a path that begins and ends with '/', such as /gateway/")
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
