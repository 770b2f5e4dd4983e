"""Collects the link's metrics at the time of the request, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from factorylink.sessions.session_views import SessionViews
from factorylink.site.offered_factories import OfferedFactories
from factorylink.util.metrics import REGISTRY


class LinkCollector(Collector):
    """Collects the metrics at the time of the request.

    ``same_name``: by factory, the number of jobs of another gateway that has the same name as this one.
    """

    def __init__(self, views: SessionViews, factories: OfferedFactories, same_name: Mapping[str, int]) -> None:
        self._views = views
        self._factories = factories
        self._same_name = same_name

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the gauges: sessions by factory and state, open doors, and the health of each factory."""
        sessions = GaugeMetricFamily("factorygate_sessions", "Live sessions", labels=["factory", "state"])
        doors = GaugeMetricFamily("factorygate_doors_open", "Doors held open", labels=["factory"])
        shown = self._views.live()
        for (factory, state), count in Counter((s.choice.factory, s.state.value) for s in shown).items():
            sessions.add_metric([factory, state], count)
        for factory, count in Counter(s.choice.factory for s in shown if s.door_open).items():
            doors.add_metric([factory], count)
        answers = GaugeMetricFamily(
            "factorygate_answer_seconds", "How long the scheduler took for the last answer", labels=["factory"]
        )
        reached = GaugeMetricFamily("factorygate_factory_up", "1 if the scheduler answers", labels=["factory"])
        for name, connection in self._factories.items():
            health = connection.site.health
            reached.add_metric([name], health.state != "unreachable")
            if health.answer_seconds is not None:
                answers.add_metric([name], health.answer_seconds)
        others = GaugeMetricFamily(
            "factorygate_jobs_of_another_gateway",
            "Jobs of this gateway's name whose comment another gateway signed: two hubs have the same hub.name",
            labels=["factory"],
        )
        for name, count in self._same_name.items():
            others.add_metric([name], count)
        return [sessions, doors, answers, reached, others]


def exposition(views: SessionViews, factories: OfferedFactories, same_name: Mapping[str, int]) -> bytes:
    """Return all metrics in Prometheus' text format."""
    own = CollectorRegistry()
    own.register(LinkCollector(views, factories, same_name))
    return generate_latest(REGISTRY) + generate_latest(own)
