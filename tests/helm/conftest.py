"""Builds the images that the chart runs, as a fixture of several files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import podman

IMAGES = ("hub", "link", "workshops", "proxy")


@pytest.fixture(scope="session")
def images() -> Path:
    """Return the folder with the images."""
    return podman.built(*IMAGES)
