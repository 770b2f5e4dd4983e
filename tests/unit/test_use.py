"""What a session uses: the vendors' programs as they are known to answer, control groups, and steps.

The outputs are written as the programs' documentation and their users' reports show them; no GPU was at hand.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from factorygate.session import gpus, use
from factorygate.session.gpus import Gpu
from factorygate.session.notebook import read_activity
from factorygate.session.use import Gauge, Use, measure, memory_of_group, memory_of_processes

GIB = 1 << 30
NVIDIA = "NVIDIA A100-SXM4-64GB, 37, 1024, 65536\nNVIDIA A100-SXM4-64GB, 0, 4, 65536\n"
NVIDIA_MIG = "NVIDIA A100-SXM4-40GB, [N/A], 19, 40960\n"
ROCM_5 = json.dumps(
    {
        "card0": {
            "GPU use (%)": "93",
            "VRAM Total Memory (B)": "68702699520",
            "VRAM Total Used Memory (B)": "10960896",
            "Card series": "AMD INSTINCT MI250 (MCM) OAM AC MBA",
            "Card model": "0x0b0c",
        },
        "system": {"Driver version": "5.16.9.22.20"},
    }
)
ROCM_6 = ROCM_5.replace("Card series", "Card Series")


def test_nvidia_tells_percent_and_bytes() -> None:
    first, second = gpus.parse_nvidia(NVIDIA)
    assert first == Gpu("NVIDIA A100-SXM4-64GB", 37, GIB, 64 * GIB)
    assert second.percent == 0
    assert gpus.parse_nvidia(NVIDIA_MIG) == (Gpu("NVIDIA A100-SXM4-40GB", None, 19 << 20, 40 * GIB),)


@pytest.mark.parametrize("told", [ROCM_5, ROCM_6])
def test_amd_tells_percent_and_bytes(told: str) -> None:
    assert gpus.parse_amd(told) == (Gpu("AMD INSTINCT MI250 (MCM) OAM AC MBA", 93, 10960896, 68702699520),)


@pytest.mark.parametrize("told", ["", "No devices were found\n", "a, b\n", '"', "x, 1, 2, 3, 4\n"])
def test_what_is_no_answer_of_nvidia_is_nothing(told: str) -> None:
    assert gpus.parse_nvidia(told) == ()


@pytest.mark.parametrize("told", ["", "[]", "null", "ERROR: no GPU", '{"card0": 1}', '{"system": {}}'])
def test_what_is_no_answer_of_amd_is_nothing(told: str) -> None:
    assert gpus.parse_amd(told) == ()


@pytest.mark.parametrize("percent", ["101", "-1", "nan", "inf", "[Not Supported]"])
def test_a_percent_that_is_none_is_not_known(percent: str) -> None:
    assert gpus.parse_nvidia(f"X, {percent}, 1, 2")[0].percent is None


@pytest.mark.parametrize(
    ("visible", "asked"),
    [(None, None), ("0,3", "--id=0,3"), ("GPU-0f1e", "--id=GPU-0f1e"), ("MIG-1", None), ("0;reboot", None)],
)
def test_nvidia_is_asked_for_the_jobs_own(visible: str | None, asked: str | None) -> None:
    argv = gpus.nvidia_command({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert argv[0] == "nvidia-smi"
    assert [word for word in argv if word.startswith("--id")] == ([asked] if asked else [])


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles"])
def test_a_job_without_gpus_asks_for_none(visible: str) -> None:
    assert gpus.nvidia_command({"CUDA_VISIBLE_DEVICES": visible}) == []
    assert gpus.amd_command({"ROCR_VISIBLE_DEVICES": visible}) == []


def test_amd_is_asked_for_the_jobs_own() -> None:
    assert gpus.amd_command({"ROCR_VISIBLE_DEVICES": "1,2"})[-3:] == ["-d", "1", "2"]
    assert "-d" not in gpus.amd_command({"ROCR_VISIBLE_DEVICES": "1;2"})


def group(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(f"{content}\n")
    return folder


def test_memory_is_of_the_nearest_group_with_a_limit(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    own = tmp_path / "self"
    own.write_text("0::/scope/job_7/step_batch\n")
    group(root, memory_max="max", memory_current=5)
    group(root / "scope", memory_max=1, memory_current=1, memory_stat="inactive_file 0")
    group(root / "scope/job_7", memory_max=1000, memory_current=700, memory_stat="anon 500\ninactive_file 150")
    group(root / "scope/job_7/step_batch", memory_max="max", memory_current=600)
    assert memory_of_group(own, root) == (550, 1000)


@pytest.mark.parametrize("own", ["", "1:memory:/job\n", "0::/not/there\n", "0::/\n"])
def test_without_such_a_group_nothing_is_known_of_it(tmp_path: Path, own: str) -> None:
    (tmp_path / "self").write_text(own)
    group(tmp_path / "cgroup", memory_max="1", memory_current=1, memory_stat="x 1")
    assert memory_of_group(tmp_path / "self", tmp_path / "cgroup") is None


def test_the_processes_below_are_counted() -> None:
    assert memory_of_processes() > 1 << 20


def program(folder: Path, name: str, said: str, code: int = 0) -> None:
    path = folder / name
    (folder / "said").write_text(said)
    path.write_text(f"#!/bin/sh\n/bin/cat {folder}/said\nexit {code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


async def test_the_vendors_program_is_asked_where_there_is_one(tmp_path: Path) -> None:
    assert (await measure({"PATH": str(tmp_path)})).gpus == ()
    program(tmp_path, "nvidia-smi", NVIDIA)
    path = os.environ["PATH"]
    os.environ["PATH"] = str(tmp_path)
    try:
        found = await measure({"PATH": str(tmp_path)})
        assert [gpu.percent for gpu in found.gpus] == [37, 0]
        program(tmp_path, "nvidia-smi", NVIDIA, code=9)
        assert (await measure({"PATH": str(tmp_path)})).gpus == ()
    finally:
        os.environ["PATH"] = path


async def test_what_is_told_goes_in_steps_and_remembers_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    percents = iter([12, 0, 0, 0, 0])

    async def found() -> Use:
        return Use(GIB + 1, None, (Gpu("a", next(percents)), Gpu("b", None)))

    monkeypatch.setattr(use, "measure", found)
    gauge = Gauge()
    assert gauge.coarse() == (None, None)
    seen = []
    for _ in range(5):
        await gauge._look()
        seen.append(gauge.coarse())
    assert seen == [(15, GIB + (256 << 20))] * 4 + [(0, GIB + (256 << 20))]


def test_the_door_reads_it_in_the_line_of_activity() -> None:
    line = {"last": 1.5, "busy": False, "opened": True}
    assert read_activity(json.dumps(line).encode()).gpu_percent is None
    told = read_activity(json.dumps(line | {"gpu_percent": 900, "memory_bytes": 7}).encode())
    assert (told.gpu_percent, told.memory_bytes) == (100, 7)
