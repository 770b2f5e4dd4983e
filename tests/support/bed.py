"""A running session of one person at a real Slurm, with a kernel in which tests make Dask clusters."""

from __future__ import annotations

import httpx

from tests.support.gateway import Gateway, Notebook

FACTORY, SIZE = "lumi-aif", "gcd-1-dev"


class Bed:
    """A running session of one person, and a kernel in it."""

    def __init__(self, gateway: Gateway, hours: float = 0.5) -> None:
        self.gateway = gateway
        self.user = gateway.make_user()
        gateway.started(self.user, "", factory=FACTORY, size="gcd-1", hours=hours)
        self.notebook: Notebook = gateway.notebook(self.user)
        self.kernel = self.notebook.kernel()

    def run(self, code: str, timeout: float = 110) -> str:
        return self.notebook.run(code, self.kernel, timeout).strip()

    def answers(self) -> bool:
        """Return True if the notebook answers."""
        try:
            return self.notebook.request("GET", "/api").status_code == 200
        except httpx.HTTPError:
            return False

    def workers(self, factory: str = FACTORY) -> list[str]:
        """Return the ids of the jobs of Dask workers that wait or run at a factory."""
        jobs = self.gateway.factories[factory].jobs()
        return [job for job, told in jobs.items() if told["comment"].startswith("fgb:")]

    def heads(self, factory: str) -> list[str]:
        """Return the ids of the jobs of Dask schedulers at a factory.

        No session may run at this factory, because the jobs of sessions have the same mark in their comments.
        """
        jobs = self.gateway.factories[factory].jobs()
        return [job for job, told in jobs.items() if told["comment"].startswith("fg:")]
