"""Configures the login side of an isolated factory: OpenSSH's sshd, with its own host keys and a CA that it trusts."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from factorycommon.models import Model
from testbed.errors import CannotLayOut, CannotRun
from testbed.install import system
from testbed.network import namespaces as network

WATCHER = "fg-watcher"  # an ordinary account that runs no jobs of people
DOOR_PORTS = (20000, 20099)  # ports of each node for doors; sshd forwards connections to these only
_CA = "user_ca"


class Isolation(Model):
    """The restrictions of an isolated site.

    ``forwarding``: whether its sshd forwards ports; ``carrier``: how the link must reach doors there.
    """

    forwarding: bool = True
    carrier: Literal["tcp", "stdio"] = "tcp"


def isolation(options: argparse.Namespace) -> Isolation | None:
    """Return the isolation that the command line selects; None: the factories run on 127.0.0.1."""
    if not options.isolated:
        return None
    forwarding = options.forwarding == "yes"
    return Isolation(forwarding=forwarding, carrier=options.carrier or ("tcp" if forwarding else "stdio"))


def check(isolation: Isolation) -> None:
    """Check that this machine can isolate factories, and install what is missing. Raises CannotRun and CannotLayOut."""
    if os.geteuid() != 0:
        raise CannotRun("root, which namespaces and sshd need (without --isolated it is not needed)")
    if isolation.carrier == "tcp" and not isolation.forwarding:
        raise CannotLayOut("the carrier tcp needs forwarding on the login side; without it there is stdio")
    absent = system.missing(system.ISOLATED)
    problem = system.install(absent) if absent else ""
    if problem:
        raise CannotRun(f"the packages {', '.join(absent)} ({problem})")


def ca_key(state: Path) -> Path:
    """Return the path of the CA's private key, which is made at its first use.

    All isolated factories of the state folder accept this CA's certificates.
    """
    return _key(state / _CA)


def host_key(folder: Path, name: str = "host_key") -> Path:
    """Return the path of a private host key of the login side; the key is made at its first use and then kept."""
    return _key(folder / "login" / name)


def public(key: Path) -> str:
    """Return the public half of ``key`` as in ``authorized_keys``: type and base64, without the comment."""
    return " ".join(Path(f"{key}.pub").read_text(encoding="ascii").split()[:2])


def prepare(folder: Path, isolation: Isolation, where: network.Network, env: Mapping[str, str]) -> None:
    """Copy sshd into the cluster's ``folder``, and write its configuration files.

    ``where``: the factory's network; ``env``: the environment variables of people who log in.
    """
    # a copy, so that the process is recognised as this cluster's
    shutil.copy(system.program("sshd"), folder / "sbin/sshd")
    login = folder / "login"
    for each in (login, login / "authorized_keys"):
        each.mkdir(mode=0o755, exist_ok=True)
    host_key(folder)
    serve(folder, "host_key")
    trust(folder, True)
    (login / "sshd_config").write_text(_config(folder, isolation, where, env))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's compiled-in folder for privilege separation


def serve(folder: Path, key: str) -> None:
    """Make sshd present the host key named ``key``, from its next start."""
    served = folder / "login/served_key"
    served.unlink(missing_ok=True)
    served.symlink_to(key)


def trust(folder: Path, wanted: bool) -> None:
    """Set whether sshd accepts certificates of the CA, from the next login."""
    (folder / "login/trusted_user_cas").write_text(public(ca_key(folder.parent)) + "\n" if wanted else "")


def argv(folder: Path) -> tuple[str, ...]:
    """Return the command that starts sshd in the background."""
    return (str(folder / "sbin/sshd"), "-f", str(folder / "login/sshd_config"), "-E", str(folder / "log/sshd.log"))


def authorize(folder: Path, account: str, key: str) -> None:
    """Allow ``key`` (a line of ``authorized_keys``) to log in as ``account``, as a site's administrator would."""
    with (folder / "login/authorized_keys" / account).open("a", encoding="ascii") as file:
        file.write(key.strip() + "\n")


def access_fields(folder: Path, isolation: Isolation, where: network.Network) -> dict[str, object]:
    """Return the sections ``transport`` and ``door`` of ``factorylink.config.Access``."""
    transport = {
        "kind": "ssh",
        "hosts": [where.hosts[network.LOGIN]],
        "host_keys": [public(host_key(folder))],
        "watcher": WATCHER,
        "credentials": {"kind": "ca", "key": str(ca_key(folder.parent))},
    }
    ports = {"ports": list(DOOR_PORTS)} if isolation.carrier == "tcp" else {}
    return {"transport": transport, "door": {"carrier": isolation.carrier, **ports}}


def _config(folder: Path, isolation: Isolation, where: network.Network, env: Mapping[str, str]) -> str:
    login = folder / "login"
    first, last = DOOR_PORTS
    settings = {
        "ListenAddress": f"{where.hosts[network.LOGIN]}:{network.SSH_PORT}",
        "PidFile": folder / "run/sshd.pid",
        "HostKey": login / "served_key",
        "TrustedUserCAKeys": login / "trusted_user_cas",
        "AuthorizedKeysFile": f"{login}/authorized_keys/%u",
        "AllowUsers": "fg-*",  # the site accounts, and service accounts of tests
        "AuthenticationMethods": "publickey",
        "PermitRootLogin": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "StrictModes": "no",  # the state folder may be below /tmp; its own folders belong to root
        "PerSourcePenalties": "no",  # all tests come from one address, and some logins are refused on purpose
        "UseDNS": "no",
        "MaxSessions": 10,
        "AllowTcpForwarding": "local" if isolation.forwarding else "no",
        "PermitOpen": " ".join(f"{node}:{port}" for node in where.nodes for port in range(first, last + 1)),
        "AllowStreamLocalForwarding": "no",
        "AllowAgentForwarding": "no",
        "PermitTunnel": "no",
        "GatewayPorts": "no",
        "X11Forwarding": "no",
        "PermitUserRC": "no",
        "PrintMotd": "no",
        "LogLevel": "VERBOSE",  # logs the certificate of each login
        "Subsystem": "sftp internal-sftp",
        "SetEnv": " ".join(f'"{name}={value}"' for name, value in env.items()),
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def _key(file: Path) -> Path:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        keygen = system.program("ssh-keygen")
        options = ["-q", "-t", "ed25519", "-N", "", "-C", f"factorygate testbed {file.name}"]
        subprocess.run([keygen, *options, "-f", str(file)], check=True, capture_output=True, timeout=30)
    return file
