"""``factorygate ledger``: checks whether the link's database has the tables of this release, or upgrades the tables."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from factorylink.catalogue.loading import load_link_config
from factorylink.ledger import migrations
from factorylink.ledger.ledger import Ledger, LedgerError


def add(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``ledger``, with ``check`` and ``upgrade``, to the subparsers ``parts``."""
    ledger = parts.add_parser("ledger", help="the link's database").add_subparsers(required=True)
    for name, run, description in (
        ("check", _check, "whether it has what this release needs; changes nothing"),
        ("upgrade", _upgrade, "bring it to what this release needs, as the link does when it starts"),
    ):
        part = ledger.add_parser(name, help=description)
        part.add_argument("--config", type=Path, required=True, help="link.yaml")
        part.set_defaults(run=run)


def _check(options: argparse.Namespace) -> int:
    database = load_link_config(options.config).database
    try:
        if not database.exists():
            return _say(f"{database} is not there yet; the link makes it when it starts.", 1)
        engine = database.engine()
    except OSError as error:
        return _say(f"{database} cannot be opened: {error}. Run this as the link's user.", 1)
    try:
        with engine.connect() as db:
            step = migrations.is_at(db)
    except (SQLAlchemyError, migrations.NewerDatabase) as error:
        return _say(f"{database}: {error}", 1)
    finally:
        engine.dispose()
    if step == migrations.head():
        return _say(f"{database} is at step {step}, as this release needs it.", 0)
    return _say(f"{database} is at step {step or 'none'}; this release needs {migrations.head()}: upgrade it.", 1)


def _upgrade(options: argparse.Namespace) -> int:
    ledger = Ledger(load_link_config(options.config).database, alone=True)

    async def upgrade() -> None:
        try:
            await ledger.open()
        finally:
            await ledger.close()

    try:
        asyncio.run(upgrade())
    except LedgerError as error:
        return _say(str(error), 1)
    return _say(f"{ledger.where} is at step {migrations.head()}.", 0)


def _say(text: str, code: int) -> int:
    (sys.stderr if code else sys.stdout).write(f"{text}\n")
    return code
