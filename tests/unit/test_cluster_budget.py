"""A cluster never exceeds its cap, whatever is requested and whatever happens, in any order.

Hypothesis scales, adapts, kills and lets time pass. Each second, the test checks the true use of the jobs and what they
may still use, as the batch scheduler knows it, against the cap.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from factorycommon.models import JobState
from tests.unit.cluster_world import Life

JOBS = st.integers(0, 6)
ANY = st.integers(0, 20)  # selects one of the existing objects
NOISE = 1e-6  # GPU-hours
NOTICED = 30  # seconds within which the link has noticed a requeued job


class Budget(RuleBasedStateMachine):
    """Combines requests and faults of a cluster, and checks each second that it keeps its cap.

    ``excused``: until this time, running and waiting jobs may be able to exceed the cap: the scheduler has requeued a
    job, and the link has not noticed yet. The use itself must not exceed it even then.
    """

    @initialize(hours=st.sampled_from([0.05, 0.5, 1.0, 1.01]), cap=st.sampled_from([0.4, 1.0, 3.0, 3.3]))
    def begin(self, hours: float, cap: float) -> None:
        shm = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
        self.life = Life(self.folder, hours=hours, cap=cap)
        self.cap = cap
        self.excused = 0.0
        self.life.always = self.check

    def check(self) -> None:
        life, grid = self.life, self.life.grid
        used = grid.used()
        assert used <= self.cap + NOISE, f"{used} of {self.cap} GPU-hours were used"
        clusters = life.world.clusters.of("ada", live=True)
        stopping = {
            cluster.job_of(batch, worker)
            for cluster in (life.world.clusters.own(told.id, "ada") for told in clusters)
            for batch, worker in cluster.alive()
            if worker.wish == "stop"
        }
        if life.loop.time() < self.excused:
            return
        might = used + sum(grid.left(job) for job in grid.alive() if job not in stopping)
        assert might <= self.cap + NOISE, f"{might} of {self.cap} GPU-hours might be used"
        for told in clusters:
            counted = told.gpu_hours.spent + told.gpu_hours.committed
            still = sum(grid.left(job) for job in grid.alive() if job in stopping)
            # An unknown use is counted as its maximum; then at least nothing more may start.
            nothing = told.gpu_hours.committed <= still + NOISE
            assert nothing or counted <= self.cap + still + NOISE, f"{counted} of {self.cap} GPU-hours are promised"
            assert counted >= might + still - NOISE, f"{might + still} GPU-hours might be used, the link has {counted}"

    def teardown(self) -> None:
        if not hasattr(self, "life"):
            return
        try:
            self.all_is_well()
        finally:
            self.life.close()
            shutil.rmtree(self.folder)

    # --- the person's actions

    @rule(jobs=JOBS)
    def scale(self, jobs: int) -> None:
        worker_plan = self.life.cluster.worker_plan
        there, wanted = len(worker_plan.units()), worker_plan.wanted
        said = self.life.scale(jobs)
        if said:  # a refusal has an explanation and changes nothing
            assert jobs > there
            assert said.endswith(".")
            assert worker_plan.wanted <= max(there, wanted)

    @rule(most=JOBS, work=JOBS)
    def adapt(self, most: int, work: int) -> None:
        self.life.dask.target = work
        self.life.adapt(most)

    @rule(work=JOBS, idle=st.booleans())
    def work_comes_or_goes(self, work: int, idle: bool) -> None:
        self.life.dask.target, self.life.dask.idle = work, idle

    @rule(seconds=st.sampled_from([0.0, 20.0, 100.0]))
    def tasks_take_long(self, seconds: float) -> None:
        self.life.dask.busy = seconds

    @rule()
    def kernel_is_killed(self) -> None:
        if self.life.world.clusters.of("ada", live=True):
            self.life.kernel_is_killed()

    # --- events of jobs

    @rule(seconds=st.sampled_from([1, 7, 60, 400, 1500]))
    def time_passes(self, seconds: float) -> None:
        self.life.passes(seconds)

    @rule(room=JOBS)
    def others_come_and_go(self, room: int) -> None:
        self.life.grid.room = room

    @rule(which=ANY)
    def job_is_killed(self, which: int) -> None:
        if there := self.life.grid.alive():
            self.life.grid.ends(there[which % len(there)], "NODE_FAIL")

    @rule(which=ANY)
    def job_begins_again(self, which: int) -> None:
        if there := self.life.grid.alive(JobState.RUNNING):
            self.life.grid.begins_again(there[which % len(there)])
            self.excused = max(self.excused, self.life.loop.time() + NOTICED)

    @rule(seconds=st.sampled_from([2.0, 30.0]))
    def workers_take_long_to_come(self, seconds: float) -> None:
        self.life.dask.boot = seconds

    @rule()
    def workers_are_lost(self) -> None:
        self.life.dask.lost |= set(self.life.grid.alive()[:1])

    @rule()
    def scheduler_forgets_what_ended(self) -> None:
        grid = self.life.grid
        for job in grid.alive(JobState.ENDED):
            del grid.jobs_there[job]

    # --- events of the factory and the link

    @rule()
    def factory_is_silent(self) -> None:
        self.life.grid.up = False
        self.excused = float("inf")  # until the factory answers again, nobody notices anything

    @precondition(lambda self: not self.life.grid.up)
    @rule()
    def factory_answers(self) -> None:
        self.life.grid.up = True
        self.excused = self.life.loop.time() + NOTICED

    @rule()
    def link_is_killed(self) -> None:
        self.life.link_is_killed()
        self.excused = max(self.excused, self.life.loop.time() + NOTICED)

    @precondition(lambda self: self.life.loop.time() >= self.excused)
    @rule()
    def ledger_is_lost(self) -> None:
        """The link loses its ledger. The notebook then reports the cluster, and the factory its jobs. Events that
        nobody had noticed before are lost."""
        self.life.passes(NOTICED)
        self.life.link_is_killed(lost=True)
        self.excused = self.life.loop.time() + NOTICED
        self.life.passes(NOTICED)

    @rule()
    def scheduler_says_no(self) -> None:
        self.life.grid.refuses = "Job violates accounting/QOS policy"

    @rule()
    def scheduler_says_yes(self) -> None:
        self.life.grid.refuses = ""

    # --- recovery

    @rule()
    def all_is_well(self) -> None:
        life = self.life
        life.grid.refuses, life.grid.room, life.dask.boot, life.dask.busy = "", 100, 2.0, 0.0
        if not life.grid.up:
            self.factory_answers()
        life.passes(300)
        wanted, there = life.cluster.worker_plan.wanted, len(life.cluster.worker_plan.units())
        assert there <= wanted
        assert there == wanted or life.cluster.message, "fewer than wanted, and nobody says why"
        assert len(life.grid.alive()) <= 2 * there


TestBudget = Budget.TestCase
TestBudget.settings = settings(
    max_examples=40 if settings.get_current_profile_name() == "searching" else 15,  # the former with --long
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    print_blob=True,
)
