"""Recorded output of a real Slurm, and rows as squeue and sinfo pad and cut them."""

from __future__ import annotations

from pathlib import Path

from factorylink.schedulers.command import Output
from factorylink.schedulers.complete_lists import MARK

RECORDED = Path(__file__).parent / "recorded" / "slurm-24.11"
COMMENT = "fg:0123456789abcdef0123456789abcdef:0123456789abcdef"
JOB_WIDTHS = (64, 32, 20, 48, 20, 20, 20, 20, 8, 10, 96, 128, 160)


def recorded(name: str) -> Output:
    return listed((RECORDED / name).read_bytes().decode(errors="replace"))


def listed(rows: str) -> Output:
    """Return the rows of a list with the mark that the shell prints after a successful command."""
    return Output(f"{rows}{MARK}\n", "", 0)


def failed(stderr: str, code: int = 1) -> Output:
    return Output("", stderr, code)


def printed(*fields: str, widths: tuple[int, ...] = JOB_WIDTHS) -> str:
    """Return a row as ``--Format`` prints it: each field is cut and padded to its width in bytes."""
    cut = (
        field.encode()[:width].ljust(width).decode(errors="replace") + "|"
        for field, width in zip(fields, widths, strict=True)
    )
    return "".join(cut) + "\n"


def job_row(
    comment: str = COMMENT,
    id: str = "12",
    state: str = "PENDING",
    account: str = "alice",
    submitted: str = "1795537715",
    started: str = "N/A",
    ends: str = "N/A",
    priority: str = "100",
    restarts: str = "0",
    exit: str = "0:0",
    partition: str = "gpu",
    reason: str = "Priority",
    nodes: str = "",
) -> str:
    return printed(
        comment, id, state, account, submitted, started, ends, priority, restarts, exit, partition, reason, nodes
    )
