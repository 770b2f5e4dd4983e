"""Truncated or garbled answers of Slurm and PBS: Misread, or correct results about undamaged parts.

A truncated answer is always Misread, since a shorter list would mean that jobs are gone. A garbled answer raises no
other error than Misread, and gives the same results for all undamaged parts as the whole answer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.models import Job, NodeState
from factorylink.errors import Misread
from factorylink.schedulers.command import Command, Output
from factorylink.schedulers.complete_lists import MARK
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.schedulers.pbs import json as pbs_json
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.schedulers.slurm import nodes as slurm_nodes
from factorylink.schedulers.slurm import parser as slurm_parse
from tests.unit import pbs_output, slurm_output
from tests.unit.garbling import Spoilt, lines_of, read_or_misread, spoilt, untouched

HUB = "factorygate-hub"
SACCT = slurm_output.listed(
    "12|1000|CANCELLED by 1000|0:15|1795537719|3\n13|1000|TIMEOUT|0:0|1795537719|60\n"
    "14_2|1001|FAILED|7:0|1795537800|81\n15|1000|RUNNING|0:0|Unknown|5\n"
)
PBS_NODES = Output(pbs_output.recorded("pbsnodes-json").stdout + pbs_output.recorded("qstat-queues-json").stdout, "", 0)

LISTS: dict[str, tuple[Command[Any], str]] = {
    "squeue, jobs": (slurm.jobs(HUB), slurm_output.recorded("jobs.stdout").stdout),
    "squeue, ended": (slurm.ended(HUB), slurm_output.recorded("jobs.stdout").stdout),
    "squeue, nothing there": (slurm.jobs(HUB), slurm_output.listed("").stdout),
    "squeue, waiting": (slurm.waiting(), slurm_output.recorded("waiting.stdout").stdout),
    "sinfo": (slurm.nodes(), slurm_output.recorded("nodes.stdout").stdout),
    "sinfo, a reason": (slurm.nodes(), slurm_output.recorded("nodes-drained.stdout").stdout),
    "sacct": (slurm.accounting(["12"]), SACCT.stdout),
    "qstat, jobs": (pbs.jobs(pbs_output.NAME), pbs_output.recorded("qstat-mixed-json").stdout),
    "qstat, one of two": (pbs.jobs(pbs_output.NAME), pbs_output.recorded("qstat-one-known-one-unknown").stdout),
    "qstat, nothing there": (pbs.jobs(pbs_output.NAME), pbs_output.recorded("qstat-unknown-job").stdout),
    "qstat, ended": (pbs.ended(pbs_output.NAME), pbs_output.recorded("qstat-history-json").stdout),
    "qstat, accounting": (pbs.accounting(["15.vm"]), pbs_output.recorded("qstat-ended-walltime-json").stdout),
    "qstat, waiting": (pbs.waiting(), pbs_output.recorded("qstat-jobs-json").stdout),
    "pbsnodes": (pbs.nodes(), PBS_NODES.stdout),
}
ORDERS: dict[str, tuple[Command[Any], Callable[[str], Output], str]] = {
    "sbatch": (slurm.submit("#!/bin/sh"), lambda text: Output(text, "", 0), "12345\n"),
    "sbatch, of a cluster": (slurm.submit("#!/bin/sh"), lambda text: Output(text, "", 0), "12345;leo\n"),
    "sbatch --test-only": (
        slurm.estimate("#!/bin/sh"),
        lambda text: Output("", text, 0),
        "sbatch: Job 10 to start at 1795535813 using ",
    ),
    "qsub": (pbs.submit("#!/bin/sh"), lambda text: Output(text, "", 0), "1234.pbs-1.example.org\n"),
    "qsub, an array": (pbs.submit("#!/bin/sh", 4), lambda text: Output(text, "", 0), "1234[].pbs-1.example.org\n"),
}


@pytest.mark.parametrize("name", LISTS)
@given(data=st.data())
def test_a_cut_list_is_misread(name: str, data: st.DataObject) -> None:
    ask, text = LISTS[name]
    ask.parse(Output(text, "", 0))
    whole = text.encode() if "sinfo" in name or "squeue" in name or "sacct" in name else text.rstrip().encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Misread):
        ask.parse(Output(whole[:at].decode(errors="replace"), "", 0))


@pytest.mark.parametrize("name", [name for name in LISTS if name.startswith("s")])
def test_a_list_that_is_cut_between_two_rows_is_misread(name: str) -> None:
    """The list is cut at the end of a line, so that it looks like a shorter list."""
    ask, text = LISTS[name]
    lines = text.splitlines(keepends=True)
    for count in range(len(lines)):
        with pytest.raises(Misread):
            ask.parse(Output("".join(lines[:count]), "", 0))


@pytest.mark.parametrize("name", ORDERS)
def test_a_cut_answer_to_an_order_is_misread(name: str) -> None:
    """A part of a job's id is the id of another job."""
    ask, output, text = ORDERS[name]
    ask.parse(output(text))
    for at in range(len(text)):
        with pytest.raises(Misread):
            ask.parse(output(text[:at]))


@functools.cache
def slurm_job_lines() -> dict[str, range]:
    text = LISTS["squeue, jobs"][1]
    rows = slurm_parse.rows(slurm_parse._JOB, text.removesuffix(f"{MARK}\n"))
    return lines_of(text, {row["id"]: row.start() for row in rows})


@functools.cache
def pbs_job_lines(text: str) -> dict[str, range]:
    (found,) = pbs_json.documents(text, "Jobs")
    return lines_of(text, {id: text.index(f'"{id}":\t{{') for id in found})


def tells_the_rest(ask: Command[list[Job]], text: str, lines: dict[str, range], harm: Spoilt) -> None:
    whole = {job.id: job for job in ask.parse(Output(text, "", 0))}
    found = read_or_misread(lambda: ask.parse(Output(harm.text, "", 0)))
    if found is None:
        return
    told = {job.id: job for job in found}
    assert len(told) == len(found)
    for id in untouched(harm, lines) & whole.keys():
        assert told[id] == whole[id]


@given(spoilt(LISTS["squeue, jobs"][1]))
def test_garbled_jobs_of_slurm(harm: Spoilt) -> None:
    ask, text = LISTS["squeue, jobs"]
    tells_the_rest(ask, text, slurm_job_lines(), harm)


@pytest.mark.parametrize("name", ["qstat, jobs", "qstat, one of two"])
@given(data=st.data())
def test_garbled_jobs_of_pbs(name: str, data: st.DataObject) -> None:
    ask, text = LISTS[name]
    tells_the_rest(ask, text, pbs_job_lines(text), data.draw(spoilt(text)))


@given(spoilt(LISTS["qstat, ended"][1]))
def test_garbled_history_of_pbs(harm: Spoilt) -> None:
    ask, text = LISTS["qstat, ended"]
    whole = {end.job: end for end in ask.parse(Output(text, "", 0))}
    found = read_or_misread(lambda: ask.parse(Output(harm.text, "", 0)))
    if found is not None:
        told = {end.job: end for end in found}
        rest = untouched(harm, pbs_job_lines(text))
        assert {id: told.get(id) for id in rest & whole.keys()} == {id: whole[id] for id in rest & whole.keys()}
        assert not told.keys() & (rest - whole.keys())  # no live job counts as ended


@given(spoilt(LISTS["sinfo"][1]))
def test_garbled_nodes_of_slurm(harm: Spoilt) -> None:
    ask, text = LISTS["sinfo"]
    rows = slurm_parse.rows(slurm_nodes._NODE, text.removesuffix(f"{MARK}\n"))
    touched = {row["name"] for row in rows if harm.begin <= text.count("\n", 0, row.start()) < harm.end}
    sane_nodes(ask, text, harm, touched)


@given(spoilt(LISTS["pbsnodes"][1]))
def test_garbled_nodes_of_pbs(harm: Spoilt) -> None:
    ask, text = LISTS["pbsnodes"]
    sane_nodes(ask, text, harm, {"vm"})


def sane_nodes(ask: Command[list[NodeState]], text: str, harm: Spoilt, touched: set[str]) -> None:
    whole = {node.name: node for node in ask.parse(Output(text, "", 0))}
    found = read_or_misread(lambda: ask.parse(Output(harm.text, "", 0)))
    for node in found or ():
        assert node.name in touched or node.name not in whole or node == whole[node.name]
        assert 0 <= node.cores_free <= node.cores
        assert 0 <= node.gpus_free <= node.gpus
        assert 0 <= node.memory_free <= node.memory


@pytest.mark.parametrize("name", ["squeue, waiting", "sacct", "qstat, waiting", "qstat, accounting"])
@given(data=st.data())
def test_other_garbled_answers_are_misread_or_parsed(name: str, data: st.DataObject) -> None:
    ask, text = LISTS[name]
    harm = data.draw(spoilt(text))
    read_or_misread(lambda: ask.parse(Output(harm.text, "", 0)))


@given(st.text(max_size=300), st.sampled_from(sorted(LISTS)))
def test_any_text_is_misread(text: str, name: str) -> None:
    ask, _ = LISTS[name]
    for output in (Output(text, "", 0), Output(f"{text}{MARK}\n", "", 0)):
        found = read_or_misread(lambda output=output: ask.parse(output))  # type: ignore[misc]
        assert not found


@pytest.mark.parametrize("name", LISTS)
def test_a_failed_command_is_never_an_empty_answer(name: str) -> None:
    ask, text = LISTS[name]
    for code in (1, 2, 127, -9, 255):
        with pytest.raises(Exception, match=r".") as caught:
            ask.parse(Output(text, "it went wrong", code))
        assert type(caught.value).__name__ in ("Refused", "Unreachable")
