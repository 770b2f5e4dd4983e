"""A session in which Dask clusters are made, for several files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bed import Bed
from tests.support.gateway import Gateway, eventually

MINUTES = 5  # for a test that says nothing else; the first of its clusters has to wait for them to start, too


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(60 * MINUTES))


@pytest.fixture
def bed(gateway: Gateway) -> Iterator[Bed]:
    made = Bed(gateway)
    yield made
    made.gateway.stopped(made.user)
    eventually(lambda: not made.workers(), 60, what="no worker's job is left")  # it ends with its session
