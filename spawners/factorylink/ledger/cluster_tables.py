"""The ledger's tables of Dask clusters, their batches of jobs, and their workers."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, String, Table, column

from factorycommon.models import EndReason, JobOptions, ResolvedChoice, Words, WorkerState
from factorycommon.service.columns import MomentColumn, ParsedColumn
from factorylink.ledger.schema import metadata, only

clusters = Table(
    "clusters",
    metadata,
    Column("id", String, primary_key=True),
    Column("user", String, nullable=False),
    Column("name", String, nullable=False),
    Column("factory", String, nullable=False),
    Column("account", String, nullable=False),
    Column("choice", ParsedColumn(ResolvedChoice), nullable=False),
    Column("options", ParsedColumn(JobOptions), nullable=False),
    Column("processes", Integer, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("gpu_parts", Integer, nullable=False, server_default="1"),
    Column("cap_gpu_hours", Float),
    Column("earlier", Float, nullable=False, server_default="0"),
    Column("session", String),
    Column("created", MomentColumn, nullable=False),
    Column("wish", String, nullable=False),
    Column("ended", MomentColumn),
    Column("end", ParsedColumn(Words)),
    Index("live_clusters", "id", **only(column("ended").is_(None))),
    Index("ended_clusters", "user", "ended"),
)
batches = Table(
    "batches",
    metadata,
    Column("id", String, primary_key=True),
    Column("cluster", ForeignKey("clusters.id"), nullable=False, index=True),
    Column("count", Integer, nullable=False),
    Column("hours", Float, nullable=False),
    Column("created", MomentColumn, nullable=False),
    Column("submit_begun", MomentColumn),
    Column("submits", Integer, nullable=False),
    Column("job", String),
    Column("submitted", MomentColumn),
)
workers = Table(
    "workers",
    metadata,
    Column("batch", ForeignKey("batches.id"), primary_key=True),
    Column("task", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("state", ParsedColumn(WorkerState), nullable=False),
    Column("wish", String, nullable=False),
    Column("node", String),
    Column("restarts", Integer, nullable=False, server_default="0"),
    Column("earlier", Float, nullable=False, server_default="0"),
    Column("started", MomentColumn),
    Column("ends", MomentColumn),
    Column("ended", MomentColumn),
    Column("end_reason", ParsedColumn(EndReason)),
    Column("end", ParsedColumn(Words)),
    Column("log_tail", ParsedColumn(tuple[str, ...]), nullable=False),
)
