"""Runs podman with its own storage, and finds the images that ``images/build`` makes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from images.builder import tools
from images.builder.options import CHECKOUT, OUT
from images.builder.steps import BuildError

ARCH = os.uname().machine
_BUILD_SECONDS = 5400
_SECONDS = 600


def build(*argv: str) -> None:
    """Run ``images/build`` with these arguments. Fails the test if it fails."""
    done = subprocess.run(
        [CHECKOUT / "images" / "build", *argv], capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS
    )
    assert done.returncode == 0, done.stderr


def built(*names: str) -> Path:
    """Return the folder with these images.

    They are built now, unless ``FACTORYGATE_TEST_IMAGES`` names a folder that has them.
    """
    given = os.environ.get("FACTORYGATE_TEST_IMAGES")
    if given:
        return Path(given)
    build(*names)
    return OUT


def line(out: Path, name: str) -> dict[str, Any]:
    """Return the builder's record about an image."""
    found: dict[str, Any] = json.loads((out / f"{name}-{ARCH}.json").read_text())
    return found


def archive(out: Path, name: str) -> Path:
    """Return the path of an image's archive."""
    return out / f"{name}-{ARCH}.oci.tar"


def require() -> None:
    """Install podman and its helpers if they are missing; skip the test if this is not possible."""
    try:
        tools.install_packages(tools.TRY)
    except BuildError as error:
        pytest.skip(f"needs podman and Charliecloud: {error}")


class Podman:
    """podman with its own storage in ``folder``.

    ``prefix``: the beginning of the command line, if podman runs elsewhere; ``env``: more environment variables.
    """

    def __init__(self, folder: Path, prefix: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        require()
        self.folder = folder
        self._prefix = prefix
        self._env = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1", **(env or {})}

    def __call__(self, *argv: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run podman until it ends; return its result. If it fails, fails the test, unless ``check`` is False."""
        folders = (f"--root={self.folder}/root", f"--runroot={self.folder}/run", f"--tmpdir={self.folder}/tmp")
        how = ("--storage-driver=overlay", "--cgroup-manager=cgroupfs", f"--runtime={shutil.which('runc')}")
        here = (*how, "--events-backend=none", f"--network-config-dir={self.folder}/networks")
        done = subprocess.run(
            [*self._prefix, "podman", *folders, *here, *argv],
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert not check or done.returncode == 0, f"podman {' '.join(argv)}: {done.stdout}{done.stderr}"
        return done

    def load(self, out: Path, name: str) -> str:
        """Load an image from its archive; return its name."""
        self("load", "--quiet", "--input", str(archive(out, name)))
        return f"localhost/{line(out, name)['image']}"

    def logs(self) -> str:
        """Return the last lines of each container's log."""
        names = self("ps", "--all", "--format", "{{.Names}} {{.Status}}").stdout.splitlines()
        return "\n".join(
            f"== {one}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            for one in names
            for done in [self("logs", "--tail=40", one.split()[0], check=False)]
        )

    def end(self) -> None:
        """Stop all containers, and remove the storage."""
        self("pod", "rm", "--all", "--force", "--time=2", check=False)
        self("rm", "--all", "--force", "--time=1", check=False)
        self("volume", "prune", "--force", check=False)
        self("rmi", "--all", "--force", check=False)
        # podman mounts this folder onto itself and leaves the mount, so that the folder could not be removed.
        mounted = self.folder / "root" / "overlay"
        subprocess.run([*self._prefix, "umount", str(mounted)], capture_output=True, check=False)
