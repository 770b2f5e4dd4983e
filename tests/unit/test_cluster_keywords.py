"""The meaning of dask-jobqueue's keywords for a FactoryCluster, and the messages for keywords without a meaning."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dask
import pytest
from dask_jobqueue.slurm import SLURMJob
from distributed.security import Security

from factorycommon.models import NodeSize
from factorygate import FactoryCluster
from factorygate.cluster import keywords
from factorygate.cluster import worker_place as place
from factorygate.cluster.job import FactoryJob
from factorygate.cluster.keys import Keys
from factorygate.cluster.worker_place import WorkerPlace
from tests.support.choice_answers import choice_answers
from tests.unit.fake_factory import factory


def size(id: str, gpus: int, cores: int, memory_gb: float, max_hours: float = 24) -> NodeSize:
    return NodeSize(id=id, gpus=gpus, cores=cores, memory_gb=memory_gb, max_hours=max_hours, partition="gpu")


SIZES = (
    size("gpu-4", 4, 32, 490),
    size("short", 1, 8, 122, 0.5),
    size("gpu-1", 1, 8, 122),
    size("cpu", 0, 4, 16),
)


@pytest.fixture(autouse=True)
def _catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    one = factory()
    site = one.site.model_copy(update={"machine": "One"})
    answer = choice_answers(one.model_copy(update={"sizes": SIZES, "site": site}))
    monkeypatch.setattr(place, "get_now", answer)
    for name in ("ENVIRONMENT", "HUB_SOCKET"):
        monkeypatch.delenv(f"FACTORYGATE_{name}", raising=False)
    for name, value in (("FACTORY", "one"), ("SIZE", "gpu-1"), ("URL", "http://nowhere.invalid"), ("TOKEN", "none")):
        monkeypatch.setenv(f"FACTORYGATE_{name}", value)


@pytest.fixture(autouse=True)
def _configuration() -> Iterator[None]:
    with dask.config.set({}):
        yield


def test_a_job_on_a_whole_node_counts_all_gpus_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = size("whole", 1, 8, 122).model_copy(update={"whole_node": True})
    one = factory().model_copy(update={"sizes": (whole,)})
    monkeypatch.setattr(place, "get_now", choice_answers(one))
    found = place.find(None, "whole", None, 1, None)
    assert found.gpus == one.gpu(one.partition("gpu")).per_node > 1


# --- every keyword has a meaning, or a message that says what to use instead

MEANT = {
    *("scheduler", "name", "cores", "memory", "processes", "nanny", "protocol", "security", "interface", "walltime"),
    *("death_timeout", "local_directory", "extra", "worker_extra_args", "config_name", "project"),
}
# keywords that do not concern jobs
OF_A_CLUSTER = {"dashboard_address", "host", "scheduler_cls", "shared_temp_directory"}


def test_every_keyword_of_a_slurm_cluster_is_meant_or_refused() -> None:
    theirs = {name for made in (SLURMJob, SLURMJob.__base__) for name in inspect.signature(made).parameters}
    assert theirs - {"base_class_kwargs"} == MEANT | keywords.INSTEAD.keys() - OF_A_CLUSTER


@pytest.mark.parametrize("word", keywords.INSTEAD)
def test_unsupported_keywords_are_refused_with_an_alternative(word: str) -> None:
    for made in (lambda: FactoryCluster(**{word: "x"}), lambda: FactoryJob(cores=1, memory="1 GB", **{word: "x"})):
        with pytest.raises(ValueError, match=rf"{word}='x' cannot be said here: .{{20,}}"):
            made()


@pytest.mark.parametrize("wrong", ["there", "Job", "", True])
def test_a_scheduler_elsewhere_than_here_or_in_a_job_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"scheduler={wrong!r} is not known; allowed: 'here', 'job'"):
        FactoryCluster(scheduler=wrong)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"nanny": False}, "under a nanny"),
        ({"security": False}, "speaks TLS"),
        ({"protocol": "tcp://"}, "speaks TLS"),
        ({"name": "kept", "security": Security()}, "for a cluster without a name"),
        ({"scheduler": "job", "scheduler_options": {"port": 1}}, "for a cluster without a name"),
        ({"security": Security()}, "lacks a CA file"),
        ({"name": "test-$VARIABLE"}, "no shell reads it"),
        ({"name": "n" * 60}, "cannot be a cluster's"),
        ({"hours": 1, "walltime": "1:00:00"}, "say the same"),
        ({"walltime": "soon"}, "hours=1.5"),
        ({"size": "gpu-1", "cores": 9}, "gpu-1 has 8 cores and 122 GB"),
        ({"size": "gpu-1", "memory": "200 GB"}, "gpu-1 has 8 cores and 122 GB"),
        ({"cores": 64}, r"No node size of One has 64 cores .* gpu-4 \(32 cores, 490 GB\)"),
        ({"cores": 2, "processes": 3}, "has 2 cores: too few for 3 workers"),
        ({"cores": 4, "memory": "16 GB", "hours": 30}, "for 30 h"),
        ({"worker_extra_args": ["--nthreads", "3"]}, "--nthreads cannot be said here; --preload and --resources can"),
        ({"worker_extra_args": ["--resources"]}, "worker_extra_args: .*--resources"),
        ({"worker_extra_args": ["--resources", "GPU"]}, "worker_extra_args: .*--resources"),
    ],
)
def test_invalid_values_are_refused_before_any_request(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FactoryCluster(**said)


def test_empty_options_are_not_sent() -> None:
    keywords.refuse({"queue": None, "job_extra_directives": [], "job_script_prologue": (), "nanny": True})


# --- meanings


@pytest.mark.parametrize(
    ("walltime", "hours"),
    [
        ("90", 1.5), (90, 1.5), ("45:00", 0.75), ("1:30:00", 1.5), ("00:02", 1 / 60), ("0:02:01", 3 / 60),
        ("1-12", 36), ("1-12:30", 36.5), ("1-0:0:0", 24), (timedelta(minutes=90), 1.5),
    ],
)  # fmt: skip
def test_walltimes(walltime: Any, hours: float) -> None:
    assert keywords.hours_of(walltime) == pytest.approx(hours)


@pytest.mark.parametrize("walltime", ["", "1h", "-5", "1:2:3:4", "1-2-3", "1-", ":30", "2 days"])
def test_a_wrong_walltime_is_refused(walltime: str) -> None:
    with pytest.raises(ValueError, match="walltime="):
        keywords.hours_of(walltime)


def found(**said: Any) -> WorkerPlace:
    return keywords.place(None, **said)


def test_cores_and_memory_choose_the_smallest_size_that_has_them() -> None:
    assert found(cores=4, memory="16 GB").size == "cpu"
    assert found(memory="100 GB").size == "short"
    assert found(memory="100 GB", walltime="1:00:00").size == "gpu-1"
    assert found(cores=9).size == "gpu-4"
    assert found().size == "gpu-1"


def test_dask_uses_no_more_than_was_said() -> None:
    place = found(cores=6, memory="3 GiB")
    assert (place.size, place.processes, place.threads, place.memory) == ("short", 3, 2, 3 << 30)
    assert keywords.worker(None, place, {}) == {"threads": 2, "memory": 1 << 30}
    whole = found(size="gpu-4")
    assert (whole.processes, whole.threads, whole.memory) == (4, 8, 490 * 10**9)
    assert keywords.worker(None, whole, {}) == {}
    assert found(size="gpu-4", cores=8).processes == 4  # one for each GPU if a size was chosen


def test_wanted_workers_cores_or_memory_become_a_number_of_jobs() -> None:
    place = found(cores=4, memory="8 GB", processes=2)
    assert [place.jobs(5), place.jobs(cores=9), place.jobs(memory="17 GB"), place.jobs(3, 4, "25 GB")] == [3, 3, 3, 4]
    assert [place.most_jobs(5), place.most_jobs(cores=9), place.most_jobs(9, 9, "9 GB")] == [2, 2, 1]
    assert [place.most_jobs(), place.most_jobs(1), place.most_jobs(0)] == [None, 1, 0]


def test_options_of_workers_are_computed_from_the_keywords() -> None:
    given = {
        "death_timeout": 5,
        "interface": "ib0",
        "local_directory": "$TMPDIR",
        "worker_extra_args": ["--preload one --preload two", "--resources", "A=1,B=2"],
    }
    expected = {
        "death_timeout": 5,
        "interface": "ib0",
        "local_directory": "$TMPDIR",
        "preload": ["one", "two"],
        "resources": {"A": 1.0, "B": 2.0},
    }
    assert keywords.worker(None, found(), given) == expected
    assert keywords.worker(None, found(), {**given, "extra": ["--preload three"]}) == expected
    assert keywords.worker(None, found(), {"extra": ["--preload three"]}) == {"preload": ["three"]}


def test_the_configuration_fills_in_what_was_not_said() -> None:
    written = {
        "jobqueue.factory.size": "gpu-4",
        "jobqueue.factory.walltime": "2:00:00",
        "jobqueue.factory.death-timeout": 7,
        "jobqueue.other": {"cores": 2, "memory": "1 GB", "queue": "ignored", "local_directory": "/scratch"},
    }
    with dask.config.set(written):
        assert (found().size, found().hours, found(hours=3).hours, found(size="cpu").size) == ("gpu-4", 2, 3, "cpu")
        assert keywords.worker(None, found(), {"death_timeout": 8}) == {"death_timeout": 8}
        assert keywords.worker(None, found(), {}) == {"death_timeout": 7}
        other = keywords.place("other")
        assert (other.size, other.cores) == ("cpu", 2)
        assert keywords.worker("other", other, {})["local_directory"] == "/scratch"


def test_the_section_is_there_whoever_empties_the_configuration() -> None:
    before = dict(dask.config.config)
    dask.config.config.clear()
    try:
        assert FactoryJob(cores=1, memory="1 GB").worker_processes == 1
        assert found().size == "gpu-1"
    finally:
        dask.config.config.clear()
        dask.config.config.update(before)


def test_a_jobs_script_tells_what_workers_do() -> None:
    told = FactoryJob("tls://n7:8786", "w-0", cores=4, memory="8 GB", processes=2, death_timeout=9).job_script()
    assert "tls://n7:8786" in told
    assert "--nworkers 2" in told
    assert "--death-timeout 9" in told
    assert "#SBATCH" not in told


def test_a_jobs_script_names_files_of_keys_and_has_no_key() -> None:
    files = Security(tls_ca_file="/keys/ca", tls_worker_cert="/keys/cert", tls_worker_key="/keys/key")
    shown = FactoryJob("tls://n7:8786", "w-0", cores=1, memory="8 GB", security=files).job_script()
    assert "--tls-key /keys/key" in shown
    hidden = FactoryJob("tls://n7:8786", "w-0", cores=1, memory="8 GB", security=Security.temporary()).job_script()
    assert "--tls" not in hidden
    assert "BEGIN" not in hidden


# --- a person's own keys


def test_keys_from_files_and_from_memory(tmp_path: Path) -> None:
    made = Keys.new().get_tls_config_for_role("worker")
    for name in ("cert", "key"):
        (tmp_path / name).write_text(f"Bag Attributes: something before\n{made[name]}")
    security = Security(
        tls_ca_file=str(tmp_path / "cert"),
        tls_worker_cert=str(tmp_path / "cert"),
        tls_worker_key=str(tmp_path / "key"),
        require_encryption=True,
    )
    assert Keys.like(security).get_tls_config_for_role("worker") == made
    assert Keys.like(Keys.new()).get_tls_config_for_role("worker")["key"].startswith("-----BEGIN")


def test_keys_that_workers_could_not_use(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks a CA file, or a certificate or key"):
        Keys.like(Security(require_encryption=True))
    missing = str(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        Keys.like(Security(tls_ca_file=missing, tls_worker_cert=missing, tls_worker_key=missing))
