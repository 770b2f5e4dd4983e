"""A job starts only if exactly the slice of a GPU is visible that it requested, and else says what it sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from factorygate.gpu_slices import GpuSliceError, check, mig_profiles
from factorygate.job_environment import JobEnvironment, job_environment
from factorylink.explain import explain
from tests.unit.test_use import LISTED, MIG, MIG_OF_GPU_1

OTHER = "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb"
SMALL, LARGE = "gpu:1g.5gb:1", "gpu:a100_3g.20gb:1"


def job(**variables: str) -> JobEnvironment:
    return job_environment({f"FACTORYGATE_JOB_{name}": value for name, value in variables.items()})


@pytest.fixture
def listing(tmp_path: Path) -> tuple[str, ...]:
    """Return a command that prints what ``nvidia-smi -L`` printed on a node with MIG devices."""
    (tmp_path / "listed").write_text(LISTED)
    return ("cat", str(tmp_path / "listed"))


def test_the_profiles_of_a_list_are_read() -> None:
    assert mig_profiles(LISTED) == {MIG: "3g.20gb", OTHER: "3g.20gb", MIG_OF_GPU_1: "1g.5gb"}
    assert mig_profiles("no devices were found\n\x00 MIG x") == {}


@pytest.mark.parametrize(
    ("wanted", "visible"),
    [(SMALL, MIG_OF_GPU_1), (LARGE, MIG), ("gpu:3g.20gb:2", f"{MIG},{OTHER}")],
)
async def test_a_job_with_its_slice_starts(listing: tuple[str, ...], wanted: str, visible: str) -> None:
    await check(job(SLICE=wanted), {"CUDA_VISIBLE_DEVICES": visible}, listing)


@pytest.mark.parametrize(
    ("wanted", "visible", "said"),
    [
        (SMALL, MIG, "1 MIG device 1g.5gb requested, but the job sees 3g.20gb"),
        (LARGE, f"{MIG},{OTHER}", "1 MIG device 3g.20gb requested, but the job sees 2: MIG-"),
        ("gpu:3g.20gb:2", f"{MIG},{MIG}", "2 MIG devices 3g.20gb requested, but the job sees 2"),
        (SMALL, "0", "the job sees whole GPUs: 0"),
        (SMALL, f"0,{MIG_OF_GPU_1}", "the job sees whole GPUs"),
        (SMALL, "", "the scheduler shows the job no GPU"),
        (SMALL, "NoDevFiles", "the scheduler shows the job no GPU"),
        (SMALL, "MIG-00000000-0000-0000-0000-000000000000", "nvidia-smi does not list MIG-0000"),
        ("gpu:h200:1", "0", "this release of factorygate cannot check gpu:h200:1"),
    ],
)
async def test_a_job_with_anything_else_is_refused(
    listing: tuple[str, ...], wanted: str, visible: str, said: str
) -> None:
    with pytest.raises(GpuSliceError) as refused:
        await check(job(SLICE=wanted), {"CUDA_VISIBLE_DEVICES": visible}, listing)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("command", "said"), [(("no-such-program",), "no-such-program cannot be run"), (("false",), "failed with code 1")]
)
async def test_a_job_whose_devices_cannot_be_listed_is_refused(command: tuple[str, ...], said: str) -> None:
    with pytest.raises(GpuSliceError, match=said):
        await check(job(SLICE=SMALL), {"CUDA_VISIBLE_DEVICES": MIG_OF_GPU_1}, command)


@pytest.mark.parametrize(
    ("shards", "environment", "said"),
    [
        ("4", {"CUDA_VISIBLE_DEVICES": "0"}, ""),
        ("4", {"ROCR_VISIBLE_DEVICES": "3"}, ""),
        ("3", {"CUDA_VISIBLE_DEVICES": "0"}, "4 shards requested, but Slurm gave 3"),
        ("", {"CUDA_VISIBLE_DEVICES": "0"}, "Slurm does not say how many"),
        ("4", {"CUDA_VISIBLE_DEVICES": "0,1"}, "the job sees 2 GPUs"),
        ("4", {}, "the job sees 0 GPUs"),
    ],
)
async def test_shards_are_checked_by_what_slurm_says(shards: str, environment: dict[str, str], said: str) -> None:
    asked = job(SLICE="shard:4", SHARDS=shards)
    if not said:
        await check(asked, environment, ("false",))
        return
    with pytest.raises(GpuSliceError, match=said):
        await check(asked, environment, ("false",))


async def test_a_job_that_requested_no_slice_is_not_checked() -> None:
    await check(job(ID="7"), {}, ("false",))


def test_a_refused_session_ends_with_words_before_its_door_opens(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    folder.mkdir(mode=0o700)
    environment = {"FACTORYGATE_JOB_SLICE": SMALL, "CUDA_VISIBLE_DEVICES": "0", "FACTORYGATE_JOB_ID": "7"}
    argv = ["--id", "1" * 32, "--folder", str(folder), "--authorized", "AAAA", "--tmp", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-m", "factorygate.session", *argv],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 2, ran.stderr
    end = json.loads((folder / "end.json").read_text())
    assert end["reason"] == "failed"
    assert "the job sees whole GPUs: 0" in end["message"]
    assert not (folder / "door.json").exists()
    reason, words = explain.ended(None, door="failed", message=end["message"], tail=ran.stderr.splitlines())
    assert (reason.value, words.code) == ("failed", "log-gpu-slice")
    assert "slice of a GPU that was asked for" in words.what
    assert words.do.startswith("Choose another size or factory")  # a slice belongs to the size
