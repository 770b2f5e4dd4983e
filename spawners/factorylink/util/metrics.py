"""All metrics of the link for Prometheus: counters, histograms and gauges.

The link updates counters and histograms while it works; ``api/metrics_view.py`` computes the values of the gauges at
each scrape.
Labels are, for example, ids of factories and projects, states, reasons and codes. No label is the name of a person, of
a site account or of a session. At the link's start, ``begin`` creates the series of every factory with the value 0, so
that rates and differences are right from the first event on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from factorycommon.models import EndReason

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

MOST_CODES = 300  # codes of refusals; each further code counts as "other"
_MINUTE, _HOUR = 60, 3600

SUBMIT_SECONDS = Histogram(
    "factorygate_submit_seconds",
    "How long it took to submit a job: its folder, the wait for its turn, and the scheduler's answer",
    ["factory"],
    registry=REGISTRY,
    buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
QUEUE_WAIT_SECONDS = Histogram(
    "factorygate_queue_wait_seconds",
    "From the submission of a session's job to its start",
    ["factory"],
    registry=REGISTRY,
    buckets=(5, 15, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR, 6 * _HOUR, 24 * _HOUR),
)
START_SECONDS = Histogram(
    "factorygate_start_seconds",
    "From the start of a session's job to the first answer of its notebook",
    ["factory"],
    registry=REGISTRY,
    buckets=(2, 5, 10, 20, 30, 60, 120, 300, 600),
)
SESSIONS_BEGUN = Counter(
    "factorygate_sessions_begun", "Sessions written into the ledger", ["factory"], registry=REGISTRY
)
SESSIONS_ENDED = Counter(
    "factorygate_sessions_ended",
    "Sessions that ended, by reason; ready: whether the notebook had answered (no: the start failed or was stopped)",
    ["factory", "reason", "ready"],
    registry=REGISTRY,
)
REFUSALS = Counter(
    "factorygate_refusals",
    "Requests that the link refused; code: that of the message to the person, or else the kind of the problem",
    ["code"],
    registry=REGISTRY,
)
DOOR_OPENS = Counter(
    "factorygate_door_opens", "Doors entered, for the first time or again", ["factory"], registry=REGISTRY
)
DOOR_REOPENS = Counter(
    "factorygate_door_reopens", "Doors entered again after their connection was lost", ["factory"], registry=REGISTRY
)
DOOR_BYTES = Counter(
    "factorygate_door_bytes",
    "Bytes between session ports and notebooks; direction: to_notebook, from_notebook",
    ["factory", "direction"],
    registry=REGISTRY,
)
LOGINS = Counter(
    "factorygate_logins",
    "SSH logins at a factory's login side; outcome: ok, not_let_in, distrusted, unreachable",
    ["factory", "outcome"],
    registry=REGISTRY,
)
LEDGER_SECONDS = Histogram(
    "factorygate_ledger_seconds",
    "How long a transaction of the ledger took, waiting for its turn included",
    registry=REGISTRY,
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LEDGER_ERRORS = Counter(
    "factorygate_ledger_errors", "Transactions that failed because the ledger could not be used", registry=REGISTRY
)
LOOP_LAG_SECONDS = Histogram(
    "factorygate_event_loop_lag_seconds",
    "How late the link's event loop woke up, measured four times a second",
    registry=REGISTRY,
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

LOGIN_OUTCOMES = ("ok", "not_let_in", "distrusted", "unreachable")


class GaugeWords(NamedTuple):
    """The names of a gauge's labels, and the gauge's help text."""

    labels: tuple[str, ...]
    help: str


_FACTORY = ("factory",)
_PROJECT = ("project",)
_BOTH = ("project", "factory")
GAUGES = {
    "factorygate_build_info": GaugeWords(("version", "python"), "Always 1; the release is in the labels"),
    "factorygate_sessions": GaugeWords(("factory", "state"), "Live sessions, as people see their state"),
    "factorygate_doors_expected": GaugeWords(
        _FACTORY, "Running sessions whose notebook has answered, without stopped and suspended ones"
    ),
    "factorygate_doors_open": GaugeWords(_FACTORY, "Doors held open"),
    "factorygate_oldest_waiting_seconds": GaugeWords(
        _FACTORY, "Waiting time of the session that has waited longest; 0: none waits"
    ),
    "factorygate_gpus_in_use": GaugeWords(
        _FACTORY, "GPUs of running sessions and workers, as the gateway counts them for its charges"
    ),
    "factorygate_accounts_not_wiped": GaugeWords(
        _FACTORY, "Lent accounts whose last wipe failed, so that nobody gets them"
    ),
    "factorygate_people": GaugeWords(_FACTORY, "People who have a session or a cluster there"),
    "factorygate_people_active": GaugeWords((), "People who have a session or a cluster anywhere"),
    "factorygate_clusters": GaugeWords(_FACTORY, "Live Dask clusters"),
    "factorygate_cluster_jobs": GaugeWords(_FACTORY, "Jobs of Dask workers that have not ended"),
    "factorygate_factory_up": GaugeWords(
        _FACTORY, "1 if the scheduler answers, 0 if not; absent before the first answer or failure"
    ),
    "factorygate_answer_seconds": GaugeWords(
        _FACTORY, "How long the scheduler took for its last good answer; absent before the first"
    ),
    "factorygate_answer_timestamp_seconds": GaugeWords(_FACTORY, "When the last good answer came; 0: none yet"),
    "factorygate_factory_closed": GaugeWords(
        ("factory", "by"), "1 while an operator keeps the factory closed; by: drain, pause"
    ),
    "factorygate_jobs_of_another_gateway": GaugeWords(
        _FACTORY, "Jobs of this gateway's name whose comment another gateway signed: two hubs have the same hub.name"
    ),
    "factorygate_sessions_without_credential": GaugeWords(
        _FACTORY, "Sessions whose person's own login at the site has expired"
    ),
    "factorygate_credential_expiry_timestamp_seconds": GaugeWords(
        _FACTORY, "When the first of the still valid logins of live sessions expires; absent: none expires"
    ),
    "factorygate_certificate_expiry_timestamp_seconds": GaugeWords(
        ("name",), "When the link's certificate (name: own) or its authority's (authority) expires, by the file"
    ),
    "factorygate_gpu_hours_used": GaugeWords(
        _BOTH,
        "GPU-hours used, running jobs included; project: none (jobs without a project), other (projects that no longer "
        "exist)",
    ),
    "factorygate_gpu_hours_held": GaugeWords(_BOTH, "GPU-hours that jobs may still use"),
    "factorygate_gpu_hours_granted": GaugeWords(_PROJECT, "GPU-hours granted; absent: not limited here"),
    "factorygate_project_end_timestamp_seconds": GaugeWords(_PROJECT, "When the project ends; absent: no end is known"),
    "factorygate_project_people": GaugeWords(_PROJECT, "People of the project who have a session"),
    "factorygate_hub_streams": GaugeWords((), "Hubs that follow the table of sessions; 0: no hub hears the link"),
    "factorygate_ledger_rows_set_aside": GaugeWords((), "Rows of the ledger that cannot be read"),
    "factorygate_backup_timestamp_seconds": GaugeWords((), "When the last backup succeeded; 0: never"),
    "factorygate_disk_free_bytes": GaugeWords((), "Free space of the file system of state_dir"),
    "factorygate_disk_size_bytes": GaugeWords((), "Size of the file system of state_dir"),
}


@dataclass(frozen=True)
class Traffic:
    """Counts the bytes that go through the doors of one factory."""

    to_notebook: Counter
    from_notebook: Counter


def traffic(factory: str) -> Traffic:
    """Return the two counters of the bytes that go through a factory's doors."""
    return Traffic(DOOR_BYTES.labels(factory, "to_notebook"), DOOR_BYTES.labels(factory, "from_notebook"))


_codes: set[str] = set()


def refused(code: str) -> None:
    """Count a request that the link refused. ``code``: the stable code of the reason, never a text.

    If there are ``MOST_CODES`` codes already, a new code counts as "other".
    """
    if code not in _codes and len(_codes) >= MOST_CODES:
        code = "other"
    else:
        _codes.add(code)
    REFUSALS.labels(code).inc()


def begin(factories: Iterable[str], codes: Iterable[str]) -> None:
    """Create the time series for these factories and codes of refusals with the value 0, before anything is counted."""
    for factory in factories:
        for each in (SUBMIT_SECONDS, QUEUE_WAIT_SECONDS, START_SECONDS, SESSIONS_BEGUN, DOOR_OPENS, DOOR_REOPENS):
            each.labels(factory)
        for reason in EndReason:
            for ready in ("yes", "no"):
                SESSIONS_ENDED.labels(factory, reason.value, ready)
        traffic(factory)
        for outcome in LOGIN_OUTCOMES:
            LOGINS.labels(factory, outcome)
    for code in codes:
        if code and len(_codes) < MOST_CODES:
            _codes.add(code)
            REFUSALS.labels(code)
