from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factorycommon.models import JobOptions, JobRequest, ResolvedChoice
from factorylink.catalogue.loading import job_request
from factorylink.config import Access
from factorylink.errors import Refused
from factorylink.schedulers.batch_script import TEMPLATE
from factorylink.schedulers.pbs import dialect as pbs
from tests.unit.pbs_output import COMMENT, NAME
from tests.unit.scripts import run
from tests.unit.site_fakes import factory


def request(**changes: object) -> JobRequest:
    fields: dict[str, object] = {
        "name": "factorygate-hub", "comment": COMMENT, "partition": "gpu", "gpus": 1, "cores": 8, "memory_gb": 64,
        "walltime": 3600, "output": "/home/alice/.factorygate/sessions/1/job.log",
        "command": ("/opt/python", "-m", "x y"),
    }  # fmt: skip
    return JobRequest.model_validate(fields | changes)


def directives(**changes: object) -> list[str]:
    return [line.removeprefix("#PBS ") for line in pbs.script(request(**changes)).splitlines() if "#PBS" in line]


def select(**changes: object) -> str:
    (line,) = [line for line in directives(**changes) if line.startswith("-l select=")]
    return line.removeprefix("-l select=")


def test_script_has_identity_resources_and_quoted_command() -> None:
    text = pbs.script(request())
    assert text.startswith(f"#!/bin/bash\n#PBS -N factorygate-hub\n#PBS -v FACTORYGATE_JOB={COMMENT}\n")
    assert "exec /opt/python -m 'x y'\n" in text
    assert "umask 077" in text
    assert "PYTHONNOUSERSITE=1" in text
    lines = directives()
    assert {
        "-q gpu",
        "-l walltime=01:00:00",
        "-l place=pack",
        "-S /bin/bash",
        "-j oe",
        "-R oe",
        "-m n",
        "-W umask=077",
    } <= set(lines)
    assert "-o /home/alice/.factorygate/sessions/1/job.log.pbs" in lines
    assert select() == "1:ncpus=8:mem=62500000kb:ngpus=1"
    assert not any(line.startswith("-V") for line in lines)  # nothing of our environment is forwarded


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpus": 0}, "1:ncpus=8:mem=62500000kb"),
        ({"gpus": 4}, "1:ncpus=8:mem=62500000kb:ngpus=4"),
        ({"constraint": "gpu_model=a100"}, "1:ncpus=8:mem=62500000kb:ngpus=1:gpu_model=a100"),
        ({"gres": "accelerators=2"}, "1:ncpus=8:mem=62500000kb:accelerators=2"),
        ({"gpu_syntax": "constraint", "constraint": "node_type=mi300a", "whole_node": True}, "1:node_type=mi300a"),
        (
            {"gpu_syntax": "constraint", "constraint": "node_type=mi300a", "gres": "licence=1"},
            "1:licence=1:node_type=mi300a",
        ),
    ],
)
def test_the_resources_are_requested_as_one_chunk(changes: dict[str, object], words: str) -> None:
    assert select(**changes) == words


def test_whole_nodes_by_their_type_from_the_catalogue() -> None:
    syntax = {"scheduler": "pbs", "gpu_syntax": "constraint", "constraint": "node_type=mi300a"}
    entry = factory().model_copy(update=syntax)
    resolved = ResolvedChoice(
        factory=entry.id, size=entry.sizes[0].id, environment=entry.environments[0].id, hours=2, idle_minutes=5,
        unopened_minutes=5,
    )  # fmt: skip
    asked = job_request(
        entry, Access(account_pool=("ada",)), resolved, JobOptions(), name=NAME, comment=COMMENT, folder="/h/s", argv=[]
    )
    lines = pbs.script(asked).splitlines()
    assert "#PBS -l select=1:node_type=mi300a" in lines
    assert "#PBS -l walltime=02:00:00" in lines


class Node:
    """A node on which PBS assigns no GPUs: ``nvidia-smi`` lists four, and the locks are in a folder of this test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = f"{os.getpid()}{time.monotonic_ns()}"
        self.locks = Path(f"/tmp/factorygate-gpus-{self.number}")  # the folder that the script uses
        self.env = {
            "BASH_FUNC_nvidia-smi%%": "() { printf '0\\n1\\n2\\n3\\n'; }",
            "BASH_FUNC_id%%": f"() {{ echo {self.number}; }}",
            "HOME": str(folder),
            "PATH": "/usr/bin:/bin",
        }
        self.running: list[subprocess.Popen[bytes]] = []

    def script(self, **changes: object) -> str:
        seen = 'echo "${CUDA_VISIBLE_DEVICES-none}" >"$1.new" && mv "$1.new" "$1" && exec sleep 600'
        self.said = self.folder / f"said-{len(self.running)}-{time.monotonic_ns()}"
        fields = {"output": f"{self.folder}/job.log", "command": ("/bin/bash", "-c", seen, "sh", str(self.said))}
        return pbs.script(request(**(fields | changes)))

    def starts(self, **changes: object) -> str:
        """Start a job that keeps running; return its ``CUDA_VISIBLE_DEVICES``."""
        script = self.script(**changes)
        self.running.append(subprocess.Popen(["/bin/bash", "-c", script], env=self.env, start_new_session=True))
        deadline = time.monotonic() + 120
        while not self.said.exists():
            assert time.monotonic() < deadline, (self.folder / "job.log").read_text()
            assert self.running[-1].poll() is None, (self.folder / "job.log").read_text()
            time.sleep(0.01)
        return self.said.read_text().strip()

    def ends(self, number: int) -> None:
        os.killpg(self.running[number].pid, signal.SIGKILL)
        self.running[number].wait()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    for number, job in enumerate(made.running):
        if job.poll() is None:
            made.ends(number)
    shutil.rmtree(made.locks, ignore_errors=True)


def test_jobs_on_a_node_where_pbs_says_no_gpu_take_different_ones(node: Node) -> None:
    assert [node.starts(), node.starts(gpus=2), node.starts()] == ["0", "1,2", "3"]
    node.ends(1)
    assert node.starts() == "1"  # a lock ends with its job, however the job ends
    assert node.starts(gpus=2) == "2"
    assert "of 2 GPUs 1 are not another job's" in (node.folder / "job.log").read_text()


@pytest.mark.parametrize(
    ("env", "changes", "has"),
    [
        ({"CUDA_VISIBLE_DEVICES": "GPU-7"}, {}, "GPU-7"),  # set by a hook of the site
        ({"ROCR_VISIBLE_DEVICES": "1"}, {}, "none"),
        ({"BASH_FUNC_nvidia-smi%%": "() { echo 0; }"}, {}, "none"),  # a hook hides the other GPUs
        ({"BASH_FUNC_nvidia-smi%%": "() { return 1; }"}, {}, "none"),
        ({}, {"gpus": 4}, "none"),  # all GPUs of the node
        ({}, {"gpus": 0}, "none"),
        ({}, {"whole_node": True}, "none"),
    ],
)
def test_a_job_whose_gpus_are_known_or_all_takes_none(
    node: Node, env: dict[str, str], changes: dict[str, object], has: str
) -> None:
    node.env |= env
    assert node.starts(**changes) == has


def test_a_folder_of_somebody_else_is_not_used(node: Node) -> None:
    elsewhere = node.folder / "elsewhere"
    elsewhere.mkdir()
    node.locks.symlink_to(elsewhere)
    try:
        assert node.starts() == "none"
        assert list(elsewhere.iterdir()) == []
    finally:
        node.locks.unlink()


def test_optional_words_appear_only_where_given() -> None:
    assert not any(line.startswith(("-A", "-P")) for line in directives())
    assert "-A project_1" in directives(account="project_1")
    assert "-q R12" in directives(reservation="R12.srv")  # in PBS a reservation is a queue


def test_a_job_with_a_whole_node_shares_it_with_nobody() -> None:
    assert "-l place=pack:exclhost" in directives(whole_node=True)


@pytest.mark.parametrize(("seconds", "clock"), [(61, "00:01:01"), (86400, "24:00:00"), (400000, "111:06:40")])
def test_walltime(seconds: int, clock: str) -> None:
    assert f"-l walltime={clock}" in directives(walltime=seconds)


@pytest.mark.parametrize("word", ["a b", "x\n#PBS -u root", "-p", "a;b", "$(id)", "a\n", ""])
@pytest.mark.parametrize(
    "field", ["partition", "account", "qos", "constraint", "reservation", "gres", "name", "comment"]
)
def test_no_free_text_reaches_a_directive(field: str, word: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        request(**{field: word})


@pytest.mark.parametrize(
    "changes",
    [
        {"qos": "normal"}, {"gpu_type": "a100"}, {"constraint": "a100"}, {"constraint": "a=1+1:ncpus=9"},
        {"gres": "ngpus=1,walltime=99:00:00"}, {"gpu_syntax": "constraint"}, {"comment": "a,PATH=x"}, {"name": "1a"},
        {"name": "a:b"},
    ],
)  # fmt: skip
def test_requests_that_pbs_cannot_express_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Refused):
        pbs.script(request(**changes))


@pytest.mark.parametrize(
    "template",
    [
        "#!/bin/bash\n{{ resources }}\n{{ environment }}\n{{ command }}",
        "#!/bin/bash\n{{ resources }}\necho hello\n{{ identity }}\n{{ environment }}\n{{ command }}",
        "#!/bin/bash\n{{ identity }}\n#PBS -N mine\n{{ environment }}\n{{ command }}",
        "#!/bin/bash\n{{ identity }}\n#PBS -Nmine\n{{ environment }}\n{{ command }}",
        "#!/bin/bash\n{{ identity }}\n#PBS -l ncpus=1 -v OTHER=1\n{{ environment }}\n{{ command }}",
        "#!/bin/bash\n{{ identity }}\n#PBS -V\n{{ environment }}\n{{ command }}",
        "#!/bin/bash\n{{ identity }}\n{{ resources }}\n{{ command }}",  # no log
        "{{ identity",
        "{{ identity }}{{ nonsense }}",
        "{{ identity.__class__.__mro__ }}",
        "{{ identity }}{{ 1 // 0 * job.cores }}",  # errors that are not jinja2's
        "{{ identity }}{{ identity + job.cores }}",
    ],
)
def test_a_template_that_loses_the_job_or_its_log_is_refused(template: str) -> None:
    with pytest.raises(Refused, match="template"):
        pbs.script(request(), template)


def test_an_operators_template() -> None:
    text = pbs.script(
        request(),
        "#!/bin/zsh\n{{ identity }}\n#PBS -l ncpus={{ job.cores }}\n{{ environment }}\nsource x\n{{ command }}\n",
    )
    assert "#PBS -l ncpus=8" in text
    assert text.endswith("source x\nexec /opt/python -m 'x y'\n")
    assert pbs.script(request(), TEMPLATE) == pbs.script(request())


def test_the_job_writes_its_log_and_gets_a_sane_environment(tmp_path: Path) -> None:
    script = tmp_path / "script"
    argv = ("/bin/sh", "-c", "env; pwd; umask; exit 4")
    script.write_text(pbs.script(request(command=argv, setup=("export SITE=one",), output=f"{tmp_path}/job.log")))
    for _ in range(2):  # a requeued job continues in the same log
        ran = run(f"exec /bin/bash {script}")
        assert (ran.returncode, ran.stdout, ran.stderr) == (4, "", "")
    log = (tmp_path / "job.log").read_text().splitlines()
    got = dict(line.split("=", 1) for line in log if "=" in line)
    assert (tmp_path / "job.log").stat().st_mode & 0o777 == 0o600
    assert got["SITE"] == "one"
    assert {"HOME", "USER", "LOGNAME", "PATH", "LANG"} <= got.keys()
    assert int(got["FACTORYGATE_JOB_END"]) > 1_700_000_000
    assert log[-2:] == [str(tmp_path), "0077"]
    assert log.count("SITE=one") == 2


def test_the_job_is_told_of_itself_in_words_of_no_scheduler(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(pbs.script(request(command=("/usr/bin/env",), output=f"{tmp_path}/job.log", gpus=0)))
    run(f"exec /bin/bash {script}", PBS_JOBID="12[3].vm", NCPUS="16", PBS_ARRAY_INDEX="3")
    log = (tmp_path / "job.log").read_text().splitlines()
    got = dict(line.removeprefix("FACTORYGATE_JOB_").split("=", 1) for line in log if "FACTORYGATE_JOB_" in line)
    got.pop("END")
    memory = str(int(request().memory_gb * 10**9) // 2**20)
    assert got == {
        "ID": "12[3].vm", "NODE": socket.gethostname(), "CORES": "16", "MEMORY_MB": memory, "GPUS": "0", "INDEX": "3",
        "RESTARTS": "0",
    }  # fmt: skip


@pytest.mark.parametrize("piped", ["name", "script"])
def test_the_script_runs_as_pbs_starts_it(tmp_path: Path, piped: str) -> None:
    """A login shell reads the script's name from stdin; some PBS builds pass the script itself."""
    script = tmp_path / "12.vm.SC"
    asked = request(command=("/bin/echo", "here"), teardown=("echo bye",), output=f"{tmp_path}/job.log")
    script.write_text(pbs.script(asked))
    script.chmod(0o700)
    given = f"{script}\n" if piped == "name" else script.read_text()
    ran = subprocess.run(
        ["bash", "--login"], input=given, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, capture_output=True,
        text=True, timeout=110, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, "")
    assert (tmp_path / "job.log").read_text() == "here\nbye\n"


def test_each_job_of_an_array_has_a_log_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(pbs.script(request(command=("/bin/echo", "here"), output=f"{tmp_path}/batch-%INDEX%.log")))
    run(f"exec /bin/bash {script}", PBS_ARRAY_INDEX="7")
    assert (tmp_path / "batch-7.log").read_text() == "here\n"
    assert f"#PBS -o {tmp_path}/batch-^array_index^.log.pbs" in script.read_text().splitlines()


def test_a_job_without_its_folder_fails(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(pbs.script(request(command=("/bin/echo", "here"), output=f"{tmp_path}/gone/job.log")))
    assert run(f"exec /bin/bash {script}").returncode == 1
