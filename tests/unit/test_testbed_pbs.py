"""The testbed's configuration for PBS, and its message if OpenPBS is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from factorycommon.models import Factory, NodeShape, Partition
from factorylink.catalogue import loading
from testbed import commands as command
from testbed import factories
from testbed.errors import CannotLayOut, CannotRun, NotThere
from testbed.install import environments as install
from testbed.network.login_side import Isolation
from testbed.network.namespaces import Network
from testbed.pbs import layout as pbs_layout
from testbed.pbs import programs as pbs_programs
from testbed.pbs import record as pbs_record
from tests.unit.pbs_output import recorded

HUNTER = loading.load(install.CHECKOUT / "hub_config/factories")["hammerhai"]
EXEC = Path("/opt/pbs")
WIRES = Network(tag="0a", factory="hammerhai", subnet="10.96.0", nodes=("gpu001", "gpu002"), outbound="none")
SCHED_CONFIG = """\
strict_ordering: false\tALL
# resources: "none"
resources: "ncpus, mem, arch, host, vnode, aoe, eoe"
rest
"""


def orders(factory: Factory = HUNTER, nodes: int = 2) -> tuple[str, ...]:
    return pbs_layout.orders(factory, pbs_layout.node_sets(factory, nodes))


def test_hunter_is_laid_out_as_the_catalogue_says() -> None:
    told = orders()
    assert "create resource node_type type=string,flag=h" in told
    assert "create resource ngpus type=long,flag=nh" in told
    assert [line for line in told if " queue interactive " in line] == [
        "create queue interactive queue_type = Execution",
        "set queue interactive resources_max.walltime = 08:00:00",
        "set queue interactive enabled = True",
        "set queue interactive started = True",
    ]
    assert "set server default_queue = interactive" in told
    assert "set server job_history_enable = True" in told
    assert [line.partition("resources_available.")[2] for line in told if line.startswith("set node gpu002 ")] == [
        "ncpus = 96", "mem = 536870912kb", "ngpus = 4", "node_type = mi300a",
    ]  # fmt: skip
    assert len([line for line in orders(nodes=3) if line.startswith("create node gpu")]) == 3


def test_resources_are_created_before_their_use() -> None:
    made: set[str] = set()
    for line in orders():
        verb, kind, name, *_ = line.split()
        if verb == "create":
            made.add(name)
        elif kind != "server":
            assert name in made, line
        for resource in re.findall(r"(?:resources_available|default_chunk|resources_max)\.(\w+)", line):
            assert resource in made | {"mem", "ncpus", "walltime"}, line


def test_queues_of_unlike_nodes_find_theirs() -> None:
    shape = NodeShape(cores=8, memory_gb=32)
    partitions = (
        *(Partition(name="gpu", max_hours=2, default_hours=0.5), Partition(name="whole", whole_node_only=True)),
        Partition(name="cpu", gpus=False, shape=shape),
    )
    told = orders(HUNTER.model_copy(update={"partitions": partitions, "sizes": ()}), nodes=1)
    assert "create resource Qlist type=string_array,flag=h" in told
    assert "set queue cpu default_chunk.Qlist = cpu" in told
    assert 'set node gpu001 resources_available.Qlist = "gpu,whole"' in told
    assert 'set node cpu001 resources_available.Qlist = "cpu"' in told
    assert not [line for line in told if line.startswith("set node cpu001") and "ngpus" in line]
    assert "set queue gpu resources_default.walltime = 00:30:00" in told
    assert "set queue whole resources_default.place = pack:exclhost" in told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scheduler": "slurm"}, "its scheduler is slurm"),
        ({"constraint": "mi300a"}, "not NAME=VALUE"),
        ({"partitions": (Partition(name="a-name-of-sixteen"),), "sizes": ()}, "no queue of the name"),
        ({"partitions": ()}, "no partition"),
    ],
)
def test_values_that_pbs_cannot_express_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(CannotLayOut, match=words):
        orders(HUNTER.model_copy(update=change))


def test_options_that_the_pbs_testbed_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotLayOut, match="no accounting"):
        factories.up(HUNTER, tmp_path, accounting=True)
    with pytest.raises(CannotLayOut, match="stdio"):
        factories.up(HUNTER, tmp_path, isolation=Isolation(carrier="stdio"))


def test_pbs_conf_of_the_login_side_and_of_a_node() -> None:
    of_login, of_node = (pbs_layout.pbs_conf(EXEC, Path("/h"), mom) for mom in (False, True))
    for text in (of_login, of_node):
        values = [pbs_programs.conf_value(text, name) for name in ("PBS_EXEC", "PBS_HOME", "PBS_SERVER")]
        assert values == ["/opt/pbs", "/h", "login01"]
    starts = re.compile(r"^PBS_START_(\w+)=1$", re.M)
    assert (starts.findall(of_login), starts.findall(of_node)) == (["SERVER", "SCHED", "COMM"], ["MOM"])


def test_the_scheduler_is_told_of_the_sites_resources() -> None:
    text = pbs_layout.sched_config(SCHED_CONFIG, ("ngpus", "node_type", "mem"))
    assert 'resources: "ncpus, mem, arch, host, vnode, aoe, eoe, ngpus, node_type"\n' in text
    assert pbs_layout.sched_config(text, ("ngpus",)) == text
    assert text.splitlines()[:2] == ["strict_ordering: true ALL", *SCHED_CONFIG.splitlines()[1:2]]
    assert text.splitlines()[3:] == ["rest"]
    for line in ("resources:", "strict_ordering:"):
        with pytest.raises(CannotLayOut, match=line):
            pbs_layout.sched_config(SCHED_CONFIG.replace(f"\n{line}", "\n#").removeprefix(line), ("ngpus",))


def test_jobs_find_the_programs_and_are_known_as_the_testbeds() -> None:
    conf = Path("/state/hammerhai/pbs.conf")
    text = pbs_layout.job_environment(pbs_layout.environment(EXEC, conf), ("MARK", "/state/hammerhai"))
    assert text.splitlines() == [
        f"PBS_CONF_FILE={conf}", "PATH=/opt/pbs/bin:/usr/local/bin:/usr/bin:/bin", "MARK=/state/hammerhai",
    ]  # fmt: skip


def test_states_of_nodes() -> None:
    told = recorded("pbsnodes-json").stdout
    state = json.loads(told)["nodes"]["vm"]["state"]
    assert pbs_record.states(told, ("vm",)) == {state}
    assert pbs_record.states(told, ("vm", "gpu001")) == {state, "missing"}
    assert pbs_record.states(json.dumps({"nodes": {"n1": {"state": "down,offline"}}}), ("n1",)) == {"down", "offline"}
    assert pbs_record.states("", ("n1",)) == {"missing"}


# --- the programs


def lay(place: Path, *leave_out: str) -> Path:
    """Make stand-ins for OpenPBS' programs in ``place``, except for those in ``leave_out``; return ``place``."""
    for name in set(pbs_programs.WANTED) - set(leave_out):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("#!/bin/sh\necho pbs_version = 23.06.06\n")
        (place / name).chmod(0o755)
    return place


def test_programs_are_found_where_they_are_said_to_be(tmp_path: Path) -> None:
    one, other = lay(tmp_path / "one"), lay(tmp_path / "other")
    conf = tmp_path / "pbs.conf"
    conf.write_text(f'PBS_SERVER=vm\nPBS_EXEC="{other}"\n')
    assert pbs_programs.find({"PBS_EXEC": str(one)}, conf) == pbs_programs.Programs(one, "23.06.06")
    assert pbs_programs.find({}, conf).exec == other
    assert pbs_programs.find({"PBS_CONF_FILE": str(conf)}, tmp_path / "none").exec == other
    assert pbs_programs.places({}, tmp_path / "none") == (pbs_programs.USUAL,)


def test_missing_programs_of_pbs_are_named(tmp_path: Path) -> None:
    place = lay(tmp_path / "pbs", "sbin/pbs_sched", "bin/pbs_attach")
    with pytest.raises(CannotRun) as caught:
        pbs_programs.find({"PBS_EXEC": str(place)}, tmp_path / "none")
    said = str(caught.value)
    assert "bin/pbs_attach, sbin/pbs_sched" in said
    assert f"looked in {place}, /opt/pbs" in said
    assert "PBS_EXEC" in said
    with pytest.raises(CannotRun, match=r"OpenPBS \(looked in"):
        pbs_programs.find({"PBS_EXEC": str(tmp_path / "nowhere")}, tmp_path / "none")
    lay(place)
    (place / "bin/qstat").write_text("#!/bin/sh\necho no library >&2; exit 127\n")
    with pytest.raises(CannotRun, match="no library"):
        pbs_programs.find({"PBS_EXEC": str(place)}, tmp_path / "none")


def test_a_machine_that_cannot_run_them_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = pbs_programs.Programs(lay(tmp_path / "pbs"), "23.06.06")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(CannotRun, match="root, as whom"):
        pbs_programs.check_system(programs)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(CannotRun, match="set-user-id bit"):
        pbs_programs.check_system(programs)
    iff = programs.exec / pbs_programs.IFF
    iff.chmod(iff.stat().st_mode | stat.S_ISUID)
    programs.exec.chmod(0o700)
    with pytest.raises(CannotRun) as caught:
        pbs_programs.check_system(programs)
    assert "set-user-id" not in str(caught.value)
    assert f"{programs.exec} is closed to others" in str(caught.value)


def test_the_command_says_so_and_ends_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pbs_programs, "USUAL", tmp_path / "nowhere")
    monkeypatch.setattr(pbs_programs, "CONF", tmp_path / "none")
    monkeypatch.delenv("PBS_EXEC", raising=False)
    monkeypatch.delenv("PBS_CONF_FILE", raising=False)
    assert command.main(["up", "hammerhai", "--state", str(tmp_path / "state")]) == 3
    said = capsys.readouterr().err
    assert f"a testbed cannot run here: OpenPBS (looked in {tmp_path / 'nowhere'})" in said
    assert not (tmp_path / "state").exists()


def test_a_cluster_is_found_again_by_its_record(tmp_path: Path) -> None:
    record = pbs_record.PbsRecord(
        id="hammerhai", programs=EXEC, version="23.06.06", accounts=("fg-ada",), network=WIRES, isolation=Isolation(),
        orders=(), resources=(),
    )  # fmt: skip
    folder = tmp_path / "hammerhai"
    folder.mkdir()
    record.write(folder)
    assert factories.known(tmp_path) == ["hammerhai"]
    found = factories.load(tmp_path, "hammerhai")
    assert (found.pids, found.nodes, found.root) == ({}, ("gpu001", "gpu002"), True)
    (folder / pbs_record.FILE).write_text("{}")
    with pytest.raises(NotThere):
        factories.load(tmp_path, "hammerhai")


def test_a_pid_that_is_somebody_elses_is_no_daemon(tmp_path: Path) -> None:
    lock = tmp_path / "server_priv/server.lock"
    lock.parent.mkdir()
    for text in (f"{os.getpid()}\n", "", "none\n"):
        lock.write_text(text)
        assert pbs_record.daemon(EXEC, tmp_path, pbs_record.SERVER) is None
    assert pbs_record.daemon(EXEC, tmp_path, pbs_record.MOM) is None
    # The same file, locked by a program in the place of PBS' program.
    place = tmp_path / "pbs"
    (place / "sbin").mkdir(parents=True)
    shutil.copy("/bin/sleep", place / "sbin/pbs_server.bin")
    with subprocess.Popen([place / "sbin/pbs_server.bin", "60"]) as process:
        lock.write_text(f"{process.pid}\n")
        found = pbs_record.daemon(place, tmp_path, pbs_record.SERVER)
        process.kill()
    assert found is not None
    assert found.pid == process.pid


def test_down_ends_every_cluster_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stand:
        def __init__(self, name: str) -> None:
            self.name = name

        def down(self) -> None:
            ended.append(self.name)

    ended: list[str] = []
    monkeypatch.setattr(factories, "load", lambda _state, name: Stand(name))
    assert command.main(["down", "a", "b", "--state", str(tmp_path)]) == 0
    assert sorted(ended) == ["a", "b"]
