"""Runs the rendered chart by ``podman kube play``: each pod in a network namespace and with an address of its own, the
names of Services resolved by a DNS server, as in a cluster."""

from __future__ import annotations

import ipaddress
import secrets
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from testbed.network import namespaces
from tests.support.chart import Object
from tests.support.podman import Podman

PODS = ("Deployment", "StatefulSet")
_ADDRESSES = ipaddress.ip_network("198.18.0.0/15")  # for tests of networks (RFC 2544): nobody else's
_NETWORK = "gateway"
# A network namespace and a mount namespace that live as long as the process that reads: podman as root keeps what it
# knows of networks at one place for the whole machine, where other tests would meet it.
_SPACES = """
set -e
for folder in /run/containers /run/netns; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo ready
exec cat
"""


class KubePlay:
    """Pods that this process reaches: ``address`` is that of a Service."""

    def __init__(self, folder: Path) -> None:
        own = [*_ADDRESSES.subnets(new_prefix=26)]
        wire, pods = own[secrets.randbelow(len(own))].subnets(new_prefix=27)
        self.pods = pods
        self._hosts = [str(host) for host in pods.hosts()][1:]  # the first is the bridge's
        self._wire = f"chart-{secrets.token_hex(3)}"
        self._playing: list[str] = []
        self._addresses: dict[str, str] = {}
        spaces = ["unshare", "--net", "--mount", "--propagation=private", "sh", "-c", _SPACES]
        self._spaces = subprocess.Popen(spaces, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._spaces.stdout is not None
        assert self._spaces.stdout.readline() == "ready\n"
        inside = ("nsenter", f"--target={self._spaces.pid}", "--net", "--mount")
        here, there = (str(host) for host in list(wire.hosts())[:2])
        peer = ("type", "veth", "peer", "name", "outside", "netns", str(self._spaces.pid))
        _run("ip", "link", "add", self._wire, *peer)
        _run("ip", "address", "add", f"{here}/27", "dev", self._wire)
        _run("ip", "link", "set", self._wire, "up")
        _run(*inside, "ip", "address", "add", f"{there}/27", "dev", "outside")
        _run(*inside, "ip", "link", "set", "outside", "up")
        _run(*inside, "ip", "route", "add", "default", "via", here)
        _run("ip", "route", "add", str(pods), "via", there)
        self.podman = Podman(folder, inside, {"NETAVARK_FW": "none"})
        self.podman("network", "create", _NETWORK, f"--subnet={pods}")

    def address(self, service: str) -> str:
        """Return the address of the pod behind a Service, whose name ends so."""
        (found,) = (address for name, address in self._addresses.items() if name.endswith(f"-{service}"))
        return found

    def reach(self, factory: namespaces.Network) -> None:
        """Let the pods reach an isolated factory, and its answers the pods."""
        for interface in (self._wire, factory.interface):
            Path(f"/proc/sys/net/ipv4/conf/{interface}/forwarding").write_text("1")
        _run(*namespaces.at_border(factory), "ip", "route", "replace", str(self.pods), "via", factory.hub)

    def play(self, objects: Sequence[Object]) -> None:
        """Start what the objects say, and forget what played before: its volumes stay, as those of claims do."""
        self.down()
        kept = [playable(thing) for thing in objects if thing["kind"] in ("ConfigMap", "PersistentVolumeClaim")]
        self.podman("secret", "rm", "--all")
        secret = [thing for thing in objects if thing["kind"] == "Secret"]
        self.podman("kube", "play", "-", stdin=yaml.safe_dump_all(secret))
        pods = [thing for thing in objects if thing["kind"] in PODS]
        for thing, host in zip(pods, self._hosts, strict=False):
            names = [service["metadata"]["name"] for service in objects if _leads(service, thing)]
            self._addresses |= dict.fromkeys(names, host)
            aliases = "".join(f",alias={name}" for name in names)
            told = yaml.safe_dump_all([*kept, playable(thing)])
            self._playing.append(told)
            network = f"--network={_NETWORK}:ip={host}{aliases}"
            done = self.podman("kube", "play", network, "-", stdin=told, check=False)
            assert done.returncode == 0, f"{done.stdout}{done.stderr}{self.podman.logs()}"

    def down(self) -> None:
        """End the pods; volumes stay, as those of claims do."""
        for told in self._playing:
            self.podman("kube", "down", "-", stdin=told)
        self._playing.clear()
        self._addresses.clear()

    def volume(self, name: str) -> Path:
        """Return the folder of a claim's volume."""
        return Path(self.podman("volume", "inspect", "--format={{.Mountpoint}}", name).stdout.strip())

    def remove_volumes(self, keep: Iterable[str]) -> None:
        """Remove all volumes but these, as a cluster does with those of claims and pods that are gone."""
        found = set(self.podman("volume", "ls", "--quiet").stdout.split())
        if found - {*keep}:
            self.podman("volume", "rm", *(found - {*keep}))

    def close(self) -> None:
        """Remove all of it."""
        try:
            self.podman.end()
        finally:
            self._spaces.kill()
            self._spaces.communicate()
            subprocess.run(["ip", "link", "delete", self._wire], capture_output=True, check=False)


def playable(thing: Object) -> Object:
    """Return an object as podman knows it. A StatefulSet becomes a Deployment; a volume belongs to the pods' account,
    in place of their group (``fsGroup``)."""
    if thing["kind"] == "StatefulSet":
        return {**thing, "kind": "Deployment"}
    if thing["kind"] == "PersistentVolumeClaim":
        owned = {"volume.podman.io/uid": "10001", "volume.podman.io/gid": "0"}
        return {**thing, "metadata": {**thing["metadata"], "annotations": owned}}
    return thing


def _leads(service: Object, pod: Object) -> bool:
    """Return whether a Service leads to the pods that an object makes."""
    labels = pod["spec"]["template"]["metadata"]["labels"]
    return service["kind"] == "Service" and bool(service["spec"]["selector"].items() <= labels.items())


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)
