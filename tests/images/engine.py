"""Runs built images with podman as an operator would: with any UID, read-only, and without a network unless it is
shared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UID = 54321  # a UID that no user of this machine or of an image has


def built(out: Path, name: str) -> dict[str, Any]:
    """Return the builder's data about an image."""
    line: dict[str, Any] = json.loads((out / f"{name}-{os.uname().machine}.json").read_text())
    return line


@dataclass
class Engine:
    """podman with its own storage in ``folder``."""

    folder: Path
    containers: list[str] = field(default_factory=list)

    def podman(self, *argv: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run podman to its end."""
        done = subprocess.run(
            [
                *("podman", "--root", str(self.folder / "root"), "--runroot", str(self.folder / "run")),
                *("--storage-driver=overlay", "--cgroup-manager=cgroupfs", f"--runtime={shutil.which('runc')}"),
                *("--events-backend=none", "--tmpdir", str(self.folder / "tmp"), *argv),
            ],
            env={**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert not check or done.returncode == 0, f"podman {' '.join(argv)}: {done.stdout}{done.stderr}"
        return done

    def load(self, out: Path, name: str) -> str:
        """Load an image from its archive; return its name."""
        self.podman("load", "--quiet", "--input", str(out / f"{name}-{os.uname().machine}.oci.tar"))
        return f"localhost/{built(out, name)['image']}"

    def argv(self, network: str, *options: str) -> list[str]:
        """Return the arguments with which each container runs."""
        return [
            *("run", "--read-only", f"--user={UID}:0", f"--network={network}", "--ulimit=host", "--cap-drop=all"),
            *("--security-opt=no-new-privileges", "--pull=never", *options),
        ]

    def run(self, image: str, *argv: str, stdin: str | None = None) -> str:
        """Run a program in a new container without any network; return its stdout."""
        return self.podman(*self.argv("none", "--rm", "--interactive"), image, *argv, stdin=stdin).stdout

    def start(self, image: str, *options: str, network: str = "none") -> str:
        """Start an image's default command; return the container's name."""
        name = f"test-{uuid.uuid4().hex[:8]}"
        self.containers.append(name)
        self.podman(*self.argv(network, "--detach", f"--name={name}", *options), image)
        return name

    def end(self) -> None:
        """End the started containers, and remove the storage."""
        if self.containers:
            self.podman("rm", "--force", "--time=1", *self.containers, check=False)
        self.podman("rmi", "--all", "--force", check=False)
        # podman leaves a bind mount of this folder on itself, which would prevent its removal.
        subprocess.run(["umount", str(self.folder / "root" / "overlay")], capture_output=True, check=False)
