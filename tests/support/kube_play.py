"""Runs the rendered chart with ``podman kube play``, in a separate network that this process can reach."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.support.chart import Object

RUNS = ("ConfigMap", "Deployment", "PersistentVolumeClaim", "Secret")  # the kinds of the chart that podman supports


def playable(found: Sequence[Object]) -> list[Object]:
    """Return the objects that podman can run. StatefulSets become Deployments. Volumes belong to the pods' account,
    since podman does not support ``fsGroup``."""
    played = []
    for thing in found:
        kind = "Deployment" if thing["kind"] == "StatefulSet" else thing["kind"]
        if kind == "PersistentVolumeClaim":
            owned = {"volume.podman.io/uid": "10001", "volume.podman.io/gid": "0"}
            thing = {**thing, "metadata": {**thing["metadata"], "annotations": owned}}
        if kind in RUNS:
            played.append({**thing, "kind": kind})
    return played


class KubePlay:
    """podman with its own storage in ``folder``, and its own network with the address ``address``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"chart-{secrets.token_hex(3)}"
        number = secrets.randbelow(16384)
        network = f"198.19.{number // 64}.{number % 64 * 4}".rpartition(".")
        here, self.address = (f"{network[0]}.{int(network[2]) + host}" for host in (1, 2))
        wire, inside = f"{self._name}-a"[:15], f"{self._name}-b"[:15]
        _run("ip", "netns", "add", self._name)
        _run("ip", "link", "add", wire, "type", "veth", "peer", "name", inside, "netns", self._name)
        _run("ip", "address", "add", f"{here}/30", "dev", wire)
        _run("ip", "link", "set", wire, "up")
        _run("ip", "-n", self._name, "address", "add", f"{self.address}/30", "dev", inside)
        for device in (inside, "lo"):
            _run("ip", "-n", self._name, "link", "set", device, "up")

    def podman(self, *argv: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run podman to its end."""
        folders = (f"--root={self._folder}/root", f"--runroot={self._folder}/run", f"--tmpdir={self._folder}/tmp")
        how = ("--storage-driver=overlay", "--cgroup-manager=cgroupfs", f"--runtime={shutil.which('runc')}")
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self._name}", "podman", *folders, *how, "--events-backend=none", *argv],
            env={**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert not check or done.returncode == 0, f"podman {' '.join(argv)}: {done.stdout}{done.stderr}"
        return done

    def play(self, objects: Sequence[Object]) -> None:
        """Start the objects; ConfigMaps and Secrets come first."""
        ordered = sorted(
            playable(objects), key=lambda thing: RUNS.index(thing["kind"]) if thing["kind"] != "Deployment" else 9
        )
        done = self.podman("kube", "play", "--network=host", "-", stdin=yaml.safe_dump_all(ordered), check=False)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{self.logs()}"

    def down(self, objects: Sequence[Object]) -> None:
        """End the pods; volumes stay, like those of claims."""
        self.podman("kube", "down", "-", stdin=yaml.safe_dump_all(playable(objects)))

    def logs(self) -> str:
        """Return the last log lines of each container."""
        names = self.podman("ps", "--all", "--format", "{{.Names}} {{.Status}}").stdout.splitlines()
        return "\n".join(
            f"== {line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            for line in names
            for done in [self.podman("logs", "--tail=40", line.split()[0], check=False)]
        )

    def close(self) -> None:
        """Remove everything."""
        self.podman("pod", "rm", "--all", "--force", "--time=2", check=False)
        self.podman("system", "reset", "--force", check=False)
        subprocess.run(["ip", "netns", "delete", self._name], check=False, capture_output=True)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)
