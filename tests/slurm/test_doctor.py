"""``factorygate doctor`` on a real Slurm with accounts: success, each possible failure, and nothing is left behind."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncssh
import pytest
import yaml

from factorycommon.models import Environment, Factory
from factorylink.cli import main as cli
from factorylink.doors.manager import DoorManager
from testbed.faults import faults
from testbed.install import environments as install
from testbed.network.login_side import Isolation
from testbed.network.namespaces import LOGIN
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.support.isolated import answers
from tests.support.trial import CHECKOUT, FACTORY, eventually

pytestmark = [pytest.mark.slurm, pytest.mark.root]

NOTEBOOK = str(install.program_folder() / "notebook/bin/python")
SITE = Factory.model_validate({**FACTORY.model_dump(), "account_mandatory": True, "account_example": "project-1"})
STEPS = ("login", "scheduler", "home", "submit", "marks", "start", "entry", "door", "name")


@pytest.fixture(scope="module")
def here() -> Iterator[SlurmCluster]:
    programs = install.program_folder()
    state = programs / "tested-doctor"
    shutil.rmtree(state, ignore_errors=True)
    made = cluster.up(SITE, state, programs / "slurm", gpu_nodes=1, accounting=True)
    yield made
    made.down()
    shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="module")
def remote() -> Iterator[SlurmCluster]:
    """Start the factory of ``here`` once more, behind an sshd that forwards no connections."""
    programs = install.program_folder()
    state = programs / "tested-doctor-remote"
    shutil.rmtree(state, ignore_errors=True)
    isolation = Isolation(forwarding=False, carrier="stdio")
    made = cluster.up(SITE, state, programs / "slurm", gpu_nodes=1, isolation=isolation, accounting=True)
    yield made
    made.down()
    shutil.rmtree(state, ignore_errors=True)


class Visit(NamedTuple):
    code: int
    lines: list[str]

    @property
    def steps(self) -> list[str]:
        """Return the steps that were done."""
        return [line.partition(":")[0] for line in self.lines if line.startswith(STEPS)]


class Doctor:
    """An operator with their own ``link.yaml``, which is written into ``folder``.

    A call runs ``factorygate doctor`` with these words, and returns exit code and output.
    """

    def __init__(self, folder: Path, here: SlurmCluster, capsys: pytest.CaptureFixture[str]) -> None:
        self.here = here
        self._folder = folder
        self._capsys = capsys

    def __call__(self, *words: str, python: str = NOTEBOOK, **access: Any) -> Visit:
        code = cli.main([*self.argv(python, **access), *words])
        said = self._capsys.readouterr()
        return Visit(code, [*said.out.splitlines(), *said.err.splitlines()])

    def argv(self, python: str = NOTEBOOK, **access: Any) -> list[str]:
        """Write the files of the command; return its arguments."""
        environment = Environment(id="here", title="Here", kind="venv", python=python)
        entry = json.loads(SITE.model_dump_json(exclude_unset=True)) | {
            "environments": [json.loads(environment.model_dump_json())],
        }
        catalogue = self._folder / "factories"
        catalogue.mkdir(exist_ok=True)
        (catalogue / f"{SITE.id}.yaml").write_text(yaml.safe_dump(entry))
        told = {**self.here.access_fields(), "session_folder": "~/.factorygate-doctor", **access}
        link = {
            "catalogue": "factories",
            "state_dir": "state",
            "socket": "link.sock",
            "hub": {"token_file": "token"},
            "factories": {SITE.id: json.loads(json.dumps(told, default=str))},
        }
        (self._folder / "link.yaml").write_text(yaml.safe_dump(link))
        return ["doctor", SITE.id, "--link", str(self._folder / "link.yaml")]


@pytest.fixture(autouse=True)
def _on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the doctor wait longer for each step, since other tests run at the same time."""
    for name, seconds in {"_BANNER": 60.0, "_DOOR": 180.0, "_MARKS": 90.0, "_END": 120.0}.items():
        monkeypatch.setattr(f"factorylink.doctor.visit.{name}_SECONDS", seconds)


@pytest.fixture
def visit(here: SlurmCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Doctor]:
    folder = Path(pwd.getpwnam(here.accounts[0]).pw_dir) / ".factorygate-doctor"
    shutil.rmtree(folder, ignore_errors=True)  # of a run of the tests that was killed
    yield Doctor(tmp_path, here, capsys)
    jobs = here.run("squeue", "-h", "-o", "%i %j %T").stdout
    assert "factorygate-hub-doctor" not in jobs, jobs
    assert not folder.exists()
    assert not (tmp_path / "state").exists()


def test_the_doctor_works_over_ssh(remote: SlurmCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    visit, account = Doctor(tmp_path, remote, capsys), remote.accounts[0]
    assert visit().lines[-1] == f"{SITE.id}: all is well."

    def jobs() -> str:
        return remote.run("sacct", "-n", "-P", "-X", "-o", "JobName,Account,QOS,State", account=account).stdout

    # The accounting database receives an end a little later.
    assert eventually(lambda: jobs().startswith("factorygate-hub-doctor|project-1|normal|CANCELLED"), 60), jobs()
    assert not (remote.folder / "homes" / account / ".factorygate-doctor").exists()
    with faults.begin(remote, "auth"):
        fails(visit(), "login", f"does not let us in as {account}")
    with faults.begin(remote, "disk-full", account):
        fails(visit(), "home", "There is no room left")


def test_the_accounting_is_not_seen_from_outside(remote: SlurmCluster) -> None:
    assert remote.network is not None and remote.record.place.accounting is not None
    address, port = remote.network.hosts[LOGIN], remote.record.place.accounting.port
    assert answers(address, port, remote.on("gpu001"))
    assert not answers(address, port)


@pytest.mark.parametrize("door", [{"carrier": "tcp", "listen": "127.0.0.1", "host": "127.0.0.1"}, {"carrier": "stdio"}])
def test_the_doctor_finds_a_working_factory_in_order(visit: Doctor, door: dict[str, str]) -> None:
    code, lines = said = visit(door=door)
    assert code == 0, lines
    assert tuple(said.steps) == STEPS
    assert all(": good; " in line for line in lines[:-1])
    assert f"the carrier {door['carrier']} leads to the door" in lines[STEPS.index("entry")]
    assert lines[-1] == f"{SITE.id}: all is well."


def fails(visit: Visit, step: str, *words: str) -> None:
    """Assert that this step fails with these words, and that no later step runs."""
    assert visit.code == 1
    assert visit.steps == [*STEPS[: STEPS.index(step) + 1]], visit.lines
    said = "\n".join(visit.lines[len(visit.steps) - 1 :])
    assert said.startswith(f"{step}: FAILED. ")
    assert all(word in said for word in words), said
    assert visit.lines[-1] == f"{SITE.id}: not well."


@pytest.mark.parametrize(("option", "part"), [("comment", "comment"), ("job-name", "name")], ids=["comment", "name"])
def test_a_site_that_rewrites_submissions(visit: Doctor, here: SlurmCluster, option: str, part: str) -> None:
    """A program before each command simulates a site's submission filter.

    A job with a changed comment is not cancelled, and the doctor reports this.
    """
    filter = here.folder / "filter"  # site accounts must be able to run it
    filter.write_text(
        f"""#!/bin/sh
for word; do
  if [ "$word" = sbatch ]; then sed 's/^#SBATCH --{option}=.*/#SBATCH --{option}=of-the-site/' | "$@"; exit; fi
done
exec "$@"
"""
    )
    filter.chmod(0o755)
    way = here.access_fields()["transport"]
    assert isinstance(way, dict)
    said = visit(transport={**way, "prefix": [str(filter)]})
    lines = "\n".join(said.lines)
    assert said.code == 1
    assert said.steps == [*STEPS[: STEPS.index("marks") + 1]], lines
    assert f"The factory changed the {part} of the job as it was submitted." in lines
    assert "of-the-site" in lines
    left = here.run("squeue", "-h", "-o", "%i").stdout.split()
    if part == "comment":
        sessions = Path(pwd.getpwnam(here.accounts[0]).pw_dir) / ".factorygate-doctor/sessions"
        (folder,) = sessions.iterdir()
        assert f"clean up: FAILED. Job {left[0]} may still be there, and its folder {folder} is." in lines
        here.run("scancel", left[0])
        assert eventually(lambda: not here.run("squeue", "-h", "-o", "%i").stdout.split(), 60)
        shutil.rmtree(sessions.parent)
    else:
        assert not left
        assert "clean up" not in lines


def test_the_doctor_names_an_account_that_does_not_exist(visit: Doctor) -> None:
    fails(visit("--account", "fg-nobody-at-all"), "login", "There is no such account", "account_pool of link.yaml")


def test_the_doctor_names_a_scheduler_that_is_down(visit: Doctor) -> None:
    with faults.begin(visit.here, "slurmctld-down"):
        fails(visit(), "scheduler", "The factory's scheduler is not answering.")


def test_the_doctor_names_a_session_folder_that_cannot_be_made(visit: Doctor) -> None:
    fails(visit(session_folder="/proc/sessions"), "home", "/proc/sessions")


def test_the_doctor_names_an_account_that_may_not_be_charged(visit: Doctor) -> None:
    fails(visit(job_account="somebody-elses"), "submit", "Your project may not be used", "Invalid account")


@pytest.fixture
def closed(here: SlurmCluster) -> Iterator[None]:
    """Close the partition: it accepts jobs and starts none."""
    words = ("scontrol", "update", "PartitionName=shared")
    assert here.run(*words, "State=DOWN").returncode == 0
    yield
    assert here.run(*words, "State=UP").returncode == 0


@pytest.mark.usefixtures("closed")
def test_the_doctor_names_a_job_that_does_not_start(visit: Doctor) -> None:
    fails(visit("--wait", "0.1"), "start", "closed at the moment", "PartitionDown")


@pytest.mark.usefixtures("closed")
def test_an_interrupted_doctor_leaves_nothing(visit: Doctor) -> None:
    words = [sys.executable, "-m", "factorylink.cli.main", *visit.argv()]
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT / "spawners")}
    with subprocess.Popen(words, env=env, stdout=-1, stderr=-1, text=True) as walking:
        assert walking.stdout is not None and walking.stderr is not None
        while not walking.stdout.readline().startswith("submit: good; "):
            assert walking.poll() is None
        assert "factorygate-hub-doctor" in visit.here.run("squeue", "-h", "-o", "%j").stdout
        walking.send_signal(signal.SIGINT)
        assert walking.wait(timeout=60) == 130
        assert walking.stderr.read() == "Interrupted.\n"


def test_the_doctor_names_a_missing_environment(visit: Doctor) -> None:
    fails(visit(python="/opt/nothing/bin/python"), "entry", "/opt/nothing/bin/python")


def test_the_doctor_names_an_address_at_which_no_door_answers(visit: Doctor) -> None:
    door = {"carrier": "tcp", "listen": "127.0.0.1", "host": "127.0.0.9"}
    fails(visit(door=door), "entry", "127.0.0.9")


def test_the_doctor_names_a_door_that_refuses_the_link(visit: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")

    def with_another_key(config: Any, _key: Any, on_status: Callable[..., None], back: Path) -> DoorManager:
        return DoorManager(config, other, on_status, back)

    monkeypatch.setattr("factorylink.doctor.visit.DoorManager", with_another_key)
    monkeypatch.setattr("factorylink.doctor.visit._BANNER_SECONDS", 30.0)
    fails(visit(), "door", "Permission denied")


def test_the_doctor_says_what_it_cannot_test(visit: Doctor) -> None:
    assert visit("--size", "huge").lines == [f"{SITE.id}: Unknown node size 'huge'; Trial has: gpu-1."]
