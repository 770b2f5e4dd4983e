"""How the vendors' programs are asked for the use of GPUs, and what they answer. Pure: runs nothing."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_MIB = 1 << 20
_NUMBERS = re.compile(r"\d+(,\d+)*")
_NAMES = re.compile(r"(\d+|GPU-[0-9a-f-]+)(,(\d+|GPU-[0-9a-f-]+))*")
_NONE = ("", "-1", "NoDevFiles")  # of the variables that say which GPUs a job has: none
_LONGEST = 100  # characters of a name that we show


@dataclass(frozen=True)
class Gpu:
    """One GPU: how busy it is in percent, and its memory in bytes; None: it does not tell."""

    name: str
    percent: int | None = None
    memory: int | None = None
    memory_limit: int | None = None


@dataclass(frozen=True)
class Vendor:
    """``command``: from the job's environment to an argv, empty where the job has no such GPU."""

    command: Callable[[Mapping[str, str]], list[str]]
    parse: Callable[[str], tuple[Gpu, ...]]


def _count(text: object) -> int | None:
    """A number as these programs write it; None for "[N/A]" and its like."""
    try:
        number = float(str(text))
    except ValueError:
        return None
    return round(number) if 0 <= number < 2**63 else None


def _percent(text: object) -> int | None:
    number = _count(text)
    return number if number is not None and number <= 100 else None


def nvidia_command(environment: Mapping[str, str]) -> list[str]:
    """Only of the job's own GPUs, also where the node does not hide the others."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible in _NONE:
        return []
    which = [f"--id={visible}"] if visible and _NAMES.fullmatch(visible) else []
    query = "--query-gpu=name,utilization.gpu,memory.used,memory.total"
    return ["nvidia-smi", query, "--format=csv,noheader,nounits", *which]


def parse_nvidia(text: str) -> tuple[Gpu, ...]:
    """Lines such as ``NVIDIA A100-SXM4-64GB, 37, 1024, 65536``, memory in MiB. What is none is left out."""
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


def amd_command(environment: Mapping[str, str]) -> list[str]:
    """As for the other vendor; ``rocm-smi`` takes numbers only."""
    visible = environment.get("ROCR_VISIBLE_DEVICES")
    if visible in _NONE:
        return []
    which = ["-d", *visible.split(",")] if visible and _NUMBERS.fullmatch(visible) else []
    return ["rocm-smi", "--showuse", "--showmeminfo", "vram", "--showproductname", "--json", *which]


def parse_amd(text: str) -> tuple[Gpu, ...]:
    """An object with ``card0``, ``card1``, ...; releases write the names of its fields in different cases."""
    try:
        told = json.loads(text)
    except ValueError:
        return ()
    found = []
    for card, fields in told.items() if isinstance(told, dict) else ():
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


VENDORS = (Vendor(nvidia_command, parse_nvidia), Vendor(amd_command, parse_amd))
