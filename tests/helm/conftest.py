"""Fixtures: the images that the chart runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from testbed.install.environments import CHECKOUT

IMAGES = ("hub", "link", "proxy")


@pytest.fixture(scope="session")
def images() -> Path:
    """Return the folder with the images of ``images/build``, or the folder that ``FACTORYGATE_TEST_IMAGES`` names."""
    given = os.environ.get("FACTORYGATE_TEST_IMAGES")
    if given:
        return Path(given)
    build = [CHECKOUT / "images" / "build", *IMAGES]
    done = subprocess.run(build, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stderr
    return CHECKOUT / "images" / "out"
