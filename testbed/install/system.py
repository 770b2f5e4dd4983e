"""Installs Debian's packages that isolated factories and the tests need, as root.

This starts no service, and changes none that runs. The module uses only the standard library, since the installer runs
under the system's bare Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# Debian's package for each program (a name on PATH, or a file).
ISOLATED = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "iptables-restore": "iptables",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "faketime": "faketime",
}
TESTS = ISOLATED | {
    "sudo": "sudo",  # for sites that let the gateway use the wrapper
    "pg_ctlcluster": "postgresql",  # for a ledger on PostgreSQL
    "promtool": "prometheus",  # for scraping a gateway's metrics, and testing alert rules
}
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_POLICY = Path("/usr/sbin/policy-rc.d")  # Debian's maintainer scripts run it before they start a service
_APT_SECONDS = 300


def program(name: str) -> str:
    """Return the path of a program that is in an administrator's PATH. Raises FileNotFoundError."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise FileNotFoundError(f"the program {name}")
    return found


def missing(programs: Mapping[str, str]) -> list[str]:
    """Return the packages of those programs that are missing. ``programs``: the package of each program."""
    return sorted({package for name, package in programs.items() if shutil.which(name, path=_PATH) is None})


def install(packages: Sequence[str]) -> str:
    """Install Debian packages (as root); return an error message, "" if all are installed."""
    apt = ["apt-get", "-qq", "-oDPkg::Lock::Timeout=300"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    wanted = [*apt, "install", "-y", "--no-install-recommends", *packages]
    said = ""
    with _no_service_starts():
        for argv in (wanted, [*apt, "update"], wanted):  # the package lists may be empty or outdated
            try:
                done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=_APT_SECONDS)
            except (FileNotFoundError, subprocess.TimeoutExpired) as error:
                return str(error)
            if argv is wanted and done.returncode == 0:
                return ""
            said = " / ".join(done.stderr.strip().splitlines()[-3:])
    return said


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Forbid that new services start during the block, unless the system has such a rule already."""
    try:
        descriptor = os.open(_POLICY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755)
    except FileExistsError:
        yield
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexit 101\n")
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
