"""Whose jobs to ask for next where a site account sees only its own (Slurm's ``PrivateData=jobs``).

One question at a time, in turn, so that the pace of one watcher holds whatever the number of accounts. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from factorylink.models import Job, JobId


class Rounds:
    """``accounts``: those that have live sessions, whenever it is asked."""

    def __init__(self) -> None:
        self.accounts: Callable[[], Iterable[str]] = tuple
        self._first: dict[str, None] = {}  # to be asked before all others, in order
        self._turn: dict[str, None] = {}  # who was asked, the longest ago first
        self._known: dict[str, dict[JobId, Job]] = {}  # jobs by account, as its last answer has them

    def hurry(self, account: str) -> None:
        """Something happened to a job of that account; or it has to be asked once in any case."""
        self._first[account] = None

    def all(self) -> set[str]:
        """Who has to be asked: who has sessions, or jobs that no session has yet."""
        return {*self.accounts(), *self._first, *(account for account, jobs in self._known.items() if jobs)}

    def next(self) -> str | None:
        """Whom to ask now; None: nobody has anything."""
        if self._first:
            chosen = next(iter(self._first))
            del self._first[chosen]
        else:
            there = sorted(self.all())
            never = [account for account in there if account not in self._turn]
            in_turn = [account for account in self._turn if account in there]
            if not (waiting := never + in_turn):
                return None
            chosen = waiting[0]
        self._turn.pop(chosen, None)
        self._turn[chosen] = None
        return chosen

    def answered(self, account: str, jobs: Iterable[Job]) -> dict[JobId, Job]:
        """All jobs known, of all accounts, after that account's answer."""
        self._known[account] = {job.id: job for job in jobs}
        return {job_id: job for known in self._known.values() for job_id, job in known.items()}
