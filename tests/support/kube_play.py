"""Runs a rendered chart by ``podman kube play``.

As in a cluster, each pod has its own network namespace and address, and a DNS server resolves the names of Services.
"""

from __future__ import annotations

import copy
import ipaddress
import os
import secrets
import shutil
import stat
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from testbed.network import namespaces
from tests.support.chart import Object
from tests.support.podman import Podman

PODS = ("Deployment", "StatefulSet")
_ADDRESSES = ipaddress.ip_network("198.18.0.0/15")  # reserved for tests of networks (RFC 2544)
_NETWORK = "gateway"
# A network namespace and a mount namespace that exist as long as this process reads its input. podman as root keeps its
# data about networks in one place for the whole machine, where it would conflict with other tests.
_SPACES = """
set -e
for folder in /run/containers /run/netns; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo ready
exec cat
"""


class KubePlay:
    """The pods of a chart, which this process can reach; ``address`` returns the address of a Service."""

    def __init__(self, folder: Path) -> None:
        own = [*_ADDRESSES.subnets(new_prefix=26)]
        wire, pods = own[secrets.randbelow(len(own))].subnets(new_prefix=27)
        self.pods = pods
        self._hosts = [str(host) for host in pods.hosts()][1:]  # the first address is that of the bridge
        self._wire = f"chart-{secrets.token_hex(3)}"
        self._claims = folder / "claims"
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
        """Return the address of the pod behind the Service whose name ends with this text."""
        (found,) = (address for name, address in self._addresses.items() if name.endswith(f"-{service}"))
        return found

    def reach(self, factory: namespaces.Network) -> None:
        """Let the pods connect to an isolated factory, and let the factory's answers reach the pods."""
        for interface in (self._wire, factory.interface):
            Path(f"/proc/sys/net/ipv4/conf/{interface}/forwarding").write_text("1")
        _run(*namespaces.at_border(factory), "ip", "route", "replace", str(self.pods), "via", factory.hub)

    def play(self, objects: Sequence[Object]) -> None:
        """Start the pods of these objects in place of the running ones; the volumes of claims are kept."""
        self.down()
        self.podman("secret", "rm", "--all")
        secret = [thing for thing in objects if thing["kind"] == "Secret"]
        self.podman("kube", "play", "-", stdin=yaml.safe_dump_all(secret))
        settings = [thing for thing in objects if thing["kind"] == "ConfigMap"]
        pods = [thing for thing in objects if thing["kind"] in PODS]
        for thing, host in zip(pods, self._hosts, strict=False):
            names = [service["metadata"]["name"] for service in objects if _leads(service, thing)]
            self._addresses |= dict.fromkeys(names, host)
            told = yaml.safe_dump_all([*settings, self._playable(thing)])
            self._playing.append(told)
            network = f"--network={_NETWORK}:ip={host}" + "".join(f",alias={name}" for name in names)
            done = self.podman("kube", "play", network, "-", stdin=told, check=False)
            assert done.returncode == 0, f"{done.stdout}{done.stderr}{self.podman.logs()}"

    def run(self, job: Object, objects: Sequence[Object]) -> str:
        """Run the pod of a Job without a network; return what the pod printed. The pod must succeed.

        ``objects``: must include the ConfigMaps that the pod mounts. The pod's Secrets are those of the last ``play``.
        """
        name = job["metadata"]["name"]
        spec = self._with_folders(job["spec"]["template"]["spec"])
        spec.pop("hostAliases", None)
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        told = yaml.safe_dump_all([*(thing for thing in objects if thing["kind"] == "ConfigMap"), pod])
        (container,) = (f"{name}-{one['name']}" for one in spec["containers"])
        try:
            self.podman("kube", "play", "--network=none", "-", stdin=told)
            code = self.podman("wait", container).stdout.strip()
            done = self.podman("logs", container)
        finally:
            self.podman("kube", "down", "-", stdin=told, check=False)  # its volumes may be those of running pods, too
        assert code == "0", done.stdout + done.stderr
        return done.stdout

    def down(self) -> None:
        """Stop the pods; the volumes of claims are kept."""
        for told in self._playing:
            self.podman("kube", "down", "--force", "-", stdin=told)
        self._playing.clear()
        self._addresses.clear()

    def claim(self, name: str) -> Path:
        """Return the folder that podman uses as the volume of a claim."""
        return self._claims / name

    def remove_claims(self, keep: Iterable[str]) -> None:
        """Remove the volumes of all claims but these."""
        for folder in self._claims.glob("*"):
            if folder.name not in keep:
                shutil.rmtree(folder)

    def _playable(self, thing: Object) -> Object:
        """Return a Deployment or StatefulSet in a form that podman can run.

        A StatefulSet becomes a Deployment, a claim becomes a folder of this machine, and ``fsGroup``, which podman
        ignores, is applied here as a kubelet does.
        """
        made = copy.deepcopy(thing) | {"kind": "Deployment"}
        made["spec"]["template"]["spec"] = self._with_folders(made["spec"]["template"]["spec"])
        return made

    def _with_folders(self, spec: Object) -> Object:
        """Return the spec of a pod with folders as its claims' volumes; give the folders to the pod's ``fsGroup``."""
        pod = copy.deepcopy(spec)
        group = pod["securityContext"].pop("fsGroup")
        pod["securityContext"]["supplementalGroups"] = [group]
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                folder = self.claim(volume.pop("persistentVolumeClaim")["claimName"])
                folder.mkdir(parents=True, exist_ok=True)
                give_to_group(folder, group, pod["securityContext"]["fsGroupChangePolicy"])
                volume["hostPath"] = {"path": str(folder), "type": "Directory"}
        return pod

    def close(self) -> None:
        """Remove the pods, their images and networks; the folders of claims stay."""
        try:
            self.podman.end()
        finally:
            self._spaces.kill()
            self._spaces.communicate()
            subprocess.run(["ip", "link", "delete", self._wire], capture_output=True, check=False)


def give_to_group(folder: Path, group: int, policy: str) -> None:
    """Give a volume to a pod's ``fsGroup``, as a kubelet does before the pod starts.

    ``policy``: Kubernetes' ``fsGroupChangePolicy``; with ``OnRootMismatch``, nothing changes if ``folder`` has the
    group.
    """
    root = folder.stat()
    if policy == "OnRootMismatch" and root.st_gid == group and root.st_mode & stat.S_ISGID:
        return
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            os.chown(path, -1, group)
            more = 0o2770 if path.is_dir() else 0o660
            path.chmod(stat.S_IMODE(path.stat().st_mode) | more)


def _leads(service: Object, pod: Object) -> bool:
    """Return whether a Service selects the pods of an object."""
    labels = pod["spec"]["template"]["metadata"]["labels"]
    return service["kind"] == "Service" and bool(service["spec"]["selector"].items() <= labels.items())


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)
