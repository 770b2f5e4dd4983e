"""The share of the processor for tests with a time limit: where it is set, and that nothing of it stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processor_share import MOUNTS, NAME, SHARES, hierarchy, ordinary, preferred


def groups() -> str:
    return Path("/proc/self/cgroup").read_text()


def group() -> Path:
    found = hierarchy(MOUNTS.read_text())
    assert found is not None
    return found[0] / f"{NAME}{os.getpid()}"


def test_the_controller_is_found_in_both_kinds_of_hierarchy(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io\n")
    second = f"cgroup2 {tmp_path} cgroup2 rw,nosuid 0 0\n"
    assert hierarchy("tmpfs /run tmpfs rw 0 0\n" + second) == (tmp_path, "cgroup2")
    first = "cgroup /groups/memory cgroup rw,memory 0 0\ncgroup /groups/cpu cgroup rw,cpu,cpuacct 0 0\n"
    assert hierarchy(first + second) == (Path("/groups/cpu"), "cgroup")
    (tmp_path / "cgroup.controllers").write_text("\n")  # they are all in the older hierarchy
    assert hierarchy(second) is None


def test_what_is_started_has_the_share_and_the_group_ends_with_it() -> None:
    before = groups()
    with preferred() as changed:
        if not changed:
            assert groups() == before
            pytest.skip("this machine lets no control group be made")
        assert "/factorygate-timing-" in groups()
        child = subprocess.run(
            (sys.executable, "-c", "print(open('/proc/self/cgroup').read(), end='')"),
            capture_output=True,
            text=True,
            check=True,
        )
        assert child.stdout == groups()
    assert groups() == before
    assert not group().exists()


def test_the_share_is_an_ordinary_one_meanwhile() -> None:
    with preferred() as changed:
        if not changed:
            pytest.skip("this machine lets no control group be made")
        found = hierarchy(MOUNTS.read_text())
        assert found is not None
        name, highest, usual = SHARES[found[1]]
        shares = group() / name
        assert shares.read_text().strip() == highest
        with ordinary():
            assert shares.read_text().strip() == usual
        assert shares.read_text().strip() == highest
