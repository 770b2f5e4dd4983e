"""Recorded output of a real PBS, and answers of qstat as it writes them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from factorylink.schedulers.command import Output

RECORDED = Path(__file__).parent / "recorded" / "openpbs-23.06"
COMMENT = "fg:0123456789abcdef0123456789abcdef:0123456789abcdef"
NAME = "factorygate-demo"  # name of the recorded jobs


def recorded(name: str) -> Output:
    """Return a recorded output with its exit code."""
    code = re.search(r"^exit: ([0-9]+)$", (RECORDED / f"{name}.call").read_text(), re.M)
    assert code is not None
    stdout, stderr = (RECORDED / f"{name}.{stream}" for stream in ("stdout", "stderr"))
    return Output(
        stdout.read_text() if stdout.exists() else "", stderr.read_text() if stderr.exists() else "", int(code[1])
    )


def failed(stderr: str, code: int = 1) -> Output:
    return Output("", stderr, code)


def job(id: str = "12.vm", **changes: Any) -> dict[str, Any]:
    """Return a running job as ``qstat`` describes it in JSON, by its id.

    ``changes``: other values of its attributes; None leaves an attribute out.
    """
    values: dict[str, Any] = {
        "Job_Name": NAME, "Job_Owner": "alice@login.example.org", "job_state": "R", "queue": "workq", "server": "vm",
        "ctime": "Tue Nov 24 14:40:05 2026", "stime": "Tue Nov 24 14:40:06 2026", "exec_host": "n1/0*8",
        "Resource_List": {"ncpus": 8, "walltime": "01:00:00"}, "substate": 42, "run_count": 1, "Hold_Types": "n",
        "Variable_List": {"PBS_O_HOST": "login", "FACTORYGATE_JOB": COMMENT},
        "comment": "Job run at Tue Nov 24 at 14:40 on (n1:ncpus=8)",
    }  # fmt: skip
    values.update(changes)
    return {id: {key: value for key, value in values.items() if value is not None}}


def answer(*jobs: dict[str, Any]) -> Output:
    found = {id: values for one in jobs for id, values in one.items()}
    return Output(
        json.dumps({"timestamp": 1, "pbs_version": "23.06.06", "pbs_server": "vm", "Jobs": found}, indent="\t"), "", 0
    )
