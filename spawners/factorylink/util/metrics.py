"""The link's own metrics for Prometheus: the registry and its counters."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

SUBMIT_SECONDS = Histogram(
    "factorygate_submit_seconds",
    "From the intent in the ledger to the scheduler's answer",
    ["factory"],
    registry=REGISTRY,
    buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
