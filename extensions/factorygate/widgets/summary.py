"""Sums up a cluster in figures: as JSON for the head of the cluster's panel, and as text.

The panel is a widget in a notebook. The text is for scripts, logs and exported notebooks.
"""

from __future__ import annotations

import re
from typing import Any

from factorygate import language
from factorygate.view_data import ClusterView
from factorygate.widgets.rows import counts

_WEB = re.compile(r"https?://|/(?!/)")  # other URLs are left out, since a link from outside could contain a script
FLOWING = ("spent", "committed")  # figures that grow with time while jobs run


def summary(view: ClusterView) -> dict[str, Any]:
    """Return everything that the head of a cluster's panel in a notebook shows, as plain JSON.

    GPU-hours are rounded to two decimal places, except the cluster's cap.
    """
    adapting, words = view.adapting, language.here()
    return {
        "name": view.name,
        "factory": view.factory_name,
        "size": words.said(view.size_label),
        "status": view.status,
        "processes": view.processes,
        "workers": view.workers,
        "threads": view.threads,
        "memory": view.memory,
        "wanted": view.wanted,
        "maximum": view.maximum,
        "counts": counts(view.jobs),
        "lost": view.count("lost"),
        "failed": view.count("failed"),
        "spent": round(view.gpu_hours_spent, 2),
        "committed": round(view.gpu_hours_committed, 2),
        "cap": view.gpu_hours_cap,
        "per_hour": round(view.gpu_hours_per_hour, 2),
        "adapting": None if adapting is None else [adapting.minimum, adapting.maximum],
        "dashboard": view.dashboard if view.dashboard and _WEB.match(view.dashboard) else None,
        "message": words.said(view.message),
    }


def text(view: ClusterView) -> str:
    """Return a summary of a cluster as a few lines of text, for scripts, logs and exported notebooks."""
    figures = f"{view.gpu_hours_spent:.2f} spent, {view.gpu_hours_per_hour:g} an hour now"
    if view.gpu_hours_cap is not None:
        figures += f", at most {view.gpu_hours_cap:g}"
    going = f"{view.count('running')} running, {view.count('asked', 'pending')} waiting"
    lines = [
        f"Cluster {view.name} on {view.factory_name} ({view.size_label}): {view.status}",
        f"  jobs: {going}, {view.count('lost')} lost, {view.count('failed')} failed, {view.wanted} wanted",
        f"  workers: {view.workers}, {view.threads} threads, {view.memory / 1e9:.0f} GB",
        f"  GPU-hours: {figures}",
    ]
    if view.adapting:
        lines.append(f"  adapting between {view.adapting.minimum} and {view.adapting.maximum} jobs")
    if view.dashboard:
        lines.append(f"  dashboard: {view.dashboard}")
    if view.message:
        lines.append(f"  {view.message}")
    # One line for each kind of problem, with the number of jobs that have it.
    reasons: dict[tuple[str, str], int] = {}
    for job in view.jobs:
        if job.why:
            words = f"{job.why} {job.do}".strip()
            reasons[job.state, words] = reasons.get((job.state, words), 0) + 1
    lines += [f"  {number} {state}: {words}" for (state, words), number in reasons.items()]
    return "\n".join(lines)
