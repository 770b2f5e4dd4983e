"""The prices of sessions: for an hour of a node size, and for a whole job."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from factorycommon.models.base import Model


class Amount(Model):
    """An amount in a factory's own unit: 0.25 ``node-hour``. ``unit``: in the singular."""

    amount: float = Field(ge=0, allow_inf_nan=False)
    unit: str


class Cost(Model):
    """What a job costs at most.

    ``gpu_hours``: as the factory charges them; ``counted``: GPU-hours that the gateway counts for the project;
    ``own``: in the factory's own unit, where the factory charges in another unit than GPU-hours."""

    gpu_hours: float
    counted: float
    own: Amount | None = None


class Price(Cost):
    """What an hour of a node size costs, and for what.

    ``charged_for``: ``part`` is a part of a GPU that the scheduler counts as a GPU of its own (a GCD), ``whole-node``
    a node of which the size uses a part; ``number``: how many cores, GPUs or, of ``part``, whole GPUs; ``unit``: what
    the scheduler counts as a GPU."""

    charged_for: Literal["cores", "gpus", "part", "whole-node"]
    number: float
    unit: str = "GPU"

    def of(self, seconds: float) -> Cost:
        """Return the cost of a job that runs ``seconds``."""
        hours = seconds / 3600
        own = None if self.own is None else Amount(amount=self.own.amount * hours, unit=self.own.unit)
        return Cost(gpu_hours=self.gpu_hours * hours, counted=self.counted * hours, own=own)
