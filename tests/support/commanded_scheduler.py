"""A scripted scheduler that understands the commands of Slurm or PBS, and a gateway with one factory that has it.

Only the output of the commands is scripted. The dialects, the site, the sessions, the clusters and the ledger are the
real ones.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from factorycommon.models import Session
from factorylink.errors import Unreachable
from factorylink.schedulers.command import Command, Output
from factorylink.schedulers.complete_lists import MARK
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.site.site import Site
from factorylink.util import clock
from tests.unit.fake_factory import ID, PATIENCE, FakeDoors, FakeHome, World, factory
from tests.unit.slurm_output import JOB_WIDTHS, printed

T = TypeVar("T")
Kind = Literal["slurm", "pbs"]


@dataclass(frozen=True)
class ScriptedJob:
    """A job of the scheduler.

    ``minutes``: its walltime; ``task``: its index in an array, None: it belongs to no array.
    """

    number: int
    name: str
    account: str
    comment: str
    submitted: datetime
    state: Literal["PENDING", "RUNNING"] = "PENDING"
    started: datetime | None = None
    minutes: int = 60
    restarts: int = 0
    task: int | None = None


class CommandedScheduler(FakeHome):
    """The scripted scheduler.

    ``kind``: the scheduler whose commands it understands. ``cancelled``, ``extended``: the ids in the commands that
    cancel or extend jobs, in their order. ``rewrites``: how the site changes a job at its submission. ``hangs``:
    accounts whose commands never end. ``lies``: by account, the id that its submissions print although there is no job.
    ``commands``: how many ids each cancel command had.
    """

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.jobs: dict[str, ScriptedJob] = {}
        self.cancelled: list[str] = []
        self.extended: list[str] = []
        self.next = 1
        self.rewrites: dict[str, str] = {}
        self.silent: set[str] = set()  # "name", "id": kinds of questions that get no answer
        self.questions: list[str] = []
        self.hangs: set[str] = set()
        self.lies: dict[str, str] = {}
        self.commands: list[int] = []

    def id_of(self, job: ScriptedJob) -> str:
        if self.kind == "slurm":
            return str(job.number) if job.task is None else f"{job.number}_{job.task}"
        return f"{job.number}.srv" if job.task is None else f"{job.number}[{job.task}].srv"

    def add(self, name: str, account: str, comment: str, count: int = 1, **more: Any) -> str:
        """Submit a job, or an array of ``count`` jobs; return the id that the command prints.

        ``more``: further fields of the ``ScriptedJob``.
        """
        number, self.next = self.next, self.next + 1
        now = more.pop("submitted", clock.now()).replace(microsecond=0)
        job = ScriptedJob(number, name, account, comment, now, **more)
        if count == 1:
            self.jobs[self.id_of(job)] = job
            return self.id_of(job)
        for task in range(1, count + 1):
            one = replace(job, task=task)
            self.jobs[self.id_of(one)] = one
        return str(number) if self.kind == "slurm" else f"{number}[].srv"

    def change(self, id: str, **values: Any) -> None:
        self.jobs[id] = replace(self.jobs[id], **values)

    def runs(self, id: str) -> None:
        self.change(id, state="RUNNING", started=clock.now().replace(microsecond=0))

    def loses_its_state(self) -> None:
        """Forget all jobs, and number new jobs from 1 again."""
        self.jobs.clear()
        self.next = 1

    async def run(self, ask: Command[T], account: str | None = None) -> T:
        await self._may_hang(account)
        words = ask.argv[4:] if ask.argv[0] == "sh" and self.kind == "slurm" else ask.argv
        answer = (
            self._slurm(words, ask.stdin, account) if self.kind == "slurm" else self._pbs(words, ask.stdin, account)
        )
        return await super().run(ask, account) if answer is None else ask.parse(answer)

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        await self._may_hang(account)
        return await super().read(account, path, limit)

    async def home(self, account: str | None) -> str:
        await self._may_hang(account)
        return await super().home(account)

    async def _may_hang(self, account: str | None) -> None:
        if account in self.hangs:
            await asyncio.Event().wait()

    # --- Slurm

    def _slurm(self, words: tuple[str, ...], stdin: str, account: str | None) -> Output | None:
        match words[0]:
            case "squeue":
                return self._squeue(words)
            case "sbatch":
                count = next((int(word.removeprefix("--array=1-")) for word in words if "--array=" in word), 1)
                return Output(f"{self._submitted(stdin, account, '#SBATCH --{}=', count)}\n", "", 0)
            case "scancel":
                self._cancel(words[1:])
                return Output("", "", 0)
            case "scontrol" if words[1] == "ping":
                return Output("Slurmctld(primary) at srv is UP\n", "", 0)
            case "scontrol" if words[1] == "update":
                self.extended.append(words[2].partition("=")[2])
                return Output("", "", 0)
            case "sinfo" | "sacct" | "scontrol":
                return Output(f"{MARK}\n", "", 0)
        return None

    def _squeue(self, words: tuple[str, ...]) -> Output:
        options = dict(word.partition("=")[::2] for word in words)
        by_id = options.get("--jobs")
        self._asked("id" if by_id else "name")
        jobs = list(self.jobs.items())
        if by_id:
            wanted = set(by_id.split(","))
            jobs = [(id, job) for id, job in jobs if wanted & {id, str(job.number)}]
            if not jobs and len(wanted) == 1:
                return Output("", "slurm_load_jobs error: Invalid job id specified", 1)
        if "--name" in options:
            jobs = [(id, job) for id, job in jobs if job.name == options["--name"]]
        if options.get("--states") == "PENDING":
            return Output(f"{MARK}\n", "", 0)
        rows = "".join(self._row(id, job, named=bool(by_id)) for id, job in jobs)
        return Output(f"{rows}{MARK}\n", "", 0)

    def _row(self, id: str, job: ScriptedJob, named: bool) -> str:
        ends = "N/A" if job.started is None else _seconds(job.started + timedelta(minutes=job.minutes))
        started = "N/A" if job.started is None else _seconds(job.started)
        node = "n1" if job.state == "RUNNING" else ""
        fields = (
            *(job.comment, id, job.state, job.account, _seconds(job.submitted), started, ends, "1", str(job.restarts)),
            *("0:0", "gpu", "None", node),
        )
        return printed(job.name, *fields, widths=(64, *JOB_WIDTHS)) if named else printed(*fields)

    # --- PBS

    def _pbs(self, words: tuple[str, ...], stdin: str, account: str | None) -> Output | None:
        match words[0]:
            case "sh" if "qselect" in words[2] and "-N" in words and "-x" not in words:
                self._asked("name")
                name = words[words.index("-N") + 1]
                return self._told([job for job in self.jobs.values() if job.name == name])
            case "qstat" if words[:6] == ("qstat", "-E", "-t", "-f", "-F", "json"):
                self._asked("id")
                told = [job for id, job in self.jobs.items() if {id, re.sub(r"\[[0-9]+\]", "[]", id)} & set(words[6:])]
                there = {self.id_of(job) for job in told} | {f"{job.number}[].srv" for job in told}
                lost = [f"qstat: Unknown Job Id {id}\n" for id in words[6:] if id not in there]
                answer = self._told(told)
                return Output(answer.stdout, "".join(lost), 153) if lost else answer
            case "sh" | "qstat" if words[1:3] != ("-B", "-f"):
                return self._told([])
            case "qsub":
                count = int(words[words.index("-J") + 1].partition("-")[2]) if "-J" in words else 1
                return Output(f"{self._submitted(stdin, account, '#PBS -{} ', count)}\n", "", 0)
            case "qdel":
                self._cancel(words[1:])
                return Output("", "", 0)
            case "qalter":
                self.extended.append(words[-1])
                return Output("", "", 0)
            case "qstat" | "pbsnodes" | "pbs_rstat":
                raise Unreachable("not asked in these tests")
        return None

    def _told(self, jobs: list[ScriptedJob]) -> Output:
        found = {self.id_of(job): self._attributes(job) for job in jobs}
        told = {"timestamp": 1, "pbs_version": "23", "pbs_server": "srv", "Jobs": found}
        return Output(json.dumps(told, indent="\t"), "", 0)

    def _attributes(self, job: ScriptedJob) -> dict[str, Any]:
        said: dict[str, Any] = {
            "Job_Name": job.name, "Job_Owner": f"{job.account}@login", "queue": "gpu", "ctime": _ctime(job.submitted),
            "job_state": job.state[0] if job.state == "RUNNING" else "Q", "substate": 42,
            "run_count": job.restarts + (job.state == "RUNNING"),
            "Variable_List": {"FACTORYGATE_JOB": job.comment}, "Resource_List": {"walltime": f"{job.minutes * 60}"},
        }  # fmt: skip
        if job.started is not None:
            said |= {"stime": _ctime(job.started), "exec_host": "n1/0"}
        return said

    # --- common to both

    def _asked(self, what: str) -> None:
        self.questions.append(what)
        if what in self.silent:
            raise Unreachable("no answer")

    def _submitted(self, script: str, account: str | None, form: str, count: int) -> str:
        name, comment = ("job-name", "comment") if self.kind == "slurm" else ("N", "v")
        if account in self.lies:
            return self.lies[account or ""]
        values = {"name": _directive(script, form.format(name)), "comment": _directive(script, form.format(comment))}
        values["comment"] = values["comment"].removeprefix("FACTORYGATE_JOB=")
        values |= self.rewrites
        return self.add(values["name"], account or "", values["comment"], count)

    def _cancel(self, ids: tuple[str, ...]) -> None:
        self.commands.append(len(ids))
        for id in ids:
            self.cancelled.append(id)
            number = int(re.match(r"[0-9]+", id)[0])  # type: ignore[index]
            for job in [job for job in self.jobs.values() if job.number == number]:
                if self.id_of(job) == id or id in (str(number), f"{number}[].srv"):
                    del self.jobs[self.id_of(job)]


class CommandedWorld(World):
    """A gateway with one factory, whose scheduler is a CommandedScheduler."""

    def __init__(self, folder: Path, kind: Kind, **more: Any) -> None:
        super().__init__(folder, **more)
        self.there = CommandedScheduler(kind)
        self.home = self.there
        self.dialect = slurm if kind == "slurm" else pbs

    async def up(self, doors: FakeDoors | None = None) -> CommandedWorld:
        access = self.config.factories["one"]
        self.scheduler: Any = Site(factory(), access, self.there, self.dialect, "hub")
        await super().up(doors)
        return self

    async def answers(self, times: int = 3) -> None:
        """Have the gateway ask the scheduler for its jobs; return when it has handled ``times`` successful answers."""
        for _ in range(times + 1):  # an answer is handled before the next question is asked
            await self.scheduler.ask_jobs_now()

    async def answered_until(self, session_id: str = ID, **expected: Any) -> Session:
        deadline = clock.ticks() + PATIENCE
        while clock.ticks() < deadline:
            await self.answers(1)
            session = await self.session(session_id)
            if all(getattr(session, name) == value for name, value in expected.items()):
                return session
            await asyncio.sleep(0.05)
        raise AssertionError(f"{expected} did not come: {session}")

    async def running(self, session_id: str = ID, **put: Any) -> Session:
        session = await self.put(session_id, **put)
        assert session.job is not None
        self.there.runs(session.job)
        await self.answered_until(session_id, state="starting")
        self.door_says(session_id, phase="up", environment=True)
        return await self.until(session_id, state="running")


def _directive(script: str, before: str) -> str:
    return next(line.removeprefix(before) for line in script.splitlines() if line.startswith(before))


def _seconds(moment: datetime) -> str:
    return str(int(moment.timestamp()))


def _ctime(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%a %b %d %H:%M:%S %Y")
