"""Computes the prices of node sizes.

Only this module counts the billed GPUs of a size and parses ``billed_as`` of the catalogue.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from factorycommon.models import Amount, Factory, NodeSize, Price

# Texts of ``billed_as``: "1/4 node-hour per hour", "0.5 GPU-hours per hour"; or GPUs only: "8 GPUs", "1 GPU-h".
_PER_HOUR = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(?:/([1-9]\d{0,8}))? (\S{1,40}?)s? per hour")
_IN_GPUS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) GPU(?:s|-h|-hours?)?")


def billed_gpus(factory: Factory, size: NodeSize) -> Fraction:
    """Return the exact number of GPUs that the gateway bills for a job of that size: a fraction for a slice of a GPU.

    If the job gets a whole node, all GPUs of the node are billed.
    """
    partition = factory.partition(size.partition)
    if size.whole_node or partition.whole_node_only:
        return Fraction(factory.gpu(partition).per_node if partition.gpus else 0)
    return size.share


def gpus_of(factory: Factory, size_id: str) -> Fraction:
    """Return the number of billed GPUs of the size with this id; 0 if the catalogue no longer has this size."""
    return next((billed_gpus(factory, size) for size in factory.sizes if size.id == size_id), Fraction(0))


def price(factory: Factory, size: NodeSize) -> Price:
    """Return the price of an hour of a node size.

    ``gpu_hours`` of the price is the number of GPUs or GPU-hours that ``size.billed_as`` names; if this text names
    none, the number of billed GPUs. ``own`` is the amount that ``size.billed_as`` names in another unit, such as
    node-hours; None if this text names no other unit.
    """
    counted, (charged, own) = float(billed_gpus(factory, size)), _read(size.billed_as)
    return Price(
        gpu_hours=counted if charged is None else charged, counted=counted, own=own,
        **_charged_for(factory, size, counted, charged),
    )  # fmt: skip


def price_of(factory: Factory, size_id: str) -> Price | None:
    """Return the price of the size with this id; None if the catalogue no longer has this size."""
    return next((price(factory, size) for size in factory.sizes if size.id == size_id), None)


def _read(billed_as: str) -> tuple[float | None, Amount | None]:
    """Return the GPU-hours that the factory charges for an hour, and the amount that it charges in another unit.

    Each value is None if the text does not contain it.
    """
    if found := _IN_GPUS.fullmatch(billed_as):
        return float(found[1]), None
    found = _PER_HOUR.fullmatch(billed_as)
    if found is None:
        return None, None
    amount, unit = float(found[1]) / int(found[2] or 1), found[3]
    return (amount, None) if unit == "GPU-hour" else (None, Amount(amount=amount, unit=unit))


def _charged_for(factory: Factory, size: NodeSize, counted: float, charged: float | None) -> dict[str, Any]:
    if not size.gpus:
        return {"charged_for": "cores", "number": size.cores}
    if size.billed_gpus is not None:
        return {"charged_for": "part", "number": float(size.share)}
    unit, whole = factory.gpu(factory.partition(size.partition)).unit, max(charged or 0.0, counted)
    if unit != "GPU" and charged is not None and charged != size.gpus:
        return {"charged_for": "part", "number": charged, "unit": unit}
    if whole > size.gpus:
        return {"charged_for": "whole-node", "number": whole, "unit": unit}
    return {"charged_for": "gpus", "number": size.gpus, "unit": unit}
