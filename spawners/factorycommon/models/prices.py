"""The prices of sessions: for an hour of a node size, and for a whole job."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from factorycommon.models.base import Model


class Amount(Model):
    """An amount in a factory's own unit, such as 0.25 ``node-hour``. ``unit``: the unit in the singular."""

    amount: float = Field(ge=0, allow_inf_nan=False)
    unit: str


class Cost(Model):
    """The cost of a job that runs for a given time, such as its whole walltime.

    ``counted``: the GPU-hours that the gateway charges to the project. ``gpu_hours``: the GPU-hours that the factory
    charges; the same as ``counted`` if the factory charges in another unit, or if its price is not known. ``own``: the
    cost in this other unit; None if the factory charges in GPU-hours, or if its price is not known."""

    gpu_hours: float
    counted: float
    own: Amount | None = None


class Price(Cost):
    """The price of one hour of a node size, and what the factory charges for.

    ``charged_for``: ``part`` means a slice of a GPU, or parts of GPUs that the scheduler counts as one GPU each (GCDs);
    ``whole-node`` means that a whole node is charged though the size uses a part of it. ``number``: how many cores or
    GPUs are charged; for ``part``, how many whole GPUs: 0.5 for one GCD, 4 for eight. ``unit``: what the scheduler
    counts as one GPU.
    """

    charged_for: Literal["cores", "gpus", "part", "whole-node"]
    number: float
    unit: str = "GPU"

    def of(self, seconds: float) -> Cost:
        """Return the cost of a job that runs ``seconds``."""
        hours = seconds / 3600
        own = None if self.own is None else Amount(amount=self.own.amount * hours, unit=self.own.unit)
        return Cost(gpu_hours=self.gpu_hours * hours, counted=self.counted * hours, own=own)
