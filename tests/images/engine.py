"""Runs built images with podman, as an operator would: any UID, read-only, no network unless it is shared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UID = 54321  # of nobody on this machine or in an image


def built(out: Path, name: str) -> dict[str, Any]:
    """What the builder wrote about an image."""
    line: dict[str, Any] = json.loads((out / f"{name}-{os.uname().machine}.json").read_text())
    return line


@dataclass
class Engine:
    """podman with a storage of its own in ``folder``."""

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
        """Load an image from its archive; returns its name."""
        self.podman("load", "--quiet", "--input", str(out / f"{name}-{os.uname().machine}.oci.tar"))
        return f"localhost/{built(out, name)['image']}"

    def argv(self, network: str, *options: str) -> list[str]:
        """How each container runs."""
        return [
            *("run", "--read-only", f"--user={UID}:0", f"--network={network}", "--ulimit=host", "--cap-drop=all"),
            *("--security-opt=no-new-privileges", "--pull=never", *options),
        ]

    def run(self, image: str, *argv: str, stdin: str | None = None) -> str:
        """Run a program in a new container without any network; its stdout."""
        return self.podman(*self.argv("none", "--rm", "--interactive"), image, *argv, stdin=stdin).stdout

    def start(self, image: str, *options: str, network: str = "none") -> str:
        """Start an image's own command; returns the container's name."""
        name = f"test-{uuid.uuid4().hex[:8]}"
        self.containers.append(name)
        self.podman(*self.argv(network, "--detach", f"--name={name}", *options), image)
        return name

    def end(self) -> None:
        """Stop what was started, and remove the storage."""
        if self.containers:
            self.podman("rm", "--force", "--time=1", *self.containers, check=False)
        self.podman("rmi", "--all", "--force", check=False)
