"""The dialects of this release, by the name that catalogue entries have under ``scheduler``."""

from __future__ import annotations

from factorylink.schedulers.dialect import Dialect
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.schedulers.slurm import dialect as slurm

DIALECTS: dict[str, Dialect] = {"pbs": pbs, "slurm": slurm}
