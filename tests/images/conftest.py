"""Fixtures: the images, built once, and the container engine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.builder import tools
from images.builder.options import CHECKOUT, OUT
from images.builder.steps import BuildError
from tests.images.engine import Engine

NAMES = ("base", "hub", "link", "proxy", "notebook-cpu")


def build(*argv: str) -> None:
    done = subprocess.run(
        [CHECKOUT / "images" / "build", *argv], capture_output=True, text=True, check=False, timeout=5400
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def images() -> Path:
    """Return the folder with the images of ``images/build``, or the folder that ``FACTORYGATE_TEST_IMAGES`` names."""
    given = os.environ.get("FACTORYGATE_TEST_IMAGES")
    if given:
        return Path(given)
    build(*NAMES)
    return OUT


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Return podman, which is installed if it is missing."""
    try:
        tools.install_packages(tools.TRY)
    except BuildError as error:
        pytest.skip(f"needs podman and Charliecloud: {error}")
    made = Engine(tmp_path_factory.mktemp("podman"))
    yield made
    made.end()
