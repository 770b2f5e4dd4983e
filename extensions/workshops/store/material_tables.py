"""The tables of workshops' material, beside those of ``store.schema``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ForeignKey, Integer, String, Table, Text

from factorycommon.material.steps import KnownStep
from factorycommon.models.workshops.material import KnownSteps, MaterialReport
from factorycommon.service.columns import MomentColumn, ParsedColumn
from workshops.models.material import MaterialState, RefusedFile
from workshops.store.schema import metadata

# ``repository``, ``commit_id``: what the row is about; ``digest``: of the archive; ``steps``: null in rows that an
# older release wrote.
materials = Table(
    "materials",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("repository", String, nullable=False),
    Column("commit_id", String, nullable=False),
    Column("state", ParsedColumn(MaterialState), nullable=False),
    Column("at", MomentColumn, nullable=False),
    Column("digest", String),
    Column("files", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    Column("refused", ParsedColumn(tuple[RefusedFile, ...]), nullable=False),
    Column("steps", ParsedColumn(KnownSteps)),
)
# The last delivery into each session. ``report``: what it did, None: it failed.
material_deliveries = Table(
    "material_deliveries",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("person", String, primary_key=True),
    Column("session", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("commit_id", String, nullable=False),
    Column("at", MomentColumn, nullable=False),
    Column("report", ParsedColumn(MaterialReport)),
    Column("problem", Text, nullable=False),
)


@dataclass(frozen=True)
class MaterialRecord:
    """The material of one workshop. The fields are the columns of ``materials``.

    ``state``: how far the last fetch of the material is; ``at``: since when; ``digest``: the archive's digest, None
    unless the material is ready; ``problem``: why the fetch failed, "" if it did not; ``refused``: files of the
    repository that may not be in the material; ``steps``: None during a fetch, and in a row that an older release
    wrote. When another fetch of the same commit fails, the record of ready material stays as it was, unless the archive
    is gone.
    """

    workshop: str
    repository: str
    commit_id: str
    state: MaterialState
    at: datetime
    digest: str | None = None
    files: int = 0
    bytes: int = 0
    problem: str = ""
    refused: tuple[RefusedFile, ...] = ()
    steps: tuple[KnownStep, ...] | None = None


@dataclass(frozen=True)
class MaterialDeliveryRecord:
    """The last delivery of material into one session. The fields are the columns of ``material_deliveries``.

    ``report``: None if the delivery failed; ``problem``: why it failed.
    """

    workshop: str
    person: str
    session: str
    digest: str
    commit_id: str
    at: datetime
    report: MaterialReport | None = None
    problem: str = ""
