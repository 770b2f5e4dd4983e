"""How the testbed finds the daemons of a cluster."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.slurm.daemons import CONTROLLER, pid_file, running


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[int]:
    """Run a stand-in for the cluster's controller, whose program is in ``tmp_path``; return its pid."""
    program = tmp_path / "sbin" / CONTROLLER
    program.parent.mkdir()
    shutil.copy("/bin/sleep", program)
    pid_file(tmp_path, CONTROLLER).parent.mkdir()
    process = subprocess.Popen((str(program), "600"))
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("rest", ["", "6\n", "\n"])
def test_a_controller_is_found_that_wrote_its_pid_over_a_longer_one(tmp_path: Path, controller: int, rest: str) -> None:
    pid_file(tmp_path, CONTROLLER).write_text(f"{controller}\n{rest}")
    process = running(tmp_path, CONTROLLER)
    assert process is not None
    assert process.pid == controller


@pytest.mark.parametrize("text", [None, "", "\n", "0\n", "1\n", "none\n"])
def test_no_controller_is_found_while_its_pid_is_not_there_or_of_another_program(
    tmp_path: Path, controller: int, text: str | None
) -> None:
    if text is not None:
        pid_file(tmp_path, CONTROLLER).write_text(text)
    assert running(tmp_path, CONTROLLER) is None
