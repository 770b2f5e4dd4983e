"""The programs of a gateway as a service manager runs them."""

from __future__ import annotations

import subprocess
from typing import Literal, Protocol

Part = Literal["link", "hub", "proxy"]

_SECONDS = 120  # that systemctl may take
_RESTARTS = 3  # after which a part that was just started counts as failed


class UnitError(Exception):
    """Raise where the service manager did not do as asked; the message has its words."""


class Units(Protocol):
    """What an upgrade asks of a service manager. All raise UnitError."""

    def has(self, part: Part) -> bool:
        """Return whether a part is of this machine."""

    def stop(self, part: Part) -> None:
        """End a part, and return when it has ended. A part that does not run is none to end."""

    def start(self, part: Part) -> None:
        """Begin to start a part, with the release that is current."""

    def failed(self, part: Part) -> str:
        """Return why a part that was started does not run, with its last words; "": it runs or is starting."""


class Systemd:
    """The units ``factorygate-link``, ``factorygate-hub`` and ``factorygate-proxy`` of systemd."""

    def has(self, part: Part) -> bool:
        """Return whether there is a unit for a part."""
        return self._systemctl("show", part, options=("--property=LoadState", "--value")).strip() == "loaded"

    def stop(self, part: Part) -> None:
        """Stop a unit."""
        self._systemctl("stop", part)

    def start(self, part: Part) -> None:
        """Start a unit, also one that failed too often; its restarts are counted from now on."""
        self._systemctl("reset-failed", part, may_fail=True)
        self._systemctl("start", part)

    def failed(self, part: Part) -> str:
        """Return the unit's state and the end of its log if systemd gave it up, or started it again and again."""
        shown = self._systemctl("show", part, options=("--property=ActiveState", "--property=NRestarts"))
        known = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        state, restarts = known.get("ActiveState", "unknown"), known.get("NRestarts", "0")
        if state in ("active", "activating", "reloading") and restarts.isdecimal() and int(restarts) < _RESTARTS:
            return ""
        argv = ["journalctl", "--unit", _unit(part), "--lines", "5", "--output", "cat", "--no-pager"]
        said = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return f"{_unit(part)} is {state}, started again {restarts} times: {' '.join(said.stdout.split())[-500:]}"

    @staticmethod
    def _systemctl(verb: str, part: Part, may_fail: bool = False, options: tuple[str, ...] = ()) -> str:
        argv = ["systemctl", verb, *options, _unit(part)]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnitError(f"{' '.join(argv)}: {error}") from error
        if done.returncode and not may_fail:
            raise UnitError(f"{' '.join(argv)} failed: {' '.join(done.stderr.split())[:500]}")
        return done.stdout


def _unit(part: Part) -> str:
    return f"factorygate-{part}.service"
