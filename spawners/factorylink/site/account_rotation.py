"""Chooses the site account under which the link next asks for jobs, if accounts see only their own jobs. Pure.

In Slurm, accounts see only their own jobs if ``PrivateData=jobs`` is set. The link asks one question at a time, under
one account after the other. So the limits of one poller apply to all questions together, however many accounts there
are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from factorycommon.models import Job, JobId

MOST_PASSED = 64  # largest number of questions for which an account is skipped


class AccountRotation:
    """Chooses the site account for the link's next question about jobs. Used if accounts see only their own jobs.

    ``accounts``: a function, set from outside, that returns the accounts that have live sessions or clusters.
    """

    def __init__(self) -> None:
        self.accounts: Callable[[], Iterable[str]] = tuple
        self._first: dict[str, None] = {}  # accounts to ask before all others, in order
        # accounts to ask once in any case; after a restart of the link there may be thousands
        self._once: dict[str, None] = {}
        self._odd = False
        self._turn: dict[str, None] = {}  # accounts ordered by their last question, the oldest first
        self._passes: dict[str, int] = {}  # by slow account, how many questions it is skipped each time
        self._left: dict[str, int] = {}  # by slow account, how many questions it is still skipped
        self._known: dict[str, dict[JobId, Job]] = {}  # jobs by account, from its last answer

    def hurry(self, account: str) -> None:
        """Let ``next`` choose this account before all others; called when something has happened to one of its jobs."""
        self._first[account] = None

    def once(self, account: str) -> None:
        """Let ``next`` choose this account once, whether or not it has sessions or clusters.

        ``next`` alternates between the accounts given to ``once`` and all others, so that the others do not wait long.
        """
        self._once[account] = None

    def took(self, account: str, long: bool) -> None:
        """Record whether the last question under ``account`` took long.

        If so, ``next`` skips the account for two questions, so that slow commands do not delay the other accounts. Each
        further slow question in a row doubles the number of skipped questions, up to ``MOST_PASSED``. If all accounts
        are to be skipped, none is skipped. Accounts given to ``hurry`` and ``once`` are chosen all the same.
        """
        if not long:
            self._passes.pop(account, None)
            return
        self._passes[account] = self._left[account] = min(2 * self._passes.get(account, 1), MOST_PASSED)

    def all(self) -> set[str]:
        """Return all accounts that ``next`` may choose.

        These are the accounts that ``accounts`` returns, those with jobs in their last answers, and those given to
        ``hurry`` or ``once`` and not chosen since.
        """
        return {*self._who_has_any(), *self._first, *self._once}

    def next(self) -> str | None:
        """Return the account for the next question; None: no account has to be asked for its jobs.

        The returned account counts as asked: earlier calls of ``hurry`` and ``once`` for this account are done, and the
        account goes to the end of the order in which accounts get their turns.
        """
        chosen = next(iter(self._first), None) or self._in_turn()
        if chosen is None:
            return None
        for waiting in (self._first, self._once, self._turn):
            waiting.pop(chosen, None)
        self._turn[chosen] = None
        return chosen

    def _who_has_any(self) -> set[str]:
        """Return the accounts that have live sessions or clusters, or that had jobs in their last answers."""
        return {*self.accounts(), *(account for account, jobs in self._known.items() if jobs)}

    def _in_turn(self) -> str | None:
        there = sorted(self._who_has_any())
        never = [account for account in there if account not in self._turn]
        in_turn = [account for account in self._turn if account in there]
        waits = never + in_turn
        ready = [account for account in waits if account not in self._left]
        self._left = {account: left - 1 for account, left in self._left.items() if left > 1}
        self._odd = not self._odd
        ways = [self._once, ready or waits]
        return next(iter([*ways[self._odd], *ways[not self._odd]]), None)

    def answered(self, account: str, jobs: Iterable[Job]) -> dict[JobId, Job]:
        """Store the jobs in the last answer about an account; return the known jobs of all accounts, by id."""
        self._known[account] = {job.id: job for job in jobs}
        return {job_id: job for known in self._known.values() for job_id, job in known.items()}
