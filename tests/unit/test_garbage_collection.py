"""The settings of Python's garbage collector in a server process."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from factorycommon.garbage_collection import collect_less_often


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    gc.collect()
    collect_less_often()
    yield
    gc.set_threshold(*before)


class Node:
    def __init__(self) -> None:
        self.itself = self


def test_cycles_are_still_freed_in_time() -> None:
    gone = weakref.ref(Node())
    nodes = [Node() for _ in range(100_000)]  # more new objects than Python leaves unseen
    assert gone() is None
    del nodes


def test_a_few_new_objects_cost_no_look() -> None:
    gone = weakref.ref(Node())
    nodes = [Node() for _ in range(5_000)]
    assert gone() is not None
    del nodes
