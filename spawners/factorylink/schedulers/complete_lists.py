"""Adds a mark to the end of lists, so that a truncated list is noticed. Pure.

squeue, sinfo, sacct, scontrol and pbs_rstat print no line that ends the list, so a list that was cut between two rows
looks like a shorter list, from which jobs are missing. Therefore a shell prints a mark after the command has succeeded;
``whole`` raises Misread for an answer without the mark. No user's text can be taken for the mark: a text in Slurm's
lists is shorter than the mark, and a list of pbs_rstat must also have an empty line before the mark.
"""

from __future__ import annotations

from factorylink.errors import Misread

MARK = "end-of-answer".ljust(100, "-")
# put before the command; site/factorygate-act allows exactly these words
LIST = ("sh", "-c", f'"$@" && echo {MARK}', "sh")


def whole(stdout: str) -> str:
    """Return the output of a command that was run with ``LIST`` before it, without the mark at the output's end.

    Raises Misread if the mark is missing: then the output was cut.
    """
    rows = stdout.removesuffix(f"{MARK}\n")
    if rows == stdout:
        raise Misread("The list has no end: it was cut.", stdout)
    return rows
