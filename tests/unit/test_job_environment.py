"""The data about a job that its programs read from the script's variables, with present and older scripts."""

from __future__ import annotations

import pytest

from factorygate.job_environment import JobEnvironment, job_environment
from factorygate.session.resource_usage import measure

NOTHING = JobEnvironment(id="", ends=None, node="", memory_mb=None, index=None, restarts=0)
ALL = JobEnvironment(id="12", ends=2e9, node="n7", memory_mb=4096, index=3, restarts=1)


def test_a_job_knows_what_its_script_exports() -> None:
    told = {"ID": "12", "END": "2000000000", "NODE": "n7", "MEMORY_MB": "4096", "INDEX": "3", "RESTARTS": "1"}
    assert job_environment({f"FACTORYGATE_JOB_{name}": value for name, value in told.items()}) == ALL


def test_without_a_job_script_nothing_is_known() -> None:
    assert job_environment({}) == NOTHING


@pytest.mark.parametrize("nonsense", ["", "soon", "-1", "1.5", "9" * 30, "\u0663"])
def test_invalid_numbers_are_left_out(nonsense: str) -> None:
    names = ("END", "MEMORY_MB", "INDEX", "RESTARTS")
    assert job_environment({f"FACTORYGATE_JOB_{name}": nonsense for name in names}) == NOTHING


def test_the_job_of_an_older_script_knows_it_by_its_schedulers_variables() -> None:
    slurms = {
        "SLURM_JOB_ID": "12", "SLURM_JOB_END_TIME": "2000000000", "SLURMD_NODENAME": "n7", "SLURM_MEM_PER_NODE": "4096",
        "SLURM_ARRAY_TASK_ID": "3", "SLURM_RESTART_COUNT": "1",
    }  # fmt: skip
    assert job_environment(slurms) == ALL
    pbs = job_environment({"PBS_JOBID": "7[2].vm", "PBS_ARRAY_INDEX": "2", "FACTORYGATE_JOB_END": "2000000000"})
    assert (pbs.id, pbs.index, pbs.ends) == ("7[2].vm", 2, 2e9)


def test_empty_variables_of_the_script_override_older_names() -> None:
    both = {"FACTORYGATE_JOB_INDEX": "", "SLURM_ARRAY_TASK_ID": "3"}
    assert job_environment(both).index is None


async def test_a_sessions_memory_limit_is_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factorygate.session.resource_usage.memory_of_group", lambda: None)
    usage = await measure({"PATH": "", "FACTORYGATE_JOB_MEMORY_MB": "4096"})
    assert usage.memory_limit == 4 << 30
