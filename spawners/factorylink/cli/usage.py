"""``factorygate usage``: prints the GPU-hours and the number of jobs by day, factory, person or project."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from factorylink.client import LinkClient
from factorylink.projects import usage_report

Work = Callable[[LinkClient, argparse.Namespace], Awaitable[None]]


def add(parts: Any, with_link: Callable[[Work], Callable[[argparse.Namespace], int]]) -> None:
    """Add the command ``usage`` to the subparsers ``parts``.

    ``with_link``: takes an async function with two parameters, a client of the link and the options; returns a function
    with the options as its only parameter. The returned function makes the client, calls the async function, and
    returns the exit code.
    """
    part = parts.add_parser("usage", help="who used how many GPU-hours, as the schedulers count them")
    part.add_argument("--project", help="of this project only")
    part.add_argument("--since", type=_day, help="day, such as 2026-01-31; in UTC")
    part.add_argument("--by", choices=("day", "project", "factory", "person"), default="project")
    part.add_argument("--csv", action="store_true", help="all of it, a line a day, factory and person")
    part.set_defaults(run=with_link(_usage))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; allowed: one such as 2026-01-31") from error


async def _usage(link: LinkClient, options: argparse.Namespace) -> None:
    lines = await link.usage(options.project, options.since)
    if options.csv:
        sys.stdout.write(usage_report.as_csv(lines))
        return
    rows = [(options.by.upper(), "JOBS", "GPU-HOURS"), *usage_report.table(lines, options.by)]
    widths = [max(len(str(row[column])) for row in rows) for column in range(3)]
    for key, jobs, hours in rows:
        sys.stdout.write(f"{key.ljust(widths[0])}  {str(jobs).rjust(widths[1])}  {hours.rjust(widths[2])}\n")
