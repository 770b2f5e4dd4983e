"""Builds the images once, and prepares the container engine, as fixtures of several files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.engine import Engine
from tests.support import podman

NAMES = ("base", "hub", "link", "workshops", "proxy", "notebook-cpu")


@pytest.fixture(scope="session")
def images() -> Path:
    """Return the folder with the images."""
    return podman.built(*NAMES)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Return podman, which is installed if it is missing."""
    made = Engine(tmp_path_factory.mktemp("podman"))
    yield made
    made.end()
