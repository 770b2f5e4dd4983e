"""Makes all metrics of the link in Prometheus' text format: the counters, and gauges of the present state.

No label names a person, a site account or a session. The number of factories, projects, states and reasons bounds the
number of series. ``util/metrics.py`` has the names, labels and help texts of all metrics.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import get_args

from cryptography.x509 import load_pem_x509_certificates
from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from factorycommon.gpu_shares import plain
from factorycommon.models import ProblemKind, SessionState, Slug, WorkerState
from factorycommon.version import version
from factorylink.api.http import new_app
from factorylink.background.measuring import Measuring
from factorylink.catalogue.prices import gpus_of
from factorylink.config import LinkConfig
from factorylink.explain import explain
from factorylink.explain.gateway import OURS
from factorylink.explain.refusals import REFUSED
from factorylink.ledger.ledger import Ledger
from factorylink.projects.account_leases import AccountLeases
from factorylink.projects.book import ProjectBook
from factorylink.sessions.live_feed import LiveFeed
from factorylink.sessions.session_views import SessionViews
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.cluster_table import ClusterTable
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable
from factorylink.util import clock, metrics

# values of the label ``project``: the session needs no project; its project is in no list any more
NO_PROJECT, NOT_KNOWN = "none", "other"
Values = Mapping[tuple[str, ...], float]  # values of a gauge, by the values of its labels
_LIVE_STATES = tuple(state.value for state in SessionState if state is not SessionState.ENDED)


def begin(factories: Iterable[Slug]) -> None:
    """Create the series of the counters with the value 0, for all these factories and for all codes of refusals.

    The code ``fault`` is for unexpected exceptions.
    """
    cases = (*OURS, *(answer.code for answer in (*REFUSED, explain.UNKNOWN_REFUSAL, explain.JOB_FILTER)))
    metrics.begin(factories, sorted({*get_args(ProblemKind), *cases, "fault"}))


_FRESH_SECONDS = 0.5


class LinkMetrics(Collector):
    """Computes the link's gauges for Prometheus.

    ``same_name``: by factory, the number of jobs of another gateway that has this gateway's name; ``certificates``:
    paths of the gateway's certificate files, by the name that the metric has for each."""

    def __init__(
        self,
        table: SessionTable,
        clusters: ClusterTable,
        views: SessionViews,
        feed: LiveFeed,
        factories: OfferedFactories,
        projects: ProjectBook,
        ledger: Ledger,
        measuring: Measuring,
        same_name: Mapping[str, int],
        account_leases: AccountLeases,
        config: LinkConfig,
        certificates: Mapping[str, Path],
    ) -> None:
        self._table = table
        self._clusters = clusters
        self._views = views
        self._feed = feed
        self._factories = factories
        self._projects = projects
        self._ledger = ledger
        self._measuring = measuring
        self._same_name = same_name
        self._account_leases = account_leases
        self._config = config
        self._certificates = certificates
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(metrics.REGISTRY) + generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield all gauges, computed now from the link's present state."""
        values = {**self._of_sessions(), **self._of_clusters(), **self._of_factories(), **self._of_credentials()}
        values |= {**self._of_projects(), **self._of_the_process()}
        for name, gauge in metrics.GAUGES.items():
            metric = GaugeMetricFamily(name, gauge.help, labels=gauge.labels)
            for key, value in values[name].items():
                metric.add_metric(key, value)
            yield metric

    def _of_sessions(self) -> dict[str, Values]:
        states: dict[tuple[str, ...], float] = defaultdict(float)
        states.update({(name, state): 0.0 for name in self._factories for state in _LIVE_STATES})
        expected, opened = (Counter(dict.fromkeys(self._factories, 0)) for _ in range(2))
        gpus: dict[str, Fraction] = defaultdict(Fraction, dict.fromkeys(self._factories, Fraction(0)))
        oldest: dict[str, float] = dict.fromkeys(self._factories, 0.0)
        people: dict[str, set[str]] = {name: set() for name in self._factories}
        now = clock.now()
        for live_session in self._table.values():
            record = live_session.record
            factory = record.factory
            expected[factory] += _wants_door(live_session)
            opened[factory] += live_session.door_open
            if record.state in (SessionState.STARTING, SessionState.RUNNING, SessionState.ENDING):
                gpus[factory] += self._gpus(factory, record.choice.size)
            if record.head or live_session.withdrawn:
                continue
            states[factory, self._views.state(live_session).value] += 1
            people.setdefault(factory, set()).add(record.user)
            if record.state is SessionState.PENDING and record.wish == "run":
                oldest[factory] = max(oldest.get(factory, 0.0), (now - record.created).total_seconds())
        for live_cluster in self._clusters.values():
            cluster = live_cluster.record
            people.setdefault(cluster.factory, set()).add(cluster.user)
            running = sum(worker.state is WorkerState.RUNNING for _, worker in live_cluster.alive())
            gpus[cluster.factory] += running * cluster.gpus
        return {
            "factorygate_sessions": states,
            "factorygate_doors_expected": _each(expected),
            "factorygate_doors_open": _each(opened),
            "factorygate_oldest_waiting_seconds": _each(oldest),
            "factorygate_gpus_in_use": _each({factory: plain(number) for factory, number in gpus.items()}),
            "factorygate_people": _each({factory: len(found) for factory, found in people.items()}),
            "factorygate_people_active": _one(len(set().union(*people.values()))),
        }

    def _of_clusters(self) -> dict[str, Values]:
        clusters, workers = (Counter(dict.fromkeys(self._factories, 0)) for _ in range(2))
        for live_cluster in self._clusters.values():
            clusters[live_cluster.record.factory] += 1
            workers[live_cluster.record.factory] += len(live_cluster.alive())
        return {"factorygate_clusters": _each(clusters), "factorygate_cluster_jobs": _each(workers)}

    def _of_factories(self) -> dict[str, Values]:
        up: dict[str, float] = {}
        seconds: dict[str, float] = {}
        moments: dict[str, float] = {}
        closed: dict[tuple[str, ...], float] = {}
        for name, connection in self._factories.items():
            health = connection.site.health
            # before a factory's first answer its state is not known, so neither 0 nor 1 would be true
            if health.state != "starting":
                up[name] = float(health.state != "unreachable")
            if health.answer_seconds is not None:
                seconds[name] = health.answer_seconds
            moments[name] = 0.0 if health.answered_at is None else health.answered_at.timestamp()
            closed[name, "drain"] = float(self._factories.drained(name) is not None)
            closed[name, "pause"] = float(connection.access_status.paused is not None)
        others = dict.fromkeys(self._factories, 0) | dict(self._same_name)
        unwiped = Counter(dict.fromkeys(self._factories, 0))
        unwiped.update(factory for factory, _ in self._account_leases.failed)
        return {
            "factorygate_accounts_not_wiped": _each(unwiped),
            "factorygate_factory_up": _each(up),
            "factorygate_answer_seconds": _each(seconds),
            "factorygate_answer_timestamp_seconds": _each(moments),
            "factorygate_factory_closed": closed,
            "factorygate_jobs_of_another_gateway": _each(others),
        }

    def _of_credentials(self) -> dict[str, Values]:
        """Return the gauges about people's own logins, and about the gateway's certificates.

        By factory: how many sessions have no valid login, and when the first of the valid logins expires. Only logins
        at factories where logins expire are counted. By certificate: when it expires. No value names a person.
        """
        without: dict[str, float] = dict.fromkeys(self._factories, 0.0)
        first: dict[str, float] = {}
        now = clock.now().timestamp()
        for live_session in self._table.values():
            record = live_session.record
            connection = self._factories.get(record.factory)
            until = None if connection is None else connection.access_status.valid_until(record.account)
            if until is None:
                continue
            if until.timestamp() <= now:
                without[record.factory] += 1
            else:
                first[record.factory] = min(first.get(record.factory, until.timestamp()), until.timestamp())
        return {
            "factorygate_sessions_without_credential": _each(without),
            "factorygate_credential_expiry_timestamp_seconds": _each(first),
            "factorygate_certificate_expiry_timestamp_seconds": _each(
                {name: _expiry(path) for name, path in self._certificates.items()}
            ),
        }

    def _of_projects(self) -> dict[str, Values]:
        known = {project.id: project for project in self._projects.all()}
        used: dict[tuple[str, ...], float] = defaultdict(float)
        held: dict[tuple[str, ...], float] = defaultdict(float)
        for project in known.values():
            for factory in project.factories:
                used[project.id, factory] = held[project.id, factory] = 0.0
        for (id, factory), balance in self._measuring.balances.items():
            label = (NO_PROJECT if id is None else id if id in known else NOT_KNOWN, factory)
            used[label] += balance.spent
            held[label] += balance.reserved
        people: dict[str, set[str]] = {id: set() for id in known}
        for live_session in self._table.values():
            if live_session.record.choice.project in people:
                people[live_session.record.choice.project].add(live_session.record.user)
        granted = {id: project.gpu_hours for id, project in known.items() if project.gpu_hours is not None}
        ends = {id: project.ends.timestamp() for id, project in known.items() if project.ends is not None}
        return {
            "factorygate_gpu_hours_used": used,
            "factorygate_gpu_hours_held": held,
            "factorygate_gpu_hours_granted": _each(granted),
            "factorygate_project_end_timestamp_seconds": _each(ends),
            "factorygate_project_people": _each({id: len(found) for id, found in people.items()}),
        }

    def _of_the_process(self) -> dict[str, Values]:
        free, size = _space(self._config.state_dir)
        return {
            "factorygate_build_info": {(version(), platform.python_version()): 1},
            "factorygate_hub_streams": _one(self._feed.followers),
            "factorygate_ledger_rows_set_aside": _one(len(self._ledger.set_aside)),
            "factorygate_backup_timestamp_seconds": _one(_changed(self._config.last_backup)),
            "factorygate_disk_free_bytes": _one(free),
            "factorygate_disk_size_bytes": _one(size),
        }

    def _gpus(self, factory: Slug, size: Slug) -> Fraction:
        connection = self._factories.get(factory)
        return Fraction(0) if connection is None else gpus_of(connection.factory, size)


def metrics_app(metrics: Callable[[], bytes]) -> FastAPI:
    """Return the app for Prometheus, which has its own port.

    ``metrics``: returns the metrics in Prometheus' text format. The answers contain no names of people and no secrets.
    Since strangers may reach the port, the metrics are computed at most once in ``_FRESH_SECONDS``.
    """
    app = new_app("factorygate link, for Prometheus")
    counted, counted_at = b"", -math.inf

    @app.get("/metrics", response_class=PlainTextResponse)
    async def all_metrics() -> Response:
        nonlocal counted, counted_at
        if time.monotonic() - counted_at >= _FRESH_SECONDS:
            counted = metrics()
            counted_at = time.monotonic()
        return Response(counted, media_type="text/plain; version=0.0.4")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _wants_door(live_session: LiveSession) -> bool:
    """Return True if a session's door should be open now."""
    record, job = live_session.record, live_session.job
    frozen = job is not None and job.suspended
    return record.state is SessionState.RUNNING and record.ready is not None and record.wish == "run" and not frozen


def _each(found: Mapping[str, float]) -> Values:
    """Return the values of a gauge that has one label. ``found``: the values by the text of the label."""
    return {(key,): value for key, value in found.items()}


def _one(value: float) -> Values:
    """Return the values of a gauge without labels, which has only this value."""
    return {(): value}


def _changed(path: Path) -> float:
    """Return when a file was last written, in seconds since 1970; 0 if it is missing or cannot be looked up."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _expiry(path: Path) -> float:
    """Return the earliest expiry of the certificates in a file, in seconds since 1970; 0 if none can be read."""
    try:
        found = load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return 0.0
    return min(one.not_valid_after_utc.timestamp() for one in found)


def _space(folder: Path) -> tuple[int, int]:
    """Return free bytes and size of a folder's file system; 0 and 0 if they cannot be read."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0, 0
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
