"""From a bare Debian to a notebook with two commands, on a separate machine with real systemd and an ACME server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest

from testbed.install import environments, system
from tests.support import vm as machines
from tests.support.acme import Acme
from tests.support.gateway import eventually
from tests.support.vm import ADDRESS, Vm

pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.timeout(3600)]

CHECKOUT = Path(__file__).parents[2]
DOMAIN = "gateway.example.org"
INSTALL = str(CHECKOUT / "bin" / "factorygate-install")
OPTIONS = (
    *("--domain", DOMAIN, "--email", "ops@example.org", "--admin", "ada", "--login", "passwords"),
    *("--acme", Acme.directory, "--acme-root", Acme.root),
)
SITE, GATEWAY = "10.99.7.2", "10.99.7.1"  # addresses in a network that only the two machines have
LONGEST_BOOT = 10.0  # seconds until https answers
KEPT = ("/etc/factorygate", "/etc/systemd/system", "/etc/caddy", "/usr/local/bin", "/opt/factorygate/current")
# The steps at which a run is killed, in the order in which a complete run prints them.
STEPS = ("installing", "secrets/proxy-token", "building the release", "factorygate-link.service was started")
ENTRY = """\
id: tiny
name: Tiny
state: template
site: {machine: Tiny, host: Example, city: Ghent, country: BE, at: {latitude: 51.0, longitude: 3.7}}
scheduler: slurm
accelerator: {vendor: NVIDIA, model: none, memory_gb: 1, per_node: 1}
node: {cores: 1, memory_gb: 1, count: 1}
partitions: [{name: all, max_hours: 4, gpus: false}]
sizes: [{id: cpu-1, gpus: 0, cores: 1, memory_gb: 1, partition: all, max_hours: 4}]
environments: [{id: modules, title: Modules, state: template, kind: module}]
said: []
"""
SLURM = """\
ClusterName=tiny
SlurmctldHost=site(127.0.0.1)
SlurmUser=slurm
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldPidFile=/run/slurmctld/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
NodeName=site NodeAddr=127.0.0.1 CPUs=1 RealMemory=2000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=04:00:00 State=UP
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = system.missing(machines.NEEDS)
    problem = system.install(missing) if missing else ""
    if problem:
        pytest.skip(f"needs {', '.join(missing)}: {problem}")
    return tmp_path_factory.mktemp("vm")


@contextmanager
def bare(folder: Path, name: str) -> Iterator[Vm]:
    """Return a bare Debian with a network, which is not booted yet."""
    tar = machines.bare_system(environments.program_folder() / "bare")
    shown = dict.fromkeys((CHECKOUT, environments.program_folder(), Path(sys.prefix)))
    made = Vm(folder / name, tar, f"fgvm-{os.getpid()}-{name}", tuple(shown))
    try:
        made.connect()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def machine(folder: Path) -> Iterator[Vm]:
    """Return the machine on which the gateway is installed."""
    with bare(folder, "gateway") as made:
        (made.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} {DOMAIN}\n")
        acme = Acme(made, folder / "acme")
        made.boot()
        acme.trust()
        yield made


@pytest.fixture(scope="module")
def site(folder: Path, machine: Vm) -> Iterator[Vm]:
    """Return a Slurm with one node behind sshd on another machine, and its entry in the gateway's catalogue."""
    with bare(folder, "site") as made:
        made.join(SITE, machine, GATEWAY)
        (made.root / "etc/hosts").write_text("127.0.0.1 localhost site\n")
        (made.root / "etc/hostname").write_text("site\n")
        made.boot()
        made.run("update-ca-certificates")
        made.run("apt-get", "-qq", "update")
        (made.root / "etc/slurm").mkdir()  # otherwise the packages' services wait for a configuration
        (made.root / "etc/slurm/slurm.conf").write_text(SLURM)
        (made.root / "etc/slurm/cgroup.conf").write_text("CgroupPlugin=disabled\n")
        packages = ("slurmctld", "slurmd", "slurm-client", "munge", "openssh-server")
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        made.run("apt-get", "-qq", "install", "-y", "--no-install-recommends", *packages, env=env)
        for user, name in (("slurm", "slurmctld"), ("root", "slurmd")):
            made.run("install", "-d", "-o", user, f"/var/lib/slurm/{name}")
        made.run("useradd", "--create-home", "--shell", "/bin/bash", "fgada")
        key = asyncssh.generate_private_key("ssh-ed25519")
        (made.root / "root/key.pub").write_bytes(key.export_public_key())
        made.run("install", "-d", "-m", "700", "-o", "fgada", "-g", "fgada", "/home/fgada/.ssh")
        authorized = "/home/fgada/.ssh/authorized_keys"
        made.run("install", "-m", "600", "-o", "fgada", "-g", "fgada", "/root/key.pub", authorized)
        made.run("systemctl", "restart", "munge", "slurmctld", "slurmd", "ssh")
        (machine.root / "root/site-key").write_bytes(key.export_private_key())
        (machine.root / "root/site-key").chmod(0o600)
        (machine.root / "etc/factorygate/factories/tiny.yaml").write_text(ENTRY)
        machine.run("chgrp", "factorygate", "/etc/factorygate/factories/tiny.yaml")
        yield made


def install(machine: Vm, *options: str) -> subprocess.CompletedProcess[str]:
    return machine.run(INSTALL, *options, check=False, timeout=1800)


def visitor(machine: Vm, *words: str) -> dict[str, object]:
    """Do something on the machine as a person, with the Python of the tests."""
    env = {"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT}/spawners", "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}
    done = machine.run(sys.executable, "-m", "tests.support.vm_visitor", *words, env=env, timeout=600)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def times(machine: Vm) -> str:
    """Return every file of the gateway with its modification time and mode."""
    return machine.run("find", *KEPT, "-printf", "%p %T@ %m %u\n").stdout


def killed_at(machine: Vm, step: str) -> None:
    """Start the command; when it prints the given step, kill it and all its processes with SIGKILL."""
    argv = machine.argv(INSTALL, *OPTIONS)
    with subprocess.Popen(
        argv, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True
    ) as run:
        assert run.stderr is not None
        said = []
        for line in run.stderr:
            said.append(line)
            if step in line:
                os.killpg(run.pid, signal.SIGKILL)
                return
        run.wait()
    pytest.fail(f"it never came to {step!r}: {''.join(said)[-2000:]}")


def test_from_nothing_to_https(machine: Vm) -> None:
    """The installation is killed at four steps, and then run to its end."""
    for step in STEPS:
        killed_at(machine, step)
    done = install(machine)  # uses the options that the killed runs have stored
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "Nothing is wrong." in done.stdout
    assert "WRONG" not in done.stdout


def test_people_log_in_by_https(machine: Vm) -> None:
    machine.run("rm", "/etc/factorygate/secrets/passwords.json")
    said = install(machine).stderr
    found = re.search(r"name ada, password (\S+)", said)
    assert found is not None, said
    seen = visitor(machine, "login", found[1])
    assert seen == {"status": 200, "hsts": "max-age=31536000", "secure": True, "inside": [404, 404]}


def test_a_second_run_changes_nothing(machine: Vm) -> None:
    before, started = times(machine), starts(machine)
    done = install(machine, *OPTIONS)
    assert done.returncode == 0
    assert "Nothing was changed." in done.stderr
    assert (times(machine), starts(machine)) == (before, started)


def starts(machine: Vm) -> str:
    units = ("factorygate-link", "factorygate-hub", "factorygate-proxy", "caddy", "systemd-journald")
    return machine.run("systemctl", "show", "--property=MainPID,ActiveEnterTimestampMonotonic", *units).stdout


def test_the_services_are_confined(machine: Vm) -> None:
    for unit in ("factorygate-link", "factorygate-hub", "factorygate-proxy"):
        said = machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert found is not None
        assert float(found[1]) <= 4.0
        pid = machine.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()
        status = machine.run("cat", f"/proc/{pid}/status").stdout
        assert re.search(r"^CapEff:\s*0+$", status, re.MULTILINE), status
        assert re.search(r"^Seccomp:\s*2$", status, re.MULTILINE), status


def test_a_backup_is_made(machine: Vm) -> None:
    machine.run("systemctl", "start", "factorygate-backup.service")
    made = machine.run("ls", "/var/backups/factorygate").stdout.split()
    assert made
    said = machine.run("factorygate", "restore", "--list", f"/var/backups/factorygate/{made[0]}").stdout
    for name in ("jupyterhub.sqlite", "ledger.sqlite", "hub.yaml", "proxy.env", "admin-token", "passwords.json"):
        assert name in said


def test_the_first_factory_and_a_notebook(machine: Vm, site: Vm) -> None:
    fingerprint = site.run("ssh-keygen", "-l", "-f", "/etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[1]
    done = machine.run(
        *("factorygate", "factory", "add", "tiny", "--host", SITE, "--key", "/root/site-key"),
        *("--fingerprint", fingerprint, "--watcher", "fgada", "--account", "ada=fgada"),
        *("--credentials", "key", "--agreed-by", "Grace Example", "--contact", "support@example.org"),
        *("--python", str(environments.program_folder() / "notebook/bin/python")),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny: all is well." in done.stdout
    assert visitor(machine, "cell", "print(6 * 7)")["printed"] == "42\n"


@pytest.mark.usefixtures("site")
def test_a_reboot_takes_seconds_and_no_session(machine: Vm) -> None:
    seen = visitor(machine, "cell", "kept = 41\nprint(kept + 1)")
    machine.halt()
    began = time.monotonic()
    machine.boot(whole=False)
    took = eventually(lambda: answers(machine) and time.monotonic() - began, timeout=60, every=0.1)
    print(f"https {took:.1f} s after power on")
    if os.getloadavg()[0] < (os.cpu_count() or 1):  # on a busy machine the time says nothing about the gateway
        assert took < LONGEST_BOOT
    later = visitor(machine, "kernel", str(seen["kernel"]), "print(kept + 1)")
    assert later == {"server": True, "printed": "42\n"}
    assert machine.run("factorygate", "check", check=False).returncode == 0


def answers(machine: Vm) -> bool:
    return machine.run("curl", "--silent", "--fail", f"https://{DOMAIN}/hub/health", check=False).returncode == 0


@pytest.mark.usefixtures("site")
def test_a_session_outlives_all_services(machine: Vm) -> None:
    seen = visitor(machine, "cell", "kept = 41\nprint(kept + 1)")
    units = ("factorygate-link", "factorygate-hub", "factorygate-proxy", "caddy")
    machine.run("systemctl", "kill", "--signal=SIGKILL", *units)
    machine.run("systemctl", "restart", "--no-block", *units)
    eventually(lambda: answers(machine), timeout=60)
    later = visitor(machine, "kernel", str(seen["kernel"]), "print(kept + 1)")
    assert later == {"server": True, "printed": "42\n"}


def test_uninstall_keeps_the_data_and_purge_removes_it(machine: Vm) -> None:
    program = "/opt/factorygate/current/venv/bin/factorygate-install"
    assert "add --yes" in machine.run(program, "uninstall", "--purge", check=False).stderr
    token = machine.run("cat", "/etc/factorygate/secrets/proxy-token").stdout
    machine.run(program, "uninstall")
    assert machine.run("systemctl", "is-active", "factorygate-hub", check=False).stdout.strip() == "inactive"
    assert machine.run("test", "-e", "/opt/factorygate/current", check=False).returncode == 1
    assert machine.run("cat", "/etc/factorygate/secrets/proxy-token").stdout == token
    done = install(machine)
    assert done.returncode == 0, done.stderr[-3000:]
    assert machine.run("cat", "/etc/factorygate/secrets/proxy-token").stdout == token
    machine.run(program, "uninstall", "--purge", "--yes")
    left = machine.run("find", "/etc/factorygate", "/var/lib/factorygate", "/opt/factorygate/releases", check=False)
    assert left.stdout == ""
