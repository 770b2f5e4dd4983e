"""A session's resource use: output of the vendors' programs, control groups, and rounding.

The outputs follow the programs' documentation and users' reports; no GPU was available.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorygate.session import gpus, resource_usage
from factorygate.session.deadlines import Activity
from factorygate.session.gpus import Gpu
from factorygate.session.notebook import Notebook, read_activity
from factorygate.session.resource_usage import Gauge, ResourceUsage, measure, memory_of_group, memory_of_processes
from factorygate.session.status import DoorStatusLine, moment
from factorylink.doors.protocol import DoorStatus, read_message

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
def test_rocm_smi_tells_percent_and_bytes(told: str) -> None:
    assert gpus.parse_rocm(told) == (Gpu("AMD INSTINCT MI250 (MCM) OAM AC MBA", 93, 10960896, 68702699520),)


@pytest.mark.parametrize("told", ["", "No devices were found\n", "a, b\n", '"', "x, 1, 2, 3, 4\n"])
def test_invalid_output_of_nvidia_smi_is_ignored(told: str) -> None:
    assert gpus.parse_nvidia(told) == ()


@pytest.mark.parametrize("told", ["", "[]", "null", "ERROR: no GPU", '{"card0": 1}', '{"system": {}}'])
def test_invalid_output_of_rocm_smi_is_ignored(told: str) -> None:
    assert gpus.parse_rocm(told) == ()


@pytest.mark.parametrize("percent", ["101", "-1", "nan", "inf", "[Not Supported]"])
def test_a_percent_that_is_none_is_not_known(percent: str) -> None:
    assert gpus.parse_nvidia(f"X, {percent}, 1, 2")[0].percent is None


@pytest.mark.parametrize(
    ("visible", "asked"),
    [(None, None), ("0,3", "--id=0,3"), ("GPU-0f1e", "--id=GPU-0f1e"), ("0;reboot", None)],
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
    own, odd = {"ROCR_VISIBLE_DEVICES": "1,2"}, {"ROCR_VISIBLE_DEVICES": "1;2"}
    assert gpus.rocm_command(own)[-3:] == ["-d", "1", "2"]
    assert gpus.amd_command(own)[-3:] == gpus.amd_names(own)[-3:] == ["--gpu", "1", "2"]
    assert "-d" not in gpus.rocm_command(odd)
    assert "--gpu" not in gpus.amd_command(odd)


# --- MIG: outputs in the shape of NVIDIA's MIG User Guide (driver 450); the numbers of GPU 1 are made up

MIG = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"
MIG_OF_GPU_1 = "MIG-7089d0f3-293f-58c9-8f8c-5ea666eedbde"
LISTED = f"""\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0)
  MIG 3g.20gb     Device  0: (UUID: {MIG})
  MIG 3g.20gb     Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 1g.5gb      Device  0: (UUID: {MIG_OF_GPU_1})
"""
MIG_TABLE = """\
+-----------------------------------------------------------------------------+
| NVIDIA-SMI 450.80.02    Driver Version: 450.80.02    CUDA Version: 11.0     |
|-------------------------------+----------------------+----------------------+
|   0  A100-SXM4-40GB      On   | 00000000:36:00.0 Off |                   On |
| N/A   29C    P0    62W / 400W |                  N/A |     N/A      Default |
+-------------------------------+----------------------+----------------------+

+-----------------------------------------------------------------------------+
| MIG devices:                                                                |
+------------------+----------------------+-----------+-----------------------+
| GPU  GI  CI  MIG |         Memory-Usage |        Vol|         Shared        |
|      ID  ID  Dev |           BAR1-Usage | SM     Unc| CE  ENC  DEC  OFA  JPG|
|                  |                      |        ECC|                       |
|==================+======================+===========+=======================|
|  0    1   0   0  |     11MiB / 20224MiB | 42      0 |  3   0    2    0    0 |
|                  |      0MiB / 32767MiB |           |                       |
+------------------+----------------------+-----------+-----------------------+
|  0    2   0   1  |  10453MiB / 20096MiB | 42      0 |  3   0    2    0    0 |
|                  |      2MiB / 32767MiB |           |                       |
+------------------+----------------------+-----------+-----------------------+
|  1    7   0   0  |     19MiB /  4864MiB | 14      0 |  1   0    0    0    0 |
|                  |      0MiB /  8191MiB |           |                       |
+------------------+----------------------+-----------+-----------------------+
"""


def test_a_job_on_a_mig_device_sees_its_own_only() -> None:
    job = {"CUDA_VISIBLE_DEVICES": MIG_OF_GPU_1}
    assert gpus.nvidia_command(job) == []  # the command would report every GPU of the node
    assert (gpus.mig_command(job), gpus.mig_names(job)) == (["nvidia-smi"], ["nvidia-smi", "-L"])
    assert gpus.parse_mig(gpus.mig_devices(job), MIG_TABLE, LISTED) == (
        Gpu("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None, 19 << 20, 4864 << 20),
    )


def test_a_mig_device_by_the_name_of_older_drivers() -> None:
    job = {"CUDA_VISIBLE_DEVICES": "MIG-GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0/2/0"}
    (found,) = gpus.parse_mig(gpus.mig_devices(job), MIG_TABLE, LISTED)
    assert (found.memory, found.memory_limit) == (10453 << 20, 20096 << 20)


@pytest.mark.parametrize("device", ["MIG-", "MIG-1;reboot", "MIG-GPU-e86c/9/9", "MIG-GPU-/a/b"])
@pytest.mark.parametrize(("table", "listed"), [(MIG_TABLE, LISTED), ("", ""), ("|", "MIG x Device 0: (UUID: MIG-)")])
def test_a_mig_device_that_is_not_listed_is_not_shown(device: str, table: str, listed: str) -> None:
    job = {"CUDA_VISIBLE_DEVICES": device}
    assert gpus.nvidia_command(job) == []
    assert gpus.parse_mig(gpus.mig_devices(job), table, listed) == ()


def test_a_mig_device_whose_memory_is_not_told_is_shown_without() -> None:
    assert gpus.parse_mig([MIG], "No running processes found", LISTED) == (Gpu("NVIDIA A100-SXM4-40GB MIG 3g.20gb"),)


# --- amd-smi: in the shape that users' public recordings of AMD-SMI 26.2.1 (ROCm 7.2) have; the numbers are made up


def amd_smi(*gpus_: dict[str, object], wrapped: bool = True) -> str:
    return json.dumps({"gpu_data": gpus_} if wrapped else gpus_, indent=4)


METRIC = {
    "gpu": 1,
    "usage": {
        "gfx_activity": {"value": 40, "unit": "%"},
        "umc_activity": {"value": 0, "unit": "%"},
        "mm_activity": "N/A",
        "vcn_activity": [{"value": 0, "unit": "%"}, "N/A"],
    },
    "mem_usage": {
        "total_vram": {"value": 128624, "unit": "MB"},
        "used_vram": {"value": 283, "unit": "MB"},
        "free_vram": {"value": 128341, "unit": "MB"},
    },
}
STATIC = {"gpu": 1, "asic": {"market_name": "AMD Instinct MI300A", "vendor_id": "0x1002"}}
UNTOLD = {"gpu": 0, "usage": "N/A", "mem_usage": {"total_vram": "N/A", "used_vram": {"value": "N/A", "unit": "MB"}}}


@pytest.mark.parametrize("wrapped", [True, False], ids=["ROCm 7", "ROCm 6"])
def test_amd_smi_tells_percent_bytes_and_name(wrapped: bool) -> None:
    metric, static = amd_smi(UNTOLD, METRIC, wrapped=wrapped), amd_smi(STATIC, wrapped=wrapped)
    assert gpus.parse_amd(metric, static) == (
        Gpu("AMD GPU 0"),
        Gpu("AMD Instinct MI300A", 40, 283 << 20, 128624 << 20),
    )


@pytest.mark.parametrize(
    "told", ["", "null", "7", '{"gpu_data": {}}', '[{"gpu": "x"}]', "ERROR: no GPU", "[" * 100_000]
)
def test_invalid_output_of_amd_smi_is_ignored(told: str) -> None:
    assert gpus.parse_amd(told, told) == ()


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


@pytest.mark.parametrize("path", ["/", "/inner"])
def test_a_container_s_own_groups_have_their_limit_at_the_top(tmp_path: Path, path: str) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "self"
    own.write_text(f"0::{path}\n")
    group(root / "inner", memory_max="max", memory_current=600)
    group(root, memory_max=1000, memory_current=700, memory_stat="inactive_file 150")
    assert memory_of_group(own, root) == (550, 1000)
    (root / "memory.max").unlink()  # as at the top of a machine's groups
    assert memory_of_group(own, root) is None


@pytest.mark.parametrize("own", ["", "1:memory:/job\n", "0::/not/there\n"])
def test_without_a_limited_control_group_no_limit_is_known(tmp_path: Path, own: str) -> None:
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


def amd_programs(folder: Path, *, amd: str | None, rocm: str) -> None:
    """Make an ``amd-smi`` and a ``rocm-smi`` that print these texts and record their arguments.

    ``amd``: None: there is no ``amd-smi``.
    """
    for name, said in (("amd-smi", amd), ("rocm-smi", rocm)):
        if said is not None:
            (folder / f"{name}.said").write_text(said)
            (folder / name).write_text(
                f'#!/bin/sh\necho "$1" >> {folder}/{name}.asked\n/bin/cat {folder}/{name}.said\n'
            )
            (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is the only one on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(resource_usage, "_PROGRAM_SECONDS", 60.0)
    return tmp_path


async def test_amd_smi_is_asked_before_rocm_smi_and_its_names_once(path: Path) -> None:
    amd_programs(path, amd=amd_smi(METRIC | STATIC), rocm=ROCM_6)
    names: dict[str, str] = {}
    for _ in range(2):
        found = await measure({"PATH": str(path)}, names)
        assert [(gpu.name, gpu.percent) for gpu in found.gpus] == [("AMD Instinct MI300A", 40)]
    assert (path / "amd-smi.asked").read_text().split() == ["static", "metric", "metric"]
    assert not (path / "rocm-smi.asked").exists()


@pytest.mark.parametrize("amd", [None, "amd-smi: no driver", "[]"])
async def test_rocm_smi_is_asked_where_amd_smi_is_missing_or_says_nothing(path: Path, amd: str | None) -> None:
    amd_programs(path, amd=amd, rocm=ROCM_6)
    assert [gpu.percent for gpu in (await measure({"PATH": str(path)})).gpus] == [93]


async def test_nothing_else_is_asked_about_a_mig_device(path: Path) -> None:
    (path / "nvidia-smi").write_text(f'#!/bin/sh\necho "asked $*" >> {path}/asked\n')
    (path / "nvidia-smi").chmod(0o755)
    assert (await measure({"PATH": str(path), "CUDA_VISIBLE_DEVICES": MIG})).gpus == ()
    assert (path / "asked").read_text().splitlines() == ["asked -L", "asked "]


async def test_the_vendors_program_is_asked_where_there_is_one(path: Path) -> None:
    assert (await measure({"PATH": str(path)})).gpus == ()
    program(path, "nvidia-smi", NVIDIA)
    found = await measure({"PATH": str(path)})
    assert [gpu.percent for gpu in found.gpus] == [37, 0]
    program(path, "nvidia-smi", NVIDIA, code=9)
    assert (await measure({"PATH": str(path)})).gpus == ()


async def test_only_the_gpus_of_a_program_that_cannot_be_started_are_missing(path: Path) -> None:
    (path / "nvidia-smi").write_text("#!/no/such/interpreter\n")
    (path / "nvidia-smi").chmod(0o755)
    amd_programs(path, amd=amd_smi(METRIC | STATIC), rocm=ROCM_6)
    (path / "amd-smi").write_bytes(b"\x7fELF of another machine")
    found = await measure({"PATH": str(path)})
    assert found.memory > 0
    assert [gpu.percent for gpu in found.gpus] == [93]


async def test_reported_use_is_rounded_and_covers_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    percents = iter([12, 0, 0, 0, 0])

    async def found(**_: object) -> ResourceUsage:
        return ResourceUsage(GIB + 1, None, (Gpu("a", next(percents)), Gpu("b", None)))

    monkeypatch.setattr(resource_usage, "measure", found)
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


REPORT = {"last": 1.5e9, "busy": False, "opened": True}
HUGE = "9" * 4000
HOSTILE = [
    *(json.dumps(REPORT)[:-1] + f', "{field}": {value}}}' for field in ("gpu_percent", "memory_bytes", "last")
      for value in ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", HUGE, f"-{HUGE}", "true", "[]", '"1"', "0.5")),
    *(json.dumps(REPORT)[:-1] + f', "{field}": {value}}}' for field in ("busy", "opened", "busy_with", "steps")
      for value in ("null", "5", '"text"', "{}", "[null]", "[NaN]", f"[{HUGE}]", "[[[]]]", '["\\ud800", "a\\u0000"]')),
    "", "[]", "null", "5", "{}", "[" * 60_000, '{"last":' * 10_000, "9" * 60_000, '"\\ud800"',
]  # fmt: skip


def status_of(found: Activity) -> DoorStatus:
    """Return the status that the link reads if a session has this activity, as the door sends it."""
    line = DoorStatusLine(
        session="a" * 32,
        job="7",
        phase="up",
        notebook_sock="/n/notebook.sock",
        hub_sock="/n/hub.sock",
        last_activity=moment(found.last),
        busy=found.busy,
        busy_with=found.busy_with,
        opened=found.opened,
        gpu_percent=found.gpu_percent,
        memory_bytes=found.memory_bytes,
        steps=found.steps,
        ends_idle=moment(found.last + 3600),
    )
    return read_message(DoorStatus, line.to_json(1))


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_report_is_refused_or_bounded_so_that_the_link_can_read_the_status(line: str) -> None:
    try:
        found = read_activity(line.encode())
    except ValueError:
        return
    assert status_of(found).phase == "up"
    assert found.last <= time.time()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=80),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


FIELDS = ["last", "busy", "opened", "gpu_percent", "memory_bytes", "busy_with", "steps"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_a_report_with_any_content_is_refused_or_bounded(fields: dict[str, Any]) -> None:
    try:
        found = read_activity(json.dumps(REPORT | fields).encode())
    except ValueError:
        return
    status_of(found)


def test_numbers_out_of_bounds_are_moved_to_the_nearest_bound() -> None:
    line = json.dumps(REPORT | {"last": 10**400, "gpu_percent": -(10**400), "memory_bytes": 10**400})
    found = read_activity(line.encode())
    assert found.last == pytest.approx(time.time(), abs=60)
    assert (found.gpu_percent, found.memory_bytes) == (0, 2**63 - 1)


async def test_reports_are_read_after_any_that_cannot_be_read(tmp_path: Path) -> None:
    seen: asyncio.Queue[Activity] = asyncio.Queue()
    reading, writing = os.pipe()
    task = asyncio.create_task(Notebook(tmp_path, 0o077, seen.put_nowait)._read_reports(reading))
    with os.fdopen(writing, "wb") as pipe:
        good = json.dumps(REPORT | {"gpu_percent": 7})
        lines = "\n".join([*HOSTILE, "x" * 200_000, good])
        await asyncio.to_thread(pipe.write, lines.encode() + b"\n")
    async with asyncio.timeout(60):
        await task
    last = [seen.get_nowait() for _ in range(seen.qsize())][-1]
    assert last.gpu_percent == 7
