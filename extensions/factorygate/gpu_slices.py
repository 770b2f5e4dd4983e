"""Checks, before anything else runs in a job, that the job sees exactly the slice of a GPU that it requested.

A job that saw another slice, or whole GPUs, would use what is not charged, or what belongs to another job.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping, Sequence

from factorycommon.gpu_shares import GpuSlice, parse_slice
from factorygate.job_environment import JobEnvironment

PATIENCE = 30.0  # seconds for ``nvidia-smi -L``, which waits for the driver on a node that has just started
LIST = ("nvidia-smi", "-L")

_MOST_SHOWN = 200  # characters of other programs' texts in a message
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
_NOTHING = ("", "-1", "NoDevFiles")  # their values in a job without GPUs
_MIG = re.compile(r" +MIG (?P<profile>\S+) +Device +(?P<device>[0-9]+): \(UUID: (?P<id>MIG-[^)]+)\)")


class GpuSliceError(Exception):
    """Raised if the job does not see exactly the slice of a GPU that it requested, or if this cannot be checked.

    The text says what the job sees, or why it cannot be checked.
    """


async def check(
    job: JobEnvironment, environment: Mapping[str, str] = os.environ, command: Sequence[str] = LIST
) -> None:
    """Check that the job sees exactly the slice that it requested; a job that requested none is not checked.

    ``environment``: the job's environment variables; ``command``: the argv that lists the node's MIG devices. Raises
    GpuSliceError if the job sees anything else, or if this cannot be checked.
    """
    if not job.slice:
        return
    wanted = parse_slice(job.slice)
    if wanted is None:
        raise GpuSliceError(f"this release of factorygate cannot check {job.slice[:_MOST_SHOWN]}")
    devices = visible(environment)
    if wanted.kind == "shard":
        problem = shards_problem(wanted, devices, job.shards)
    else:
        problem = mig_problem(wanted, devices, await _list(command) if _may_be_mig(devices) else "")
    if problem:
        raise GpuSliceError(problem)


def report(error: GpuSliceError) -> str:
    """Write the error into the job's log, where the link finds it; return the error as a sentence."""
    print(f"factorygate: not the slice of a GPU that was requested: {error}", file=sys.stderr, flush=True)
    return f"Not the slice of a GPU that was requested: {error}"


def visible(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the devices that the scheduler has made visible to the job; empty if there are none.

    ``environment``: the job's environment variables.
    """
    text = next((environment[name] for name in _VISIBLE if environment.get(name)), "")
    return [] if text in _NOTHING else text.split(",")


def mig_problem(wanted: GpuSlice, devices: Sequence[str], listed: str) -> str:
    """Return what is wrong with the visible MIG devices; "" if they are exactly the requested ones.

    ``devices``: the result of ``visible``; ``listed``: the output of ``nvidia-smi -L``.
    """
    asked = f"{wanted.count} MIG device{'' if wanted.count == 1 else 's'} {wanted.profile}"
    if not devices:
        return f"{asked} requested, but the scheduler shows the job no GPU"
    shown = ", ".join(devices)[:_MOST_SHOWN]
    if not _may_be_mig(devices):
        return f"{asked} requested, but the job sees whole GPUs: {shown}"
    if len(devices) != wanted.count or len(set(devices)) != wanted.count:
        return f"{asked} requested, but the job sees {len(devices)}: {shown}"
    profiles = mig_profiles(listed)
    for device in devices:
        if device not in profiles:
            return f"{asked} requested, but nvidia-smi does not list {device[:_MOST_SHOWN]}"
        if profiles[device] != wanted.profile:
            return f"{asked} requested, but the job sees {profiles[device][:_MOST_SHOWN]}"
    return ""


def shards_problem(wanted: GpuSlice, devices: Sequence[str], shards: int | None) -> str:
    """Return what is wrong with the shards of a GPU; "" if the job has exactly the requested ones, on one GPU.

    ``devices``: the result of ``visible``; ``shards``: the number of shards that the scheduler reports; None: the
    scheduler does not report this number.
    """
    if shards is None:
        return f"{wanted.count} shards requested, but Slurm does not say how many there are (23.02 and later do)"
    if shards != wanted.count:
        return f"{wanted.count} shards requested, but Slurm gave {shards}"
    if len(devices) != 1:
        return f"shards of one GPU requested, but the job sees {len(devices)} GPUs"
    return ""


def mig_profiles(listed: str) -> dict[str, str]:
    """Return the profile of each MIG device in the output of ``nvidia-smi -L``, by the device's id (``MIG-...``)."""
    return {found["id"]: found["profile"] for line in listed.splitlines() if (found := _MIG.fullmatch(line.rstrip()))}


def _may_be_mig(devices: Sequence[str]) -> bool:
    return bool(devices) and all(device.startswith("MIG-") for device in devices)


async def _list(command: Sequence[str]) -> str:
    """Return the output of the command. Raises GpuSliceError if it cannot be run, fails, or takes too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise GpuSliceError(f"{command[0]} cannot be run, which lists the MIG devices: {error.strerror}") from error
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise GpuSliceError(f"{command[0]} did not answer within {PATIENCE:g} s") from error
    if process.returncode:
        raise GpuSliceError(f"{command[0]} failed with code {process.returncode}")
    return output.decode("utf-8", "replace")
