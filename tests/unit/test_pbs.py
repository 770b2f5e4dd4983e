from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from factorylink.catalogue import job_request
from factorylink.config import Access
from factorylink.errors import Gone, LinkError, Misread, Refused, Unreachable
from factorylink.models import JobOptions, JobRequest, ResolvedChoice
from factorylink.schedulers import pbs
from factorylink.schedulers.arrays import array_of, task_of
from factorylink.schedulers.ask import Output
from factorylink.schedulers.batch_script import TEMPLATE
from factorylink.schedulers.dialect import Dialect
from tests.unit.pbs_output import COMMENT, NAME, answer, failed, job, recorded
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


def test_the_module_is_a_dialect() -> None:
    dialect: Dialect = pbs
    assert dialect.alive().argv == ("qstat", "-B", "-f", "-F", "json")


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
    assert not any(line.startswith("-V") for line in lines)  # nothing of ours is forwarded


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpus": 0}, "1:ncpus=8:mem=62500000kb"),
        ({"gpus": 4}, "1:ncpus=8:mem=62500000kb:ngpus=4"),
        ({"constraint": "gpu_model=a100"}, "1:ncpus=8:mem=62500000kb:ngpus=1:gpu_model=a100"),
        ({"gres": "accelerators=2"}, "1:ncpus=8:mem=62500000kb:accelerators=2"),
        ({"gpu_syntax": "constraint", "constraint": "node_type=mi300a", "whole_node": True}, "1:node_type=mi300a"),
    ],
)
def test_chunks(changes: dict[str, object], words: str) -> None:
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


def test_optional_words_appear_only_where_given() -> None:
    assert not any(line.startswith(("-A", "-P")) for line in directives())
    assert "-A project_1" in directives(account="project_1")
    assert "-q R12" in directives(reservation="R12.srv")  # to PBS a reservation is a queue


def test_a_whole_node_is_nobody_elses() -> None:
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
def test_what_pbs_has_no_words_for_is_refused(changes: dict[str, object]) -> None:
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


def run(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    bare = {"PATH": "/usr/bin:/bin"} | env
    return subprocess.run(
        ["bash", "-s"], input=script, env=bare, capture_output=True, text=True, timeout=20, check=False
    )


def test_the_job_writes_its_log_and_gets_a_sane_environment(tmp_path: Path) -> None:
    script = tmp_path / "script"
    argv = ("/bin/sh", "-c", "env; pwd; umask; exit 4")
    script.write_text(pbs.script(request(command=argv, setup=("export SITE=one",), output=f"{tmp_path}/job.log")))
    for _ in range(2):  # started again, it goes on in the same log
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


@pytest.mark.parametrize("piped", ["name", "script"])
def test_it_runs_as_pbs_starts_it(tmp_path: Path, piped: str) -> None:
    """A login shell gets the script's name on its standard input; where PBS was built so, the script itself."""
    script = tmp_path / "12.vm.SC"
    asked = request(command=("/bin/echo", "here"), teardown=("echo bye",), output=f"{tmp_path}/job.log")
    script.write_text(pbs.script(asked))
    script.chmod(0o700)
    given = f"{script}\n" if piped == "name" else script.read_text()
    ran = subprocess.run(
        ["bash", "--login"], input=given, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, capture_output=True,
        text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, "")
    assert (tmp_path / "job.log").read_text() == "here\nbye\n"


def test_each_job_of_an_array_has_a_log_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(pbs.script(request(command=("/bin/echo", "here"), output=f"{tmp_path}/batch-%a.log")))
    run(f"exec /bin/bash {script}", PBS_ARRAY_INDEX="7")
    assert (tmp_path / "batch-7.log").read_text() == "here\n"
    assert f"#PBS -o {tmp_path}/batch-^array_index^.log.pbs" in script.read_text().splitlines()


def test_a_job_without_its_folder_fails(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(pbs.script(request(command=("/bin/echo", "here"), output=f"{tmp_path}/gone/job.log")))
    assert run(f"exec /bin/bash {script}").returncode == 1


# --- asks


@pytest.mark.parametrize(
    ("stdout", "id"), [("12.vm\n", "12.vm"), ("a notice\n13.pbs-1.example.org\n", "13.pbs-1.example.org")]
)
def test_submit_reads_the_id(stdout: str, id: str) -> None:
    assert pbs.submit("#!/bin/sh").parse(Output(stdout, "", 0)) == id


def test_submit_of_an_array() -> None:
    assert pbs.submit("x", 4).parse(recorded("qsub-array")) == "11[].vm"
    assert pbs.submit("x").parse(recorded("qsub-ok")) == "9.vm"
    for count, name in ((1, "qsub-array"), (4, "qsub-ok")):
        with pytest.raises(Misread):
            pbs.submit("x", count).parse(recorded(name))


@pytest.mark.parametrize("stdout", ["", "12", "x12.vm\n", "12.vm and more"])
def test_submit_without_an_id_is_doubtful(stdout: str) -> None:
    with pytest.raises(Misread):
        pbs.submit("#!/bin/sh").parse(Output(stdout, "", 0))


def test_submit_goes_by_stdin_and_arrays_by_count() -> None:
    assert pbs.submit("text").stdin == "text"
    assert pbs.submit("text").argv == ("qsub", "-f")
    assert pbs.submit("text", 200).argv == ("qsub", "-f", "-J", "1-200")


def test_ids_of_an_array() -> None:
    assert [task_of("11[].vm", 3), task_of("12", 3)] == ["11[3].vm", "12_3"]
    assert [array_of("11[3].vm"), array_of("12_3"), array_of("12"), array_of("12.pbs_1")] == [
        "11[].vm", "12", "12", "12.pbs_1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        (recorded("qsub-server-down"), Unreachable),
        (failed("qsub: cannot connect to server vm (errno=15010)", 162), Unreachable),
        (failed("qsub: Request not allowed: Server shutting down", 212), Unreachable),
        (failed("No Permission.\nqsub: cannot connect to server vm (errno=15007)", 159), Unreachable),
        (failed("sh: 1: qselect: not found", 2), Unreachable),
        (failed(""), Unreachable),
        (failed("some words", -9), Unreachable),
        (recorded("qsub-unknown-queue"), Refused),
        (recorded("qsub-bad-select"), Refused),
        (recorded("qsub-walltime-over-limit"), Refused),
        (failed("qsub: Unauthorized Request ", 159), Refused),
        (failed("qsub: a hook's own words", 1), Refused),
        (failed("qsub: project p1 not found", 1), Refused),
    ],
)
def test_failures_are_told_apart(output: Output, kind: type[LinkError]) -> None:
    with pytest.raises(LinkError) as caught:
        pbs.submit("x").parse(output)
    assert type(caught.value) is kind
    assert "qsub:" not in caught.value.message


def test_cancel_takes_ids_only() -> None:
    assert pbs.cancel(["12.vm", "13[4].vm", "13[].vm"]).argv == ("qdel", "12.vm", "13[4].vm", "13[].vm")
    for word in ("-Wforce", "12", "12 13", "", "1[2.vm", "x", "12.vm\n"):
        with pytest.raises(ValueError, match="job id"):
            pbs.cancel([word])


def test_cancel_is_content_with_jobs_that_are_over() -> None:
    pbs.cancel(["9999.vm"]).parse(recorded("qdel-unknown-job"))
    pbs.cancel(["12.vm"]).parse(failed("qdel: Job has finished 12.vm", 35))
    pbs.cancel(["12.vm"]).parse(failed("qdel: Delete already in progress 12.vm", 238))
    with pytest.raises(Refused, match="Unauthorized"):
        pbs.cancel(["1.vm"]).parse(recorded("qdel-not-owner"))
    with pytest.raises(Refused, match="Unauthorized"):
        pbs.cancel(["1.vm"]).parse(failed("qdel: Unauthorized Request  1.vm\nqdel: Unknown Job Id 2.vm", 153))
    for output in (recorded("qdel-server-down"), failed("", -9), failed("", 1)):
        with pytest.raises(Unreachable):
            pbs.cancel(["1.vm"]).parse(output)


def test_extend() -> None:
    assert pbs.extend("12.vm", 90).argv == ("qalter", "-l", "walltime=01:30:00", "12.vm")
    pbs.extend("12.vm", 90).parse(Output("", "", 0))
    with pytest.raises(Refused, match="Unauthorized"):
        pbs.extend("12.vm", 90).parse(failed("qalter: Unauthorized Request  12.vm", 159))
    for job_id, minutes in (("12", 90), ("12.vm", 0), ("-Wx", 90)):
        with pytest.raises(ValueError, match=r"job id|no time"):
            pbs.extend(job_id, minutes)


def test_a_history_that_is_not_kept_is_gone() -> None:
    with pytest.raises(Gone):
        pbs.accounting(["12.vm"]).parse(failed("qstat: PBS is not configured to maintain job history", 36))
    with pytest.raises(ValueError, match="job id"):
        pbs.accounting(["--version"])


def test_alive() -> None:
    pbs.alive().parse(recorded("qstat-server-json"))
    with pytest.raises(Unreachable):
        pbs.alive().parse(recorded("qstat-server-down"))
    with pytest.raises(Unreachable):
        pbs.alive().parse(Output("", "", 0))


def test_when_it_would_start_cannot_be_asked() -> None:
    assert pbs.estimate(pbs.script(request())) is None


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """Programs that print how they were called: the shell's part is tried, not PBS."""
    for name in ("qstat", "pbs_attach", "ssh"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
    (tmp_path / "qselect").write_text('#!/bin/sh\necho "$@" >&2\nprintf "$IDS"\nexit $CODE\n')
    for name in ("qstat", "pbs_attach", "ssh", "qselect"):
        (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


def ran(argv: tuple[str, ...], env: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=env | more, capture_output=True, text=True, timeout=20, check=False, cwd="/")


def test_only_jobs_of_the_name_are_asked_for(programs: dict[str, str]) -> None:
    asked = ran(pbs.jobs(NAME).argv, programs, IDS="12.vm\\n13[].vm\\n", CODE="0")
    assert (asked.stderr, asked.stdout) == (f"-N {NAME}\n", "qstat -E -t -f -F json 12.vm 13[].vm\n")
    none = ran(pbs.jobs(NAME).argv, programs, IDS="", CODE="0")
    assert pbs.jobs(NAME).parse(Output(none.stdout, none.stderr, none.returncode)) == []
    down = ran(pbs.jobs(NAME).argv, programs, IDS="", CODE="162")
    with pytest.raises(Unreachable):
        pbs.jobs(NAME).parse(Output(down.stdout, "qselect: cannot connect to server vm (errno=15010)", down.returncode))
    over = ran(pbs.ended(NAME).argv, programs, IDS="".join(f"{n}.vm\\n" for n in range(300)), CODE="0")
    assert over.stderr == f"-x -s F -N {NAME}\n"
    assert over.stdout.split()[:8] == ["qstat", "-E", "-x", "-t", "-f", "-F", "json", "100.vm"]
    assert over.stdout.split()[-1] == "299.vm"


def test_jobs_that_are_gone_meanwhile_are_missing() -> None:
    question = pbs.jobs(NAME)
    assert [found.id for found in question.parse(recorded("qstat-one-known-one-unknown"))] == ["0.vm"]
    assert question.parse(recorded("qstat-unknown-job")) == []
    assert question.parse(recorded("qstat-finished-without-x")) == []
    with pytest.raises(Unreachable):
        question.parse(recorded("qstat-server-down"))
    several = Output(answer(job()).stdout, "qstat: cannot connect to server vm\nqstat: Unknown Job Id 1.vm", 153)
    with pytest.raises(Unreachable):  # also where the last error was about an unknown job
        question.parse(several)


def test_entering_is_done_on_the_jobs_node(programs: dict[str, str], tmp_path: Path) -> None:
    inside = ["/opt/my python", "-m", "$(id)", "--help"]
    argv = pbs.enter("12.vm", inside, "n1")
    there = ran(argv, programs)
    assert there.stdout == f"ssh -o BatchMode=yes -- n1 {shlex.join(['pbs_attach', '-j', '12.vm', '--', *inside])}\n"
    here = ran(pbs.enter("12.vm", inside, subprocess.check_output(["hostname"], text=True).strip()), programs)
    assert here.stdout == f"pbs_attach -j 12.vm -- {' '.join(inside)}\n"
    assert here.returncode == 0
    for node in (None, "-oProxyCommand=x", "a b", ""):
        with pytest.raises(Unreachable):
            pbs.enter("12.vm", inside, node)
    with pytest.raises(ValueError, match="job id"):
        pbs.enter("12", inside, "n1")
