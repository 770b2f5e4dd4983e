from __future__ import annotations

import shlex
import socket
import subprocess
import time
from pathlib import Path

import pytest

from factorycommon.models import JobRequest
from factorylink.errors import FactoryError, Gone, Misread, Refused, Unreachable
from factorylink.schedulers.command import Output
from factorylink.schedulers.dialect import Dialect
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.schedulers.slurm.script import TEMPLATE
from tests.unit.scripts import run
from tests.unit.slurm_output import COMMENT, failed


def request(**changes: object) -> JobRequest:
    fields: dict[str, object] = {
        "name": "factorygate-hub", "comment": COMMENT, "partition": "gpu", "gpus": 1, "cores": 8, "memory_gb": 64,
        "walltime": 3600, "output": "/home/alice/.factorygate/sessions/1/job.log",
        "command": ("/opt/python", "-m", "x y"),
    }  # fmt: skip
    return JobRequest.model_validate(fields | changes)


def directives(**changes: object) -> list[str]:
    return [
        line.removeprefix("#SBATCH ") for line in slurm.script(request(**changes)).splitlines() if "#SBATCH" in line
    ]


def test_the_module_is_a_dialect() -> None:
    dialect: Dialect = slurm
    assert dialect.alive().argv == ("scontrol", "ping")


def test_script_has_identity_resources_and_quoted_command() -> None:
    text = slurm.script(request())
    assert text.startswith("#!/bin/bash\n#SBATCH --job-name=factorygate-hub\n")
    assert "exec /opt/python -m 'x y'\n" in text
    assert "umask 077" in text
    assert "PYTHONNOUSERSITE=1" in text
    lines = directives()
    assert "--mem=61035M" in lines
    assert "--time=60" in lines
    assert "--gres=gpu:1" in lines
    assert "--export=NIL" in lines
    assert "--signal=B:USR1@120" in lines
    assert "--chdir=/home/alice/.factorygate/sessions/1" in lines
    assert not any("requeue" in line for line in lines)


def test_a_command_that_would_end_by_the_warning_gets_none() -> None:
    assert not any("--signal" in line for line in directives(warned=False))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpus": 0}, []),
        ({"gpu_syntax": "gres", "gpu_type": "a100"}, ["--gres=gpu:1"]),
        ({"gpu_syntax": "gres-typed", "gpu_type": "a100", "gpus": 2}, ["--gres=gpu:a100:2"]),
        ({"gpu_syntax": "gpus-per-node", "gpus": 8}, ["--gpus-per-node=8"]),
        ({"gpu_syntax": "gpus-per-node", "gpu_type": "a100", "gpus": 8}, ["--gpus-per-node=a100:8"]),
        ({"gpu_syntax": "constraint", "gpus": 8}, []),
        ({"gres": "gpu:a100:1,nvme:1"}, ["--gres=gpu:a100:1,nvme:1"]),
    ],
)
def test_gpu_syntaxes(changes: dict[str, object], words: list[str]) -> None:
    assert [line for line in directives(**changes) if "gres" in line or "gpus" in line] == words


def test_optional_words_appear_only_where_given() -> None:
    plain = directives()
    assert not any(line.startswith(("--account", "--qos", "--constraint", "--reservation")) for line in plain)
    full = directives(account="project_1", qos="normal", constraint="a100", reservation="course")
    assert {"--account=project_1", "--qos=normal", "--constraint=a100", "--reservation=course"} <= set(full)


def test_a_whole_node_takes_all_its_memory() -> None:
    assert {"--exclusive", "--mem=0"} <= set(directives(whole_node=True))


def test_ids_of_an_array() -> None:
    assert slurm.task_of("12", 3) == "12_3"
    assert [slurm.array_of(id) for id in ("12_3", "12", "11[3].vm", "12.pbs_1")] == ["12", None, None, None]


def test_walltime_is_rounded_up_to_minutes() -> None:
    assert "--time=2" in directives(walltime=61)


@pytest.mark.parametrize("word", ["a b", "x\n#SBATCH --uid=0", "-p", "a;b", "$(id)", "a\n", ""])
@pytest.mark.parametrize(
    "field", ["partition", "account", "qos", "constraint", "reservation", "gres", "name", "comment"]
)
def test_no_free_text_reaches_a_directive(field: str, word: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        request(**{field: word})


@pytest.mark.parametrize(
    "template",
    [
        "#!/bin/bash\n{{ resources }}\n{{ command }}",
        "#!/bin/bash\n{{ resources }}\necho hello\n{{ identity }}\n{{ command }}",
        "#!/bin/bash\n{{ identity }}\n#SBATCH --job-name=mine\n{{ command }}",
        "#!/bin/bash\n{{ identity }}\n#SBATCH -J mine\n{{ command }}",
        "{{ identity",
        "{{ identity }}{{ nonsense }}",
        "{{ identity.__class__.__mro__ }}",
        "{% if %}",
    ],
)
def test_a_template_that_loses_the_job_is_refused(template: str) -> None:
    with pytest.raises(Refused, match="template"):
        slurm.script(request(), template)


def test_an_operators_template() -> None:
    text = slurm.script(request(), "#!/bin/zsh\n{{ identity }}\n#SBATCH -c {{ job.cores }}\nsource x\n{{ command }}\n")
    assert "#SBATCH -c 8" in text
    assert text.splitlines()[-3] == "source x"
    assert text.endswith("\nexec /opt/python -m 'x y'\n")
    assert slurm.script(request(), TEMPLATE) == slurm.script(request())


def test_the_job_gets_a_sane_environment(tmp_path: Path) -> None:
    argv = ("/bin/sh", "-c", "env; umask; exit 4")
    ran = run(slurm.script(request(command=argv, setup=("export SITE=one",), output=f"{tmp_path}/log")))
    got = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    assert ran.returncode == 4
    assert got["HOME"] == str(Path("~").expanduser())
    assert got["SITE"] == "one"
    assert got["PYTHONNOUSERSITE"] == "1"
    assert {"USER", "LOGNAME", "PATH", "LANG"} <= got.keys()
    assert ran.stdout.splitlines()[-1] == "0077"


SLURMS = {
    "SLURM_JOB_ID": "12", "SLURM_JOB_END_TIME": "2000000000", "SLURMD_NODENAME": "n7", "SLURM_CPUS_ON_NODE": "16",
    "SLURM_MEM_PER_NODE": "4096", "SLURM_GPUS_ON_NODE": "2", "SLURM_ARRAY_TASK_ID": "3", "SLURM_RESTART_COUNT": "1",
}  # fmt: skip
OURS = {
    "ID": "12", "END": "2000000000", "NODE": "n7", "CORES": "16", "MEMORY_MB": "4096", "GPUS": "2", "INDEX": "3",
    "RESTARTS": "1",
}  # fmt: skip


@pytest.mark.parametrize("template", ["", "#!/bin/bash\n{{ identity }}\n{{ command }}\n"])
def test_the_job_is_told_of_itself_in_words_of_no_scheduler(template: str) -> None:
    ran = run(slurm.script(request(command=("/usr/bin/env",)), template), **SLURMS)
    got = dict(line.split("=", 1) for line in ran.stdout.splitlines() if line.startswith("FACTORYGATE_JOB_"))
    assert got == {f"FACTORYGATE_JOB_{name}": value for name, value in OURS.items()}
    assert slurm.script(request(), template).count("FACTORYGATE_JOB_ID=") == 1


def test_where_slurm_does_not_say_when_a_job_ends_the_script_does() -> None:
    began = time.time()
    ran = run(slurm.script(request(command=("/usr/bin/env",), walltime=61)))
    got = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    assert began + 119 <= int(got["FACTORYGATE_JOB_END"]) <= time.time() + 120  # two minutes were requested
    assert (got["FACTORYGATE_JOB_INDEX"], got["FACTORYGATE_JOB_RESTARTS"]) == ("", "0")
    assert got["FACTORYGATE_JOB_NODE"] == socket.gethostname()


def test_teardown_runs_after_the_command_and_keeps_its_code() -> None:
    ran = run(slurm.script(request(command=("/bin/sh", "-c", "echo first; exit 4"), teardown=("echo second",))))
    assert ran.stdout.splitlines() == ["first", "second"]
    assert ran.returncode == 4


def test_with_teardown_the_warning_reaches_the_command() -> None:
    code = (
        "import os, signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
        "os.kill(os.getppid(), signal.SIGUSR1)\n"
        "print(signal.sigwait([signal.SIGUSR1]).name)"
    )
    ran = run(slurm.script(request(command=("/usr/bin/python3", "-c", code), teardown=("echo bye",))))
    assert ran.stdout.splitlines() == ["SIGUSR1", "bye"]
    assert ran.returncode == 0


def test_the_command_is_quoted_word_by_word() -> None:
    evil = ("/bin/echo", "$(id)", "`id`", "a'b", "x;y", "\n", "--")
    ran = run(slurm.script(request(command=evil)))
    assert ran.stdout == "$(id) `id` a'b x;y \n --\n"
    assert shlex.split(slurm.script(request(command=evil)).split("exec ")[1]) == list(evil)


# --- questions


@pytest.mark.parametrize(
    ("stdout", "job"), [("12\n", "12"), ("12;cluster-a\n", "12"), ("a notice of the site\n13\n", "13")]
)
def test_submit_reads_the_id(stdout: str, job: str) -> None:
    assert slurm.submit("#!/bin/sh").parse(Output(stdout, "", 0)) == job


@pytest.mark.parametrize("stdout", ["", "Submitted batch job 12 and more", "x12\n"])
def test_submit_without_an_id_is_doubtful(stdout: str) -> None:
    with pytest.raises(Misread):
        slurm.submit("#!/bin/sh").parse(Output(stdout, "", 0))


def test_submit_goes_by_stdin_and_arrays_by_count() -> None:
    assert slurm.submit("text").stdin == "text"
    assert slurm.submit("text").argv == ("sbatch", "--parsable")
    assert slurm.submit("text", 200).argv[-1] == "--array=1-200"


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("sbatch: error: submission failed: Unable to contact slurm controller (connect failure)", Unreachable),
        ("slurm_load_jobs error: Socket timed out on send/recv operation", Unreachable),
        ("squeue: error: If munged is up, restart with --num-threads=10\nProtocol authentication error", Unreachable),
        ("slurm_load_jobs error: Slurm backup controller in standby mode", Unreachable),
        ("", Unreachable),
        ("sbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed: Invalid"
         " partition name specified", Refused),
        ("sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size"
         " and/or time limits)", Refused),
        ("sbatch: error: Invalid --mem specification", Refused),
    ],
)  # fmt: skip
def test_failures_are_told_apart(stderr: str, kind: type[FactoryError]) -> None:
    with pytest.raises(FactoryError) as caught:
        slurm.submit("x").parse(failed(stderr))
    assert type(caught.value) is kind
    assert "sbatch: error" not in caught.value.message


def test_a_killed_command_tells_nothing() -> None:
    with pytest.raises(Unreachable):
        slurm.submit("x").parse(failed("some words", -9))
    for words in ("", "scancel: error: Kill job error on job id 12: Invalid job id specified"):
        with pytest.raises(Unreachable):
            slurm.cancel(["12", "13"]).parse(failed(words, -9))


def test_cancel_takes_ids_only() -> None:
    assert slurm.cancel(["12", "13_4"]).argv == ("scancel", "12", "13_4")
    for word in ("--user=root", "12 13", "", "1[2", "x"):
        with pytest.raises(ValueError, match="job id"):
            slurm.cancel([word])


def test_cancel_is_content_with_jobs_that_are_over() -> None:
    slurm.cancel(["12"]).parse(failed("scancel: error: Kill job error on job id 12: Invalid job id specified"))
    slurm.cancel(["12"]).parse(
        failed("scancel: error: Kill job error on job id 12: Job/step already completing or completed")
    )
    with pytest.raises(Refused, match="denied"):
        slurm.cancel(["12"]).parse(
            failed("scancel: error: Kill job error on job id 12: Access/permission denied\nscancel: error: Kill job "
                   "error on job id 13: Invalid job id specified")
        )  # fmt: skip
    with pytest.raises(Unreachable):
        slurm.cancel(["12"]).parse(failed("scancel: error: Unable to contact slurm controller (connect failure)"))


def test_missing_accounting_raises_gone() -> None:
    with pytest.raises(Gone):
        slurm.accounting(["12"]).parse(failed("Slurm accounting storage is disabled"))


@pytest.mark.parametrize(
    ("stdout", "code", "up"),
    [
        ("Slurmctld(primary) at a is UP\n", 0, True),
        ("Slurmctld(primary) at a is DOWN\nSlurmctld(backup) at b is UP\n", 0, True),
        ("Slurmctld(primary) at a is DOWN\n*****\n** RESTORE SLURMCTLD DAEMON TO SERVICE **\n", 1, False),
        ("", 1, False),
    ],
)
def test_the_controller_is_checked_for_life(stdout: str, code: int, up: bool) -> None:
    if up:
        slurm.alive().parse(Output(stdout, "", code))
    else:
        with pytest.raises(Unreachable):
            slurm.alive().parse(Output(stdout, "", code))


def test_enter_ends_its_own_options() -> None:
    argv = slurm.enter("12", ["cat", "--help"])
    assert argv[0] == "srun"
    assert argv[argv.index("--") + 1 :] == ("cat", "--help")
    assert {"--unbuffered", "--overlap"} <= set(argv)


@pytest.mark.parametrize(("code", "kind"), [(0, None), (1, Refused), (127, Unreachable)])
def test_a_list_has_an_end_only_where_its_program_succeeded(
    tmp_path: Path, code: int, kind: type[FactoryError] | None
) -> None:
    """The test is about the shell code, not about Slurm."""
    if code != 127:
        (tmp_path / "squeue").write_text(f"#!/bin/sh\necho words >&2\nexit {code}\n")
        (tmp_path / "squeue").chmod(0o755)
    ask = slurm.jobs("factorygate-hub")
    path = f"{tmp_path}:/usr/bin:/bin" if code != 127 else "/usr/bin:/bin"
    ran = subprocess.run(ask.argv, env={"PATH": path}, capture_output=True, text=True, timeout=110, check=False)
    output = Output(ran.stdout, ran.stderr, ran.returncode)
    if kind is None:
        assert ask.parse(output) == []
    else:
        with pytest.raises(FactoryError) as caught:
            ask.parse(output)
        assert type(caught.value) is kind
