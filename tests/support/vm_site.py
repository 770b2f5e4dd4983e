"""A factory for tests on another machine: a Slurm with one node behind sshd, and the work of the site's people.

These people install the site's programs, authorize keys, and configure sshd.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.vm import Vm

CHECKOUT = Path(__file__).parents[2]
PERSON = "fgada"  # the site account that runs sessions
_PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "openssh-server", "sudo")
_ENTRY = """\
id: {id}
name: {id}
state: template
site: {{machine: {id}, host: Example, city: Ghent, country: BE, at: {{latitude: 51.0, longitude: 3.7}}}}
scheduler: slurm
accelerator: {{vendor: NVIDIA, model: none, memory_gb: 1, per_node: 1}}
node: {{cores: 1, memory_gb: 1, count: 1}}
partitions: [{{name: all, max_hours: 4, gpus: false}}]
sizes: [{{id: cpu-1, gpus: 0, cores: 1, memory_gb: 1, partition: all, max_hours: 4}}]
environments: [{{id: modules, title: Modules, state: template, kind: module}}]
said: []
"""
_SLURM = """\
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


class VmSite:
    """The site on the machine ``vm``, which the gateway reaches at ``address``."""

    def __init__(self, vm: Vm, address: str) -> None:
        self._vm = vm
        self.address = address
        (vm.root / "etc/hosts").write_text("127.0.0.1 localhost site\n")
        (vm.root / "etc/hostname").write_text("site\n")

    def open(self) -> None:
        """Boot the machine, install and start the site's programs, make an account, and follow site/README.md."""
        vm = self._vm
        vm.boot()
        vm.run("update-ca-certificates")
        vm.run("apt-get", "-qq", "update")
        (vm.root / "etc/slurm").mkdir()  # otherwise the packages' services wait for a configuration
        (vm.root / "etc/slurm/slurm.conf").write_text(_SLURM)
        (vm.root / "etc/slurm/cgroup.conf").write_text("CgroupPlugin=disabled\n")
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        vm.run("apt-get", "-qq", "install", "-y", "--no-install-recommends", *_PACKAGES, env=env)
        for user, name in (("slurm", "slurmctld"), ("root", "slurmd")):
            vm.run("install", "-d", "-o", user, f"/var/lib/slurm/{name}")
        vm.run("useradd", "--create-home", "--shell", "/bin/bash", PERSON)
        vm.run("systemctl", "restart", "munge", "slurmctld", "slurmd", "ssh")
        self._follow_readme()

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the site's host key, as the site publishes it."""
        return self._vm.run("ssh-keygen", "-l", "-f", "/etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[1]

    def entry(self, name: str) -> str:
        """Return the site's entry for a gateway's catalogue."""
        return _ENTRY.format(id=name)

    def authorize(self, public: str, account: str = PERSON) -> None:
        """Make a public key the only one in an account's authorized keys, as the owner of the account would."""
        home = f"/home/{account}"
        self._vm.run("install", "-d", "-m", "700", "-o", account, "-g", account, f"{home}/.ssh")
        self._vm.run(
            *("install", "-m", "600", "-o", account, "-g", account, "/dev/stdin", f"{home}/.ssh/authorized_keys"),
            stdin=f"{public}\n",
        )

    def _follow_readme(self) -> None:
        """Install the wrapper and its sudoers file; run the first commands of site/README.md with this site's account.

        But for the account, the commands run word for word.
        """
        for name, where, mode in (
            ("factorygate-act", "/usr/local/libexec/factorygate-act", "755"),
            ("sudoers", "/etc/sudoers.d/factorygate", "440"),
        ):
            self._vm.run("install", "-D", "-m", mode, "/dev/stdin", where, stdin=(CHECKOUT / "site" / name).read_text())
        self._vm.run("visudo", "-cf", "/etc/sudoers.d/factorygate")
        page = (CHECKOUT / "site/README.md").read_text()
        commands = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[0]
        said = self._vm.run("bash", "-ec", commands.replace("alice", PERSON)).stdout
        if said != f"/home/{PERSON}\n":
            raise RuntimeError(f"site/README.md: {said}")

    def configure_sshd(self, part: str) -> None:
        """Put one of the two parts of site/sshd_config into sshd's configuration, in place of an earlier part.

        ``part``: ``wrapper`` or ``ca``. Doors may use any port here, and the part for the gateway's address is left
        out, since the address differs.
        """
        whole = (CHECKOUT / "site/sshd_config").read_text()
        found = next(text for text in whole.split("# --- ")[1:] if text.startswith(f"{part}:"))
        kept = re.sub(r"(?m)^ *PermitOpen .*\n", "", re.sub(r"(?ms)^Match Address .*?^Match all\n", "", found))
        where = "/etc/ssh/sshd_config.d/50-factorygate.conf"
        self._vm.run("install", "-m", "644", "/dev/stdin", where, stdin=f"# {kept}")
        self._vm.run("sshd", "-t")
        self._vm.run("systemctl", "restart", "ssh")

    def trust_ca(self, public: str) -> None:
        """Write a gateway's CA key to the file in which sshd looks for it."""
        self._vm.run("install", "-m", "644", "/dev/stdin", "/etc/ssh/factorygate_ca.pub", stdin=f"{public}\n")
