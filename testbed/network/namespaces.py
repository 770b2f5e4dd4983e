"""Makes an isolated factory's network: a namespace for the login side, one for each node, and a border to the hub.

One veth pair connects the hub's namespace (that of this process) to the border; behind the border, a bridge connects
the login side and the nodes. All firewall rules are in the border's namespace, so that the hub's own rules stay
unchanged. A mount namespace of the factory holds its ``/etc/hosts``, ``/etc/resolv.conf`` and homes; each host has a
host name of its own. Files keep the namespaces alive: network namespaces in ``/run/netns``, the others in
``STATE/ID/ns``.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from factorycommon.models import Model
from testbed.errors import CannotRun, DidNotStart
from testbed.install import packages, system

LOGIN = "login01"
BORDER = "border"
INSIDE, HUB = "inside", "hub"  # the border's two interfaces
SLOW = "slow"  # a third interface for the slow wire: packets routed into it come out later
SSH_PORT = 22
FAULTS = "FAULTS"  # the chain with the firewall rules of faults; it comes first
_NETNS = Path("/run/netns")
_INTERFACES = Path("/sys/class/net")
_LOCK = Path("/run/factorygate-testbed.lock")  # shared by all checkouts, since addresses belong to the machine
_SUBNETS = [f"10.{first}.{second}" for first in range(96, 224) for second in range(256)]
_ROUTER = "cd /proc/sys/net/ipv4; echo 1 >ip_forward; echo 0 >conf/all/rp_filter; echo 0 >conf/default/rp_filter"
_NO_IPV6 = 'for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ ! -e "$file" ] || echo 1 >"$file"; done'


class Network(Model):
    """The addresses of a factory's hosts. ``subnet``: the first three bytes of all its addresses."""

    tag: str  # distinguishes the factory from those of other checkouts; part of the hub interface's name
    factory: str
    subnet: str
    nodes: tuple[str, ...]
    outbound: Literal["compute", "login", "none", "unknown"]

    @property
    def hosts(self) -> dict[str, str]:
        """Return the IPv4 address of each host, by its name: the login side and the nodes."""
        return {name: f"{self.subnet}.{number}" for number, name in enumerate((LOGIN, *self.nodes), start=2)}

    @property
    def hub(self) -> str:
        """Return the hub's address on the veth pair to the border."""
        return f"{self.subnet}.253"

    @property
    def interface(self) -> str:
        """Return the name of the hub's network interface towards the border."""
        return _interface(self.tag)

    def namespace(self, host: str) -> str:
        """Return the name of a host's network namespace, for ``ip netns``."""
        return f"{self.factory}-{self.tag}-{host}"


def tag(folder: Path) -> str:
    """Return a short text that distinguishes the factory in ``folder`` from all others on this machine."""
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]


def _interface(tag: str) -> str:
    return f"fg{tag}"


def enter(network: Network, folder: Path, host: str) -> tuple[str, ...]:
    """Return the argv prefix that runs a command on ``host``, in its root folder."""
    ns = folder / "ns"
    return (
        *(system.program("nsenter"), f"--net={_NETNS / network.namespace(host)}"),
        *(f"--mount={ns / 'mnt'}", f"--uts={ns / host}", "--"),
    )


def at_border(network: Network) -> tuple[str, ...]:
    """Return the argv prefix that runs a command in the border's network; files are those of this process."""
    return (system.program("nsenter"), f"--net={_NETNS / network.namespace(BORDER)}", "--")


def rules(network: Network) -> str:
    """Return the border's firewall rules, as input of iptables-restore. A packet that is not allowed gets no answer."""
    login = network.hosts[LOGIN]
    # connection tracking has seen the packet on its way in
    lines = ["*raw", f"-A PREROUTING -i {SLOW} -j CT --notrack", "COMMIT"]
    lines += ["*filter", ":INPUT DROP", ":FORWARD DROP", ":OUTPUT DROP", f":{FAULTS} -"]
    lines += [
        f"-A FORWARD -j {FAULTS}",
        f"-A FORWARD -i {SLOW} -j ACCEPT",  # the packet was accepted before
        f"-A FORWARD -i {INSIDE} -o {INSIDE} -j ACCEPT",  # needed if the kernel filters bridged packets
        "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        f"-A FORWARD -i {HUB} -d {login} -p tcp --dport {SSH_PORT} -j ACCEPT",
    ]
    if network.outbound in ("login", "compute"):
        lines.append(f"-A FORWARD -i {INSIDE} -s {login} -o {HUB} -j ACCEPT")
    return "\n".join([*lines, "COMMIT", ""])


def hosts_file(network: Network) -> str:
    """Return the text of /etc/hosts; these names are known inside the factory only."""
    lines = ["127.0.0.1 localhost"]
    return "\n".join([*lines, *(f"{address} {name}" for name, address in network.hosts.items()), ""])


def choose(
    folder: Path, factory: str, nodes: Iterable[str], outbound: Literal["compute", "login", "none", "unknown"]
) -> Network:
    """Return a network for the factory in ``folder``, with addresses to which this machine has no route yet.

    Nothing is made yet. Raises CannotRun if no subnet is free.
    """
    name = tag(folder)
    taken = [
        ipaddress.ip_network(route["dst"])
        for route in json.loads(_ip("-json", "-4", "route", "show", "table", "all") or "[]")
        if route["dst"] != "default" and route.get("dev") != _interface(name)
    ]
    start = int(name, 16) % len(_SUBNETS)
    for subnet in _SUBNETS[start:] + _SUBNETS[:start]:
        ours = ipaddress.ip_network(f"{subnet}.0/24")
        if not any(ours.overlaps(other) for other in taken):
            return Network(tag=name, factory=factory, subnet=subnet, nodes=tuple(nodes), outbound=outbound)
    raise CannotRun("a free subnet in 10.96.0.0/11 to 10.223.255.0/24")


def build(network: Network, folder: Path, homes: Mapping[Path, Path]) -> None:
    """Make all namespaces, and replace those of an earlier start.

    ``homes``: the folder that is mounted over each path. Raises DidNotStart.
    """
    with packages.locked(_LOCK):
        remove(folder)
        _make_wires(network)
        _run([*at_border(network), "/bin/sh", "-c", _ROUTER])
        _run([*at_border(network), system.program("iptables-restore")], stdin=rules(network))
        _make_files(network, folder, homes)


def remove(folder: Path) -> None:
    """Remove everything that :func:`build` made for ``folder``. The processes in the namespaces must have ended."""
    interface = _interface(tag(folder))
    # Otherwise the interface goes only when the kernel removes the border's namespace.
    if (_INTERFACES / interface).exists():
        _ip("link", "delete", interface)
    for path in _kept(folder):
        _ip("netns", "delete", path.name)
    ns = folder / "ns"
    for file in [*ns.glob("*"), ns]:
        while _mounted(file):
            _run([system.program("umount"), "--lazy", str(file)])


def stands(network: Network, folder: Path) -> bool:
    """Return whether all namespaces exist; after a reboot they do not."""
    names = [network.namespace(host) for host in (BORDER, *network.hosts)]
    files = [folder / "ns" / name for name in ("mnt", *network.hosts)]
    return all(_mounted(_NETNS / name) for name in names) and all(_mounted(file) for file in files)


def inode(network: Network, host: str) -> int:
    """Return the inode of a host's network namespace, as in ``/proc/PID/ns/net`` of its processes."""
    return (_NETNS / network.namespace(host)).stat().st_ino


def inodes(folder: Path) -> frozenset[int]:
    """Return the inodes of all network namespaces of the factory in ``folder``, as in ``/proc/PID/ns/net``."""
    return frozenset(path.stat().st_ino for path in _kept(folder) if _mounted(path))


def _kept(folder: Path) -> list[Path]:
    return list(_NETNS.glob(f"*-{tag(folder)}-*"))


def _make_wires(network: Network) -> None:
    border = network.namespace(BORDER)
    for name in (border, *(network.namespace(host) for host in network.hosts)):
        _ip("netns", "add", name)
        _run([system.program("nsenter"), f"--net={_NETNS / name}", "/bin/sh", "-c", _NO_IPV6])
        _ip("-n", name, "link", "set", "lo", "up")
    _ip("link", "add", network.interface, "type", "veth", "peer", "name", HUB, "netns", border)
    no_ipv6 = Path(f"/proc/sys/net/ipv6/conf/{network.interface}/disable_ipv6")
    if no_ipv6.exists():
        no_ipv6.write_text("1")
    _ip("-n", border, "link", "add", INSIDE, "type", "bridge")
    _ip("-n", border, "address", "add", f"{network.subnet}.1/25", "dev", INSIDE)
    _ip("-n", border, "address", "add", f"{network.subnet}.254/30", "dev", HUB)
    for name in (INSIDE, HUB):
        _ip("-n", border, "link", "set", name, "up")
    for host, address in network.hosts.items():
        name = network.namespace(host)
        _ip("-n", border, "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("-n", border, "link", "set", host, "master", INSIDE, "up")
        _ip("-n", name, "address", "add", f"{address}/25", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "route", "add", "default", "via", f"{network.subnet}.1")
    _ip("address", "add", f"{network.hub}/30", "dev", network.interface)
    _ip("link", "set", network.interface, "up")
    _ip("route", "add", f"{network.subnet}.0/25", "via", f"{network.subnet}.254")


def _make_files(network: Network, folder: Path, homes: Mapping[Path, Path]) -> None:
    """Make the mount namespace and the namespaces of the host names, kept alive by files.

    The kernel requires that these files are in a folder that is a private mount.
    """
    mount, unshare = system.program("mount"), system.program("unshare")
    etc, ns = folder / "etc", folder / "ns"
    etc.mkdir(exist_ok=True)
    ns.mkdir(exist_ok=True)
    (etc / "hosts").write_text(hosts_file(network))
    # a resolver that does not answer
    (etc / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    _run([mount, "--bind", str(ns), str(ns)])
    _run([mount, "--make-private", str(ns)])
    (ns / "mnt").touch()
    _run([unshare, f"--mount={ns / 'mnt'}", "--propagation", "slave", "true"])
    for host in network.hosts:
        (ns / host).touch()
        _run([unshare, f"--uts={ns / host}", "hostname", host])
    inside = enter(network, folder, LOGIN)
    for source, target in {etc / "hosts": Path("/etc/hosts"), etc / "resolv.conf": Path("/etc/resolv.conf")}.items():
        _run([*inside, mount, "--bind", str(source), str(target)])
    for target, source in homes.items():
        _run([*inside, mount, "--bind", str(source), str(target)])


def _mounted(file: Path) -> bool:
    """Return whether a file (or folder) is a mount point, as the file of a kept namespace is."""
    name = os.path.realpath(file).replace(" ", "\\040")
    return f" {name} " in Path("/proc/self/mountinfo").read_text()


def _ip(*words: str) -> str:
    return _run([system.program("ip"), *words])


def _run(argv: list[str], stdin: str = "") -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        raise DidNotStart(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
