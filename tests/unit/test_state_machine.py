"""Whatever happens, in whatever order: no session is lost, doubled or orphaned in the end.

The lifecycle with its real ledger, a scripted factory and a virtual clock. Hypothesis selects the events; the model
below knows what must be true after the recovery.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from factorycommon.models import End, JobRequest, JobState
from factorylink.errors import Misread, Unreachable
from factorylink.ledger import ledger as ledger_module
from factorylink.ledger.ledger import LedgerError
from factorylink.problems import ProblemError
from factorylink.schedulers.slurm.parser import OUTCOMES
from factorylink.sessions import state_machine
from tests.unit import virtual_time
from tests.unit.fake_factory import MortalScheduler, World

PEOPLE = ("ada", "ben", "cyd")
DOCS = Path(__file__).parents[2] / "docs" / "states.md"
ALIVE = (JobState.PENDING, JobState.RUNNING, JobState.ENDING)
SHORT = st.sampled_from([0.1, 2.0, 5.0, 45.0, 700.0])
PERSON = st.sampled_from(PEOPLE)


class Wayward(MortalScheduler):
    """A scheduler that knows the owner of each job, and lets a submission arrive after the link that made it was
    killed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ours: dict[str, str] = {}  # by job that the link submitted: its session
        self.on_the_way: list[tuple[str, JobRequest]] = []
        self.foreign: set[str] = set()
        self.meanwhile: Callable[[], None] = lambda: None  # called during a submission

    async def submit(self, account: str, request: JobRequest, template: str) -> str:
        self.meanwhile()
        self.must_answer()
        try:
            job = await super().submit(account, request, template)
        except asyncio.CancelledError:
            self.on_the_way.append((account, request))
            raise
        except Unreachable:
            self._note()
            raise
        self._note()
        return job

    def _note(self) -> None:
        for number, job in self.jobs_there.items():
            if number not in self.ours and number not in self.foreign:
                self.ours[number] = job.comment.split(":")[1]

    def arrive(self) -> None:
        for account, request in self.on_the_way:
            self.add(account, request.name, request.comment)
        self.on_the_way = []
        self._note()

    def ends(self, number: str, raw_state: str) -> None:
        """End a job; the scheduler knows the reason."""
        self.jobs_there.pop(number)
        self.records[number] = End(job=number, outcome=OUTCOMES[raw_state.partition(" ")[0]], raw_state=raw_state)

    def alive(self) -> list[str]:
        return [number for number in self.jobs_there if number in self.ours]


class Faults(RuleBasedStateMachine):
    """The actions of people and the faults that Hypothesis combines, and the model of what must be true after them.

    ``wanted``: by person, the session that must exist; ``over``: the sessions that must not exist. Each other session
    may have ended because of a fault.
    """

    @initialize()
    def begin(self) -> None:
        self.loop = virtual_time.JumpingLoop()
        self.patch = pytest.MonkeyPatch()
        virtual_time.use(self.loop, self.patch)
        pragmas = ("journal_mode=WAL", "synchronous=OFF", "foreign_keys=ON", "busy_timeout=0")
        self.patch.setattr("factorycommon.service.database.PRAGMAS", pragmas)
        self.patch.setattr(ledger_module, "ThreadPoolExecutor", lambda *a, **k: virtual_time.InlineThread())
        shm = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
        # Longer than everything takes; a notebook that does not start in time is another test's topic.
        self.world = World(self.folder, starting_seconds=24 * 3600)
        self.world.scheduler = self.scheduler = Wayward(self.world.identity)
        self.wanted: dict[str, str] = {}
        self.over: set[str] = set()
        self.known: dict[str, str] = {}  # by session that was ever requested: its person
        self.to_stop: set[str] = set()  # the hub repeats these stops until the ledger holds them
        self.locked: sqlite3.Connection | None = None
        self.number = 0
        self.missed_last = False
        self.run(self.world.up())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.settle()
            self.everything_can_be_stopped()
        finally:
            self.run(self.world.down())
            self.loop.close()
            self.patch.undo()
            shutil.rmtree(self.folder)

    # --- actions of people

    @rule(person=PERSON)
    def submit(self, person: str) -> None:
        """Request a session as the hub does: only if the server has no session without a stop request."""
        if any(live.record.user == person and live.record.wish == "run" for live in self.world.live_sessions.values()):
            return
        self.number += 1
        session = f"{self.number:032x}"
        self.known[session] = person
        self._ask_for(person, session)

    def _ask_for(self, person: str, session: str) -> None:
        try:
            told = self.run(self.world.put(session, user=person))
        except (ProblemError, LedgerError):
            self.over.add(session)
        else:
            if told.wish == "run":
                self.wanted[person] = session
            else:  # the refusal's answer was lost
                self.over.add(session)

    @rule(person=PERSON, after=st.sampled_from([0.0, 0.001, 1.0]))
    def submit_while_the_link_is_killed(self, person: str, after: float) -> None:
        """The hub gets no answer, and sends the request again with the same id."""
        if any(live.record.user == person and live.record.wish == "run" for live in self.world.live_sessions.values()):
            return
        self.number += 1
        session = f"{self.number:032x}"
        self.known[session] = person
        asking = self.loop.create_task(self.world.put(session, user=person))
        self.loop.jump(after)
        asking.cancel()
        self.run(asyncio.wait([asking]))
        with suppress(asyncio.CancelledError, ProblemError, LedgerError):
            asking.result()
        self.link_is_killed()
        self._ask_for(person, session)

    @rule(person=PERSON)
    def submit_again(self, person: str) -> None:
        """The answer to the hub was lost: the same PUT is sent again."""
        session = self.wanted.get(person)
        if session is not None:
            with suppress(ProblemError, LedgerError):
                self.run(self.world.put(session, user=person))

    @rule(person=PERSON)
    def stop(self, person: str) -> None:
        session = self.wanted.pop(person, None)
        if session is not None:
            self.over.add(session)
            self.to_stop.add(session)
            self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        for session in sorted(self.to_stop):
            with suppress(LedgerError):
                try:
                    self.run(self.world.sessions.stop(session, "person"))
                except ProblemError:  # the ledger lost it; if it still has a job, it returns to Home
                    self.over.discard(session)
                self.to_stop.discard(session)

    # --- actions of the scheduler

    @rule(mode=st.sampled_from(["well", "lost after accept", "lost before", "slow", "refuses"]), locks=st.booleans())
    def submissions_go(self, mode: str, locks: bool) -> None:
        """Let submissions from now on pass, be slow, be refused, or get lost.

        ``mode``: ``lost before`` or ``lost after accept`` says when they get lost; ``locks``: the ledger cannot be
        written from the middle of a submission on.
        """
        self.scheduler.meanwhile = self.ledger_is_locked if locks else lambda: None
        self.scheduler.takes_and_says_nothing = mode == "lost after accept"
        self.scheduler.says_nothing = mode == "lost before"
        self.scheduler.silent_seconds = 8.0 if mode == "slow" else 0.0
        self.scheduler.refuses = "Invalid account" if mode == "refuses" else ""
        if mode == "refuses":  # a repeated doubtful submission is refused then
            for person, session in list(self.wanted.items()):
                live = self.world.live_sessions.get(session)
                if live is None or live.record.job is None:
                    del self.wanted[person]

    @rule(fails=st.integers(1, 3))
    def cancels_fail(self, fails: int) -> None:
        self.scheduler.cancels_fail = fails

    def _pick(self, which: int, *states: JobState) -> str | None:
        jobs = [number for number in self.scheduler.alive() if self.scheduler.jobs_there[number].state in states]
        return jobs[which % len(jobs)] if jobs else None

    @rule(which=st.integers(0, 5), node=st.sampled_from(["n1", "n2"]))
    def job_starts(self, which: int, node: str) -> None:
        if job := self._pick(which, JobState.PENDING):
            self.scheduler.runs(job, node, self.scheduler.jobs_there[job].restarts)

    @rule(which=st.integers(0, 5), completing=st.booleans())
    def job_is_requeued(self, which: int, completing: bool) -> None:
        """A job is requeued by an administrator, a preemption, or a lost node; an answer may show it while it
        completes."""
        if job := self._pick(which, JobState.RUNNING):
            restarts = self.scheduler.jobs_there[job].restarts + 1
            if completing:
                self.scheduler.set(job, state=JobState.ENDING)
                self.answer()
            self.scheduler.set(job, state=JobState.PENDING, nodes=(), started=None, restarts=restarts)

    @rule(which=st.integers(0, 5), node=st.sampled_from(["n1", "n2"]))
    def job_moves_unseen(self, which: int, node: str) -> None:
        if job := self._pick(which, JobState.RUNNING):
            self.scheduler.runs(job, node, self.scheduler.jobs_there[job].restarts + 1)

    @rule(which=st.integers(0, 5), raw=st.sampled_from(["CANCELLED", "NODE_FAIL", "PREEMPTED", "TIMEOUT", "COMPLETED"]))
    def job_is_over(self, which: int, raw: str) -> None:
        if job := self._pick(which, *ALIVE):
            self._may_end(self.scheduler.ours[job])
            self.scheduler.ends(job, raw)

    def _may_end(self, session: str) -> None:
        """Allow the session not to exist. It may live on with another job, if a doubtful submission was repeated."""
        for person, wanted in list(self.wanted.items()):
            if wanted == session:
                del self.wanted[person]

    @rule(which=st.integers(0, 5), account=st.sampled_from(["other", "c"]))
    def somebody_copies(self, which: int, account: str) -> None:
        """Another account submits a job with our name and a copied comment."""
        if job := self._pick(which, *ALIVE):
            like = self.scheduler.jobs_there[job]
            copy = self.scheduler.add(account, like.name, like.comment, like.state)
            self.scheduler.foreign.add(copy)
            self.scheduler.set(copy, nodes=like.nodes)

    @rule(which=st.integers(0, 5))
    def late_submissions_arrive(self, which: int) -> None:
        self.scheduler.arrive()

    # --- answers to the link

    @rule(times=st.integers(1, 3))
    def answer(self, times: int = 1) -> None:
        if self.scheduler.up:
            self.missed_last = False
            self.run(self.scheduler.answer(times))
            self.loop.jump(0.01)

    @precondition(lambda self: not self.missed_last)
    @rule()
    def one_answer_lacks_them(self) -> None:
        """One answer lacks the jobs, like that of a controller that has just started. Two such
        answers in a row count."""
        if self.scheduler.up and all(live.misses == 0 for live in self.world.live_sessions.values()):
            self.missed_last = True
            self.scheduler.jobs = {}
            self.run(self.scheduler.on_answer([], None))
            self.answer()

    @rule(misread=st.booleans())
    def falls_silent(self, misread: bool) -> None:
        """The scheduler is unreachable or sends nonsense: in both cases there is no answer."""
        self.scheduler.up = False
        self.world.home.fails = Misread("what?", "garbage") if misread else Unreachable("no answer")

    @rule()
    def speaks_again(self) -> None:
        self.scheduler.up = True
        self.world.home.fails = None

    @rule(seconds=SHORT)
    def time_passes(self, seconds: float) -> None:
        self.loop.jump(seconds)

    # --- doors

    def _with_door(self, which: int) -> str | None:
        live = self.world.live_sessions
        kept = [
            session
            for session in dict.fromkeys(self.world.doors.kept_open)
            if session in live
            and (job := self.scheduler.jobs_there.get(live[session].record.job or "")) is not None
            and job.state == JobState.RUNNING
        ]
        return kept[which % len(kept)] if kept else None

    @rule(which=st.integers(0, 5), phase=st.sampled_from(["waiting", "up"]))
    def door_speaks(self, which: int, phase: str) -> None:
        if session := self._with_door(which):
            self._say(lambda: self.world.door_says(session, phase=phase, environment=phase == "up"))

    @rule(which=st.integers(0, 5))
    def door_is_lost(self, which: int) -> None:
        if session := self._with_door(which):
            self._say(lambda: self.world.door_is_lost(session))

    @rule(which=st.integers(0, 5))
    def door_ends(self, which: int) -> None:
        """The notebook ends, and its job a moment later."""
        if session := self._with_door(which):
            self._say(lambda: self.world.door_says(session, phase="ending", environment=True))
            job = self.world.live_sessions[session].record.job
            assert job is not None
            self._may_end(session)
            self.scheduler.ends(job, "COMPLETED")

    def _say(self, say: Callable[[], None]) -> None:
        async def spoken() -> None:
            say()
            await asyncio.sleep(0.01)

        self.run(spoken())

    # --- events of the link

    @rule()
    def link_is_killed(self) -> None:
        self.unlock()
        self.run(self.world.down())
        self.run(self.world.up())

    @rule()
    def ledger_is_locked(self) -> None:
        if self.locked is None:
            self.locked = sqlite3.connect(self.folder / "ledger.sqlite", isolation_level=None)
            self.locked.execute("BEGIN IMMEDIATE")

    @rule()
    def unlock(self) -> None:
        if self.locked is not None:
            self.locked.rollback()
            self.locked.close()
            self.locked = None

    @rule(all_of_it=st.booleans(), note_too=st.booleans(), person=PERSON)
    def ledger_forgets(self, all_of_it: bool, note_too: bool, person: str) -> None:
        """The ledger loses the rows of one person or of all people, and perhaps their notes. A session with a job and a
        note is restored; a stop request that only the ledger had is lost."""
        self.unlock()
        self.run(self.world.down())
        lost = [s for s, who in self.known.items() if all_of_it or who == person]
        with sqlite3.connect(self.folder / "ledger.sqlite") as db:
            for session in lost:
                db.execute("DELETE FROM log_lines WHERE session = ?", (session,))
                db.execute("DELETE FROM sessions WHERE id = ?", (session,))
        db.close()
        with_job = {self.scheduler.ours[number] for number in self.scheduler.alive()}
        for session in lost:
            self.over.discard(session)
            if session not in with_job:
                self._may_end(session)
            if note_too:
                self._may_end(session)
                for path in [path for path in self.world.home.files if session in path]:
                    del self.world.home.files[path]
        self.run(self.world.up())

    # --- recovery

    @rule()
    def settle(self) -> None:
        self.speaks_again()
        self.unlock()
        self.submissions_go("well", locks=False)
        self.scheduler.cancels_fail = 0
        self.scheduler.arrive()
        self._ask_to_stop()
        for seconds in (*[15] * 8, 600, *[15] * 8):  # doubtful submissions are repeated, and orphans are cancelled
            self.answer()
            self.loop.jump(seconds)
        self.nothing_lost_doubled_orphaned()

    def nothing_lost_doubled_orphaned(self) -> None:
        live = self.world.live_sessions
        there = self.scheduler.jobs_there
        assert {n for n in self.scheduler.foreign if n in there} == self.scheduler.foreign, "another's job was touched"
        for session in self.wanted.values():
            assert session in live and live[session].record.wish == "run", f"{session} is lost"
        for session in self.over:
            assert session not in live, f"{session} is still there: {live[session].record}"
        for number in self.scheduler.alive():
            session = self.scheduler.ours[number]
            assert session in live, f"job {number} of {session} is orphaned"
            assert live[session].record.job == number, f"{session} has job {live[session].record.job} and {number}"
            assert live[session].record.wish == "run"
        for session, found in live.items():
            assert found.record.job in there, f"{session} has no job: {found.record}"
            state = there[found.record.job].state
            wanted = {JobState.PENDING: ("pending",), JobState.RUNNING: ("starting", "running")}
            assert found.record.state.value in wanted.get(state, ("ending",)), (found.record, state)
            if state is JobState.RUNNING:
                assert session in self.world.doors.kept_open, f"nobody looks for the door of {session}"
        servers = [found.record.user for found in live.values()]
        assert len(servers) == len(set(servers)), "a server has two sessions"

    def everything_can_be_stopped(self) -> None:
        for session in list(self.world.live_sessions):
            self.to_stop.add(session)
        self.wanted.clear()
        self.settle()
        assert not self.world.live_sessions
        assert not self.scheduler.alive()
        assert not self.world.doors.bound

    @invariant()
    def no_other_account_s_job_is_touched(self) -> None:
        if hasattr(self, "scheduler"):
            assert not self.scheduler.foreign & set(self.scheduler.cancelled)


TestFaults = pytest.mark.timeout(600)(Faults.TestCase)
TestFaults.settings = settings(
    max_examples=60 if settings.get_current_profile_name() == "searching" else 20,  # the former with --long
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    print_blob=True,
)


def test_the_table_in_the_docs_is_the_table_in_the_code() -> None:
    told: dict[tuple[str, str], tuple[str, str]] = {}
    for line in DOCS.read_text().splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0] in set(state_machine.Phase):
            told[cells[0], cells[1]] = (cells[2], cells[3])
    meant = {
        (phase.value, event.value): (step.phase.value, step.action.value)
        for phase, row in state_machine.TABLE.items()
        for event, step in row.items()
    }
    assert told == meant


def test_every_phase_but_the_last_can_be_left_and_stopped() -> None:
    for phase, row in state_machine.TABLE.items():
        if phase is state_machine.Phase.ENDED:
            assert not row
            continue
        assert row[state_machine.Event.OVER].phase is state_machine.Phase.ENDED
        stopped = row.get(state_machine.Event.WISH, row[state_machine.Event.OVER])
        assert stopped.phase in (state_machine.Phase.STOPPING, state_machine.Phase.ENDED)
        for event in (state_machine.Event.QUEUED, state_machine.Event.RUNS, state_machine.Event.COMPLETING):
            assert event in row
    assert re.search("unreachable", DOCS.read_text())
