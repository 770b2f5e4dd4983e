"""Lists that tell where they end. Pure.

squeue, sinfo, sacct, scontrol and pbs_rstat print rows and no end, so a list cut between two rows reads like a shorter
one, in which jobs are gone. A shell therefore says after the command's success that this was all; without that line an
answer is Misread. The mark is longer than any text of a user that can stand in a list.
"""

from __future__ import annotations

from factorylink.errors import Misread

MARK = "end-of-answer".ljust(100, "-")
LIST = ("sh", "-c", f'"$@" && echo {MARK}', "sh")  # before the command; site/factorygate-act knows these words


def whole(stdout: str) -> str:
    """The list without its mark. Misread: it has none."""
    rows = stdout.removesuffix(f"{MARK}\n")
    if rows == stdout:
        raise Misread("The list has no end: it was cut.", stdout)
    return rows
