"""Starts a session in which tests create Dask clusters, as a fixture of several files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.bed import Bed
from tests.support.gateway import Gateway, eventually


@pytest.fixture
def bed(gateway: Gateway) -> Iterator[Bed]:
    made = Bed(gateway)
    yield made
    made.gateway.stopped(made.user)
    eventually(lambda: not made.workers(), 60, what="no worker's job is left")  # the jobs end with their session
