"""A running session of one person at a real Slurm, with a kernel in which Dask clusters are made."""

from __future__ import annotations

from tests.support.gateway import Gateway, Notebook

FACTORY, SIZE = "lumi-aif", "gcd-1-dev"


class Bed:
    """A running session of one person, and a kernel in it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.user = gateway.make_user()
        gateway.started(self.user, "", factory=FACTORY, size="gcd-1", hours=0.5)
        self.notebook: Notebook = gateway.notebook(self.user)
        self.kernel = self.notebook.kernel()

    def run(self, code: str, timeout: float = 110) -> str:
        return self.notebook.run(code, self.kernel, timeout).strip()

    def workers(self) -> list[str]:
        """Jobs of clusters that wait or run."""
        jobs = self.gateway.factories[FACTORY].jobs()
        return [job for job, told in jobs.items() if told["comment"].startswith("fgb:")]
