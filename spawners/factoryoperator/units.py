"""Starts and stops the processes of a gateway by the machine's service manager, and finds out which have failed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Literal, Protocol

Part = Literal["link", "workshops", "hub", "proxy"]

_SECONDS = 120  # timeout of systemctl
_RESTARTS = 3  # restarts after which a new start counts as failed


class UnitError(Exception):
    """Raised if the service manager refused or failed. The message contains its output."""


class Units(Protocol):
    """The operations of a service manager that an upgrade needs. Each raises UnitError if it fails."""

    def has(self, part: Part) -> bool:
        """Return whether a part of the gateway is set up as a service of this machine. Raises UnitError."""

    def stop(self, part: Part) -> None:
        """Stop a part of the gateway, and return when it has ended. Does nothing if the part does not run.

        Raises UnitError.
        """

    def start(self, part: Part) -> None:
        """Start a part of the gateway from the current release. Raises UnitError.

        When this returns, the part may not answer requests yet.
        """

    def failed(self, part: Part) -> str:
        """Return why a started part does not run or was restarted repeatedly, with its last log lines.

        "" if neither is so: the part runs or is starting. Raises UnitError.
        """


class Systemd:
    """Starts and stops a gateway's parts as the systemd units ``factorygate-PART``, and tells which have failed."""

    def has(self, part: Part) -> bool:
        """Return whether there is a systemd unit for a part. Raises UnitError."""
        return self._systemctl("show", part, options=("--property=LoadState", "--value")).strip() == "loaded"

    def stop(self, part: Part) -> None:
        """Stop the unit of a part, and return when it has ended. Raises UnitError."""
        self._systemctl("stop", part)

    def start(self, part: Part) -> None:
        """Reset the failures and the counter of restarts of a part's unit, and start the unit. Raises UnitError."""
        self._systemctl("reset-failed", part, may_fail=True)
        self._systemctl("start", part)

    def failed(self, part: Part) -> str:
        """Return the unit's state and the end of its log if it does not run, or if systemd has restarted it repeatedly.

        "" if neither is so: the unit runs or is starting. Raises UnitError.
        """
        shown = self._systemctl("show", part, options=("--property=ActiveState", "--property=NRestarts"))
        known = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        state, restarts = known.get("ActiveState", "unknown"), known.get("NRestarts", "0")
        if state in ("active", "activating", "reloading") and restarts.isdecimal() and int(restarts) < _RESTARTS:
            return ""
        argv = ["journalctl", "--unit", _unit(part), "--lines", "5", "--output", "cat", "--no-pager"]
        said = _run(argv).stdout
        return f"{_unit(part)} is {state}, started again {restarts} times: {' '.join(said.split())[-500:]}"

    @staticmethod
    def _systemctl(verb: str, part: Part, may_fail: bool = False, options: tuple[str, ...] = ()) -> str:
        argv = ["systemctl", verb, *options, _unit(part)]
        done = _run(argv)
        if done.returncode and not may_fail:
            raise UnitError(f"{' '.join(argv)} failed: {' '.join(done.stderr.split())[:500]}")
        return done.stdout


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnitError(f"{' '.join(argv)}: {error}") from error


def _unit(part: Part) -> str:
    return f"factorygate-{part}.service"
