"""Makes the commands of the vendors' programs that report the use of GPUs, and parses their output; runs nothing."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Environment = Mapping[str, str]

_MIB = 1 << 20
_NUMBERS = re.compile(r"\d+(,\d+)*")
_NAMES = re.compile(r"(\d+|GPU-[0-9a-f-]+)(,(\d+|GPU-[0-9a-f-]+))*")
# names of MIG devices: first of drivers before 470, then of later ones
_MIG = re.compile(r"MIG-(GPU-[0-9a-f-]+/\d+/\d+|[0-9a-f-]+)")
_NONE = ("", "-1", "NoDevFiles")  # values of the variables in a job without GPUs
_LONGEST = 100  # maximum characters of a name that is shown

_LISTED_GPU = re.compile(r"GPU +(\d+): (.+) \(UUID: (GPU-[0-9a-f-]+)\)")
_LISTED_MIG = re.compile(r" +MIG (\S+) +Device +(\d+): \(UUID: (MIG-[^)]+)\)")
_ROW_OF_MIG = re.compile(r"\| +(\d+) +(\d+) +(\d+) +(\d+) +\| +(\d+)MiB */ *(\d+)MiB +\|")
_UNITS = {"B": 1, "KB": 1 << 10, "MB": _MIB, "GB": 1 << 30}  # amd-smi counts in powers of 1024


@dataclass(frozen=True)
class Gpu:
    """One GPU of a job, as the vendor's program reports it; a value that the program does not report is None.

    ``percent``: how busy it is; ``memory``: the bytes of its memory that are in use; ``memory_limit``: all its bytes.
    """

    name: str
    percent: int | None = None
    memory: int | None = None
    memory_limit: int | None = None


@dataclass(frozen=True)
class Question:
    """The way in which one vendor's program reports the GPUs of a job.

    ``command`` returns the program's argv from the job's environment variables, or an empty one if the program has
    nothing to report about this job. ``names`` returns the argv of a second command, or an empty one if none is needed;
    the output of the second command stays the same while the job runs, so this command is not run again once it has
    succeeded. ``read`` returns the GPUs from the environment variables and the outputs of both commands; no GPUs if the
    output was not understood.
    """

    command: Callable[[Environment], list[str]]
    read: Callable[[Environment, str, str], tuple[Gpu, ...]]
    names: Callable[[Environment], list[str]] = lambda _: []


def _count(text: object) -> int | None:
    """Parse a number in the output of these programs, and round it.

    Return None for other texts such as "[N/A]", for negative numbers, and from 2**63 on.
    """
    try:
        number = float(str(text))
    except ValueError:
        return None
    return round(number) if 0 <= number < 2**63 else None


def _percent(text: object) -> int | None:
    number = _count(text)
    return number if number is not None and number <= 100 else None


# --- NVIDIA


def nvidia_command(environment: Environment) -> list[str]:
    """Return the ``nvidia-smi`` command for the job's own GPUs; empty if the job has MIG devices, or no GPU.

    If CUDA_VISIBLE_DEVICES is not set, or contains anything but numbers or UUIDs, the command reports all GPUs that the
    job can see.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible in _NONE or mig_devices(environment):
        return []
    which = [f"--id={visible}"] if visible and _NAMES.fullmatch(visible) else []
    query = "--query-gpu=name,utilization.gpu,memory.used,memory.total"
    return ["nvidia-smi", query, "--format=csv,noheader,nounits", *which]


def parse_nvidia(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs of lines such as ``NVIDIA A100-SXM4-64GB, 37, 1024, 65536`` (percent, MiB); skip other lines."""
    found = []
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(row) == 4:
            used, total = _count(row[2]), _count(row[3])
            found.append(
                Gpu(
                    row[0].strip()[:_LONGEST],
                    _percent(row[1]),
                    None if used is None else used * _MIB,
                    None if total is None else total * _MIB,
                )
            )
    return tuple(found)


def mig_devices(environment: Environment) -> list[str]:
    """Return the names of the job's MIG devices (slices of a GPU); empty if it has whole GPUs, or none."""
    names = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return names if any(name.startswith("MIG-") for name in names) else []


def mig_command(environment: Environment) -> list[str]:
    """Return the command that prints the table of MIG devices with their memory; empty if the job has no MIG device.

    ``--query-gpu`` does not list MIG devices, only whole GPUs.
    """
    return ["nvidia-smi"] if mig_devices(environment) else []


def mig_names(environment: Environment) -> list[str]:
    """Return the command that lists MIG devices by name, with GPU and number; empty if the job has no MIG device.

    The table that the command of ``mig_command`` prints has the GPU and the number of each device, but no names.
    """
    return ["nvidia-smi", "-L"] if mig_devices(environment) else []


def parse_mig(devices: list[str], table: str, listed: str) -> tuple[Gpu, ...]:
    """Return a ``Gpu`` for each of ``devices`` that the outputs contain, with its memory from ``table``.

    ``devices``: the result of ``mig_devices``; ``table``, ``listed``: the outputs of ``nvidia-smi`` and
    ``nvidia-smi -L``. NVIDIA reports no percentage for MIG devices.
    """
    places: dict[str, tuple[str, int, int]] = {}  # by the device's name: its type, its GPU, its number on the GPU
    gpus: dict[str, int] = {}
    model = number = None
    for line in listed.splitlines():
        if gpu := _LISTED_GPU.fullmatch(line.rstrip()):
            number, model = int(gpu[1]), gpu[2]
            gpus[gpu[3]] = number
        elif (mig := _LISTED_MIG.fullmatch(line.rstrip())) and number is not None:
            places[mig[3]] = f"{model} MIG {mig[1]}", number, int(mig[2])
    rows = [tuple(int(cell) for cell in row.groups()) for row in _ROW_OF_MIG.finditer(table)]
    memory = {(row[0], row[3]): row[4:] for row in rows}
    # The old names contain the GPU and the instances instead of the number in the table.
    instances = {row[:3]: row[3] for row in rows}
    found = []
    for device in devices:
        name, gpu_number, index = places.get(device) or _older(device, gpus, instances) or ("", -1, -1)
        if name:
            used, total = memory.get((gpu_number, index), (None, None))
            found.append(Gpu(
                name[:_LONGEST], None, None if used is None else used * _MIB, None if total is None else total * _MIB
            ))  # fmt: skip
    return tuple(found)


def _older(
    device: str, gpus: Mapping[str, int], instances: Mapping[tuple[int, ...], int]
) -> tuple[str, int, int] | None:
    """Return the name, the GPU's number and the number in the table for a MIG device with a name of the old form.

    None if the device is not found. The old name ``MIG-GPU-5d5ba0d6/1/0`` consists of the GPU's UUID, the number of the
    GPU instance and that of the compute instance. ``gpus``: the GPU's number by its UUID; ``instances``: the number in
    the table, by the numbers of GPU, GPU instance and compute instance.
    """
    if _MIG.fullmatch(device) is None or "/" not in device:
        return None
    gpu, of_gpu, of_compute = device.removeprefix("MIG-").split("/")
    number = gpus.get(gpu, -1)
    index = instances.get((number, int(of_gpu), int(of_compute)))
    return None if index is None else ("MIG device", number, index)


# --- AMD


def _amd(environment: Environment, *argv: str, option: str) -> list[str]:
    """Return the command ``argv``, restricted to the job's own GPUs by ``option``; empty if the job has no GPU.

    If ROCR_VISIBLE_DEVICES is not set, or does not name the GPUs by numbers, the command is not restricted, since
    ``amd-smi`` and ``rocm-smi`` accept only numbers of GPUs.
    """
    visible = environment.get("ROCR_VISIBLE_DEVICES")
    if visible in _NONE:
        return []
    which = [option, *visible.split(",")] if visible and _NUMBERS.fullmatch(visible) else []
    return [*argv, *which]


def amd_command(environment: Environment) -> list[str]:
    """Return the ``amd-smi`` command for use and memory of the job's own GPUs; empty if the job has no GPU.

    If ROCR_VISIBLE_DEVICES is not set, or contains anything but numbers, this command and those of ``amd_names`` and
    ``rocm_command`` report all GPUs that the job can see.
    """
    return _amd(environment, "amd-smi", "metric", "--usage", "--mem-usage", "--json", option="--gpu")


def amd_names(environment: Environment) -> list[str]:
    """Return the ``amd-smi`` command for the names of the job's own GPUs, which ``amd-smi metric`` does not print.

    Empty if the job has no GPU.
    """
    return _amd(environment, "amd-smi", "static", "--asic", "--json", option="--gpu")


def parse_amd(metric: str, static: str) -> tuple[Gpu, ...]:
    """Return the GPUs from the outputs of the commands of ``amd_command`` and ``amd_names``.

    Each output is a list of GPUs in JSON; ROCm 7 wraps the list in an object, under the key ``gpu_data``. Each
    measured value is an object with ``value`` and ``unit``.
    """
    names = {number: fields.get("asic") for number, fields in _amd_gpus(static)}
    found = []
    for number, fields in _amd_gpus(metric):
        asic, usage, memory = (
            each if isinstance(each, dict) else {}
            for each in (names.get(number), fields.get("usage"), fields.get("mem_usage"))
        )
        name = asic.get("market_name")
        found.append(
            Gpu(
                (name if isinstance(name, str) and name != "N/A" else f"AMD GPU {number}")[:_LONGEST],
                _percent(_value(usage.get("gfx_activity"), "%")),
                _bytes(memory.get("used_vram")),
                _bytes(memory.get("total_vram")),
            )
        )
    return tuple(found)


def _amd_gpus(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    parsed = _json(text)
    if isinstance(parsed, dict):
        parsed = parsed.get("gpu_data")
    for fields in parsed if isinstance(parsed, list) else ():
        if isinstance(fields, dict) and isinstance(fields.get("gpu"), int):
            yield fields["gpu"], fields


def _value(parsed: object, unit: str) -> object:
    """Return the value of ``{"value": 40, "unit": "%"}`` if it is in ``unit``, else None."""
    return parsed.get("value") if isinstance(parsed, dict) and parsed.get("unit") == unit else None


def _bytes(parsed: object) -> int | None:
    found = [(_count(_value(parsed, unit)), size) for unit, size in _UNITS.items()]
    return next((number * size for number, size in found if number is not None), None)


def rocm_command(environment: Environment) -> list[str]:
    """Return the ``rocm-smi`` command for the job's own GPUs; empty if the job has no GPU.

    It is for sites where ``amd-smi`` is missing or its output is not understood.
    """
    return _amd(
        environment, "rocm-smi", "--showuse", "--showmeminfo", "vram", "--showproductname", "--json", option="-d"
    )


def parse_rocm(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs from the JSON of ``rocm-smi``, an object with ``card0``, ``card1``, ...

    Releases of ``rocm-smi`` differ in upper and lower case of the fields' names.
    """
    parsed = _json(text)
    found = []
    for card, fields in parsed.items() if isinstance(parsed, dict) else ():
        if not str(card).startswith("card") or not isinstance(fields, dict):
            continue
        values = {str(name).lower(): value for name, value in fields.items()}
        found.append(
            Gpu(
                str(values.get("card series") or card)[:_LONGEST],
                _percent(values.get("gpu use (%)")),
                _count(values.get("vram total used memory (b)")),
                _count(values.get("vram total memory (b)")),
            )
        )
    return tuple(found)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# For each vendor, the questions in order; the first with an installed program and a parsed answer is used.
VENDORS = (
    (
        Question(mig_command, lambda env, table, listed: parse_mig(mig_devices(env), table, listed), mig_names),
        Question(nvidia_command, lambda _, text, __: parse_nvidia(text)),
    ),
    (
        Question(amd_command, lambda _, metric, static: parse_amd(metric, static), amd_names),
        Question(rocm_command, lambda _, text, __: parse_rocm(text)),
    ),
)
