"""What a scripted link tells, so that pages show all their parts: factories in every health, sessions and clusters in
all states."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from factorylink import explain
from factorylink.models import (
    Accelerator,
    EndReason,
    Environment,
    Estimate,
    FactoryView,
    Folder,
    GpuHours,
    Health,
    IdleLimits,
    Job,
    JobState,
    LogLine,
    MaintenanceView,
    NodeSize,
    Notice,
    PartitionLoad,
    ReservationView,
    SessionState,
    Site,
    SizeView,
)
from tests.unit.fake_link import FakeLink

START = "/hub/spawn/ada"
# What the catalogue of factories, the scheduler and the person bring along: names, not texts to be translated.
DATA = re.compile(
    r"factorygate|\bada\b|One|Two|Three|Four|ONE|TWO|THREE|FOUR|Kajaani|NVIDIA|A100|GPU(-h|s)?|PyTorch|JAX|x86_64"
    r"|busy|lost|\bup\b|old|done|one|two|sweep|afar|going|quiet|before|closed|English|Deutsch|timed out|Priority"
)
PAGES = {"start": START, "home": "/hub/home", "gone": "/hub/user/ada/nowhere/"}


def fill(link: FakeLink) -> None:
    """Factories, sessions and clusters of ada."""
    now = datetime.now(UTC)
    silent = explain.unreachable("timed out")
    link.factories = [
        _factory("one", Health(state="ok", since=now, answered_at=now)),
        _factory("two", Health(state="unreachable", since=now, words=silent, answered_at=now)),
        _factory("three", Health(state="draining", since=now)),
        _factory("four", Health(state="starting", since=now)),
    ]
    asked = (_line("Asked for small at One."),)
    link.add("1" * 32, "ada", created=now, position=3, waits_for=_waits("Priority"), log=asked)
    link.add("2" * 32, "ada", "busy", state=SessionState.RUNNING, created=now, started=now, ready=now, reachable=True,
             ends=now + timedelta(hours=1), last_activity=now - timedelta(minutes=20), node="n1",
             ends_idle=now + timedelta(minutes=40), extend_hours=3.0,
             notice=Notice(kind="walltime", at=now + timedelta(minutes=4), minutes=5))  # fmt: skip
    link.add("3" * 32, "ada", "lost", state=SessionState.UNREACHABLE, before=SessionState.RUNNING, created=now,
             waits_for=explain.unreachable("timed out"))  # fmt: skip
    link.add("4" * 32, "ada", "up", state=SessionState.STARTING, created=now, started=now)
    reason, words = explain.ended(None)
    link.add("5" * 32, "ada", "old", state=SessionState.ENDED, created=now, started=now, ended=now, end_reason=reason,
             end=words, log_tail=("one", "two"), log=asked)  # fmt: skip
    link.add("6" * 32, "ada", "done", state=SessionState.ENDED, created=now, ended=now, end_reason=EndReason.STOPPED)

    hours = GpuHours(spent=3.5, committed=4.5, cap=20, at=now - timedelta(minutes=30), per_hour=4)
    link.add_cluster("a1" * 16, "ada", "sweep", created=now - timedelta(hours=2), session="2" * 32, gpus=2,
                     counts={"running": 2, "pending": 1, "asked": 2, "ended": 7}, gpu_hours=hours,
                     waits_for=_waits("Resources"))  # fmt: skip
    link.add_cluster("a2" * 16, "ada", "afar", created=now, counts={"unreachable": 3}, wrong=silent)
    link.add_cluster("a3" * 16, "ada", "going", created=now, state="ending", counts={"running": 1})
    head = link.add("a4" * 16, "ada", "dask/quiet", state=SessionState.RUNNING, created=now, started=now,
                    ends=now + timedelta(hours=2))  # fmt: skip
    del link.sessions[head.id]  # it is its cluster's, and no session of a person's
    link.add_cluster(head.id, "ada", "quiet", created=now, session=head.id, head=head)
    link.add_cluster("a5" * 16, "ada", "before", created=now, state="ended", ended=now, counts={"ended": 4},
                     end=explain.own("cluster-session-over"))  # fmt: skip
    link.add_cluster("a6" * 16, "ada", "closed", created=now, state="ended", ended=now)


def _waits(reason: str) -> object:
    return explain.pending(
        Job(id="1", name="n", account="a", comment="c", state=JobState.PENDING, raw_state="PENDING", reason=reason)
    )


def _line(text: str) -> LogLine:
    return LogLine(at=datetime.now(UTC), text=text)


def _factory(factory: str, health: Health) -> FactoryView:
    now = datetime.now(UTC)
    later = Estimate(start=now + timedelta(hours=3), basis="test-only", asked_at=now)

    def size(name: str, gpus: int, fits: int, estimate: Estimate | None = None) -> SizeView:
        shape = NodeSize(
            id=name, gpus=gpus, cores=gpus * 8 or 1, memory_gb=60, partition="p", max_hours=24, default_hours=2,
            billed_as="1 GPU-h", whole_node=gpus == 4,
        )  # fmt: skip
        label = f"{gpus} x A100 40 GB" if gpus else "no GPU"
        return SizeView(size=shape, gpu_label=label, fits_now=fits, estimate=estimate, fits_until=closes.start)

    closes = MaintenanceView(
        name="cooling", start=now + timedelta(hours=1), end=now + timedelta(hours=9), nodes=8, closes=("p",)
    )
    partly = MaintenanceView(name="disks", start=now + timedelta(days=2), end=now + timedelta(days=3), nodes=1)

    return FactoryView(
        id=factory,
        name=factory.title(),
        site=Site(machine=factory.upper(), host="h", city="Kajaani", country="FI"),
        scheduler="slurm",
        accelerator=Accelerator(vendor="NVIDIA", model="A100", memory_gb=40, per_node=4),
        health=health,
        partitions=(
            PartitionLoad(
                name="p",
                gpus_total=8,
                gpus_free=3,
                cores_total=9,
                cores_free=9,
                pending=2,
                node_gpus_free=2,
                node_cores_free=9,
            ),
        ),
        maintenance=(closes, partly),
        reservations=(ReservationView(id="course", name="course", end=now + timedelta(hours=2)),),
        largest_now="small",
        sizes=(size("small", 1, 3), size("full", 4, 0, later), size("cpu", 0, 1), size("later", 2, 0)),
        environments=(
            Environment(id="base", title="PyTorch 2", kind="venv", python="/e"),
            Environment(id="other", title="JAX", kind="venv", python="/e", sizes=("full",)),
        ),
        default_environment="base",
        default_size="small",
        folder=Folder(quota="20 GB"),
        outbound="none",
        idle=IdleLimits(),
    )
