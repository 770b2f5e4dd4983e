"""Sessions in every phase at one factory, and checks of their state after a fault."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.support.gateway import Factory, Gateway, eventually

SETTLE = 90.0  # seconds after the end of a fault, on a busy machine
ROWS: list[Row] = []  # the rows of this run, printed at its end


@dataclass
class Row:
    """One fault in the fault matrix, with the counted sessions and jobs.

    ``sessions``: how many the fault affects; ``lost``: live sessions without a job; ``doubled``: sessions and jobs
    beyond the first of each server and session; ``orphaned``: jobs without a live session; ``saw``: the states and
    explanations that the person saw; ``settled``: whether everything was in order in time.
    """

    fault: str
    sessions: int = 0
    lost: int = 0
    doubled: int = 0
    orphaned: int = 0
    seconds: float = 0.0  # from the end of the fault until everything was in order
    saw: list[str] = field(default_factory=list)
    settled: bool = False


@dataclass(frozen=True)
class Known:
    """A session, with the ids by which a later check recognizes it."""

    server: str
    id: str
    job: str | None


class World:
    """One person's sessions at one factory.

    The sessions of the servers ``runs`` and ``waits`` are kept from fault to fault.
    """

    def __init__(self, gateway: Gateway, factory: str, running: dict[str, Any], waiting: dict[str, Any]) -> None:
        """``running``: the choice of a session that starts; ``waiting``: of one that waits in a closed partition."""
        self.gateway = gateway
        self.id = factory
        self.user = gateway.make_user()
        gateway.token(self.user)
        self.running = {"factory": factory, "hours": 0.5, **running}
        self.waiting = {"factory": factory, "hours": 0.5, **waiting}
        self.kernel = ""

    @property
    def factory(self) -> Factory:
        """Return the factory's scheduler, with the administrator's rights."""
        return self.gateway.factories[self.id]

    @property
    def cluster(self) -> SlurmCluster:
        """Return the testbed's cluster of the factory."""
        return cluster.load(Path(self.factory.slurm_conf).resolve().parents[2], self.id)

    def keep_running(self, server: str = "runs") -> Known:
        """Return a running session with a kernel that holds a value; start it if necessary."""
        eventually(lambda: self.gateway.health(self.user, self.id)["state"] == "ok", 60, what=f"{self.id} is well")
        if self.gateway.session(self.user, server) is None:
            self.gateway.started(self.user, server, **self.running)
            self.kernel = ""
        notebook = self.gateway.notebook(self.user, server)
        if server == "runs" and not self.kernel:
            self.kernel = notebook.kernel()
            notebook.run("kept = 42", self.kernel)
        return self.known(server)

    def keep_waiting(self, server: str = "waits") -> Known:
        """Return a session whose job waits in the queue; start it if necessary."""
        if self.gateway.session(self.user, server) is None:
            answer = self.gateway.start(self.user, server, **self.waiting)
            assert answer.status_code in (201, 202), answer.text
        eventually(lambda: (self.gateway.session(self.user, server) or {}).get("job"), 60, what=f"{server} has a job")
        known = self.known(server)
        if server == "waits" and known.job is not None:  # a restarted slurmctld opens closed partitions
            self.factory.ask("scontrol", "hold", known.job)
        return known

    def begin_starting(self, server: str) -> Known:
        """Start a session; return it as soon as its job runs, usually before its notebook answers."""
        answer = self.gateway.start(self.user, server, **self.running)
        assert answer.status_code in (201, 202), answer.text

        def look() -> bool:
            session = self.gateway.session(self.user, server)
            return session is not None and session["state"] in ("starting", "running")

        eventually(look, 60, 0.05, f"{server} starts")
        return self.known(server)

    def known(self, server: str) -> Known:
        """Return the present live session of a server."""
        session = self.gateway.session(self.user, server)
        assert session is not None, f"no session {server}"
        return Known(server, session["id"], session["job"])

    # --- checks after a fault

    def answers(self, server: str, kernel: str = "", says: str = "42", patience: float = 15) -> bool:
        """Return True if a session's notebook computes; with a kernel, if that kernel still has its value.

        ``says``: the expected output; ``patience``: the timeout in seconds.
        """
        code = "print(kept)" if kernel else "print(6 * 7)"
        try:
            return says in self.gateway.notebook(self.user, server).run(code, kernel or None, timeout=patience)
        except Exception:  # any error: a missing notebook may answer anything
            return False

    def same(self, known: Known) -> bool:
        """Return True if the same session with the same job is live."""
        with contextlib.suppress(httpx.HTTPError, AssertionError):
            session = self.gateway.session(self.user, known.server)
            return session is not None and (session["id"], session["job"]) == (known.id, known.job)
        return False

    def is_running(self, known: Known, kernel: str = "") -> bool:
        """Return True if the same session runs, also according to the hub, and its notebook computes."""
        if not self.same(known):
            return False
        model = self.model(known)
        return bool(model and model["ready"]) and self.answers(known.server, kernel)

    def is_waiting(self, known: Known) -> bool:
        """Return True if the same session waits in the queue, also according to the hub."""
        if not self.same(known) or self.state(known) != "pending":
            return False
        model = self.model(known)
        return bool(model and model["pending"] == "spawn")

    def model(self, known: Known) -> dict[str, Any] | None:
        """Return the hub's model of the server; None if it has none or does not answer."""
        with contextlib.suppress(httpx.HTTPError, AssertionError):
            return self.gateway.server(self.user, known.server)
        return None

    def state(self, known: Known) -> str:
        """Return the session's state as the person sees it; empty if the link reports none or does not answer."""
        with contextlib.suppress(httpx.HTTPError, AssertionError):
            return next((s["state"] for s in self.gateway.sessions(self.user) if s["id"] == known.id), "")
        return ""

    def both_go_on(self, runs: Known, waits: Known) -> dict[str, Callable[[], bool]]:
        """Return the checks, by description, that ``runs`` still computes and that ``waits`` still waits."""
        return {
            "the running one computes, its kernel kept": lambda: self.is_running(runs, self.kernel),
            "the waiting one waits": lambda: self.is_waiting(waits),
        }

    def has_ended(self, known: Known, *reasons: str) -> bool:
        """Return True if the session ended for one of these reasons; without reasons, if it ended at all."""
        with contextlib.suppress(httpx.HTTPError, AssertionError):
            for session in self.gateway.sessions(self.user):
                if session["id"] == known.id:
                    return session["state"] == "ended" and (not reasons or session["end_reason"] in reasons)
        return False

    def count(self, row: Row) -> None:
        """Store in ``row`` the numbers of lost, doubled and orphaned sessions and jobs, of all people at all factories.

        Lost is a session without a job, doubled a second session of a server or a second job of a session, and orphaned
        a job without a session.
        """
        live = self.gateway.everybody()
        held = Counter((s["user"], s["server"]) for s in live)
        comments: Counter[str] = Counter()
        for factory in self.gateway.factories.values():
            comments.update(j["comment"] for j in factory.jobs().values() if j["name"].startswith("factorygate-"))
        of_jobs = {comment.split(":")[1] for comment in comments}
        row.lost = len({s["id"] for s in live if s["state"] != "ending"} - of_jobs)
        row.doubled = sum(n - 1 for n in held.values()) + sum(n - 1 for n in comments.values())
        row.orphaned = len(of_jobs - {s["id"] for s in live})

    @contextlib.contextmanager
    def fault(self, name: str, sessions: int) -> Iterator[Row]:
        """Add a row to the fault matrix; record what the person sees while the block causes a fault and ends it.

        ``name``: the fault, as the matrix shows it; ``sessions``: the number of affected sessions.
        """
        row = Row(name, sessions)
        ROWS.append(row)
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(row, stop), daemon=True)
        watcher.start()
        try:
            yield row
        finally:
            stop.set()
            watcher.join()

    def settle(self, row: Row, checks: dict[str, Callable[[], bool]], seconds: float = SETTLE) -> None:
        """Wait until all checks succeed, and no session is lost, doubled or orphaned; store the seconds in ``row``."""
        since = time.monotonic()
        for what, check in checks.items():  # each check gets the whole time, however long the earlier ones took
            eventually(check, max(30.0, seconds - (time.monotonic() - since)), 0.3, f"{row.fault}: {what}")

        def counted() -> bool:
            self.count(row)
            return (row.lost, row.doubled, row.orphaned) == (0, 0, 0)

        eventually(counted, max(30.0, seconds - (time.monotonic() - since)), 0.3, f"{row.fault}: nothing left over")
        row.seconds = time.monotonic() - since
        row.settled = True

    def tidy(self, *keep: str) -> None:
        """End all of the person's sessions except those of the servers ``keep``, and wait until they have ended."""
        for session in self.gateway.sessions(self.user):
            if session["state"] != "ended" and session["server"] not in keep:
                self.gateway.stop(self.user, session["server"])
        eventually(
            lambda: (
                not [s for s in self.gateway.sessions(self.user) if s["state"] != "ended" and s["server"] not in keep]
            ),
            60,
            what="all others ended",
        )

    def _watch(self, row: Row, stop: threading.Event) -> None:
        headers = {"Authorization": f"Bearer {self.gateway.token(self.user)}"}
        while not stop.wait(0.4):
            try:
                page = httpx.get(f"{self.gateway.root}/services/factories/api/sessions", headers=headers, timeout=5)
                saw = self._words(page)
            except httpx.HTTPError:
                saw = ["no page"]
            row.saw += [words for words in saw if words not in row.saw]

    @staticmethod
    def _words(page: httpx.Response) -> list[str]:
        if page.status_code != 200:
            return [f"page {page.status_code}"]
        found = []
        for session in page.json():
            if session["state"] == "ended":
                continue
            words = session.get("waits_for") or {}
            if session["state"] == "unreachable" or session["server"] in ("runs", "meets"):
                found.append(f"{session['state']}: {words['what']}" if words else session["state"])
        return found


def table(rows: list[Row]) -> list[str]:
    """Return the fault matrix as lines of text, the header first."""
    lines = [f"{'fault':44} {'sessions':>8} {'lost':>5} {'doubled':>8} {'orphaned':>9} {'settled':>9}  the person saw"]
    for row in rows:
        settled = f"{row.seconds:.1f} s" if row.settled else "NO"
        lines.append(
            f"{row.fault:44} {row.sessions:8} {row.lost:5} {row.doubled:8} {row.orphaned:9} {settled:>9}  "
            + " | ".join(row.saw[:5])
        )
    return lines
