"""The table of connection checks: the verdicts and the time, and nothing else of a person's browser and network."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, String, Table

from factorycommon.service.columns import MomentColumn, ParsedColumn
from workshops.models.checks import CheckTests
from workshops.store.schema import metadata

checks = Table(
    "checks",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("person", String, primary_key=True),
    Column("at", MomentColumn, nullable=False),
    Column("tests", ParsedColumn(CheckTests), nullable=False),
)
