"""Types of a database's columns, and a check for rows with values that cannot be read.

Reading a stored value never raises: a time outside of the allowed years becomes the nearest allowed one, and any other
wrong value becomes ``Spoilt``, which ``intact`` looks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Dialect, Float, RowMapping, Table, Text, TypeDecorator

from factorycommon.models.base import EARLIEST, LATEST

_FIRST, _LAST = EARLIEST.timestamp(), LATEST.timestamp()


@dataclass(frozen=True)
class Spoilt:
    """A stored value that cannot be read. ``why``: the reason, for the operator."""

    why: str


class MomentColumn(TypeDecorator[datetime]):
    """A column type that stores an aware datetime as seconds since the epoch."""

    impl = Float
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> float | None:  # noqa: ARG002
        """Return a time as seconds since the epoch, for the database; None stays None, as null.

        A time before ``EARLIEST`` is stored as ``EARLIEST``, and a time after ``LATEST`` as ``LATEST``.
        """
        return None if value is None else min(max(value.timestamp(), _FIRST), _LAST)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return an aware datetime (UTC) from the stored value; ``Spoilt`` if it cannot be read, None for null."""
        if value is None:
            return None
        if not isinstance(value, int | float) or math.isnan(value):
            return Spoilt(f"{str(value)[:40]!r} is no number of seconds")
        return datetime.fromtimestamp(min(max(value, _FIRST), _LAST), UTC)


class ParsedColumn(TypeDecorator[Any]):
    """A column type that stores a value of any type that pydantic can check, as JSON."""

    impl = Text
    cache_ok = False

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self._kind: TypeAdapter[Any] = TypeAdapter(kind)

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the value as JSON text for the database; None stays None, as null."""
        return None if value is None else self._kind.dump_json(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return a value of the column's type from the stored value; ``Spoilt`` if it cannot be read, None for null."""
        try:
            return None if value is None else self._kind.validate_json(value)
        except ValueError as error:  # pydantic's ValidationError is a ValueError
            return Spoilt(f"{len(str(value))} characters are not what this release writes: {error}")


def spoilt(found: RowMapping) -> Iterator[tuple[str, Spoilt]]:
    """Yield the column's name and the ``Spoilt``, which has the reason, for each unreadable value of a row."""
    return ((str(name), value) for name, value in found.items() if isinstance(value, Spoilt))


def intact(table: Table, found: RowMapping) -> dict[str, Any] | None:
    """Return the values of a row, with None for each unreadable value that may be null.

    Return None for the whole row if a value that may not be null is unreadable.
    """
    values: dict[str, Any] = {str(name): value for name, value in found.items()}
    for name, _ in spoilt(found):
        if not table.c[name].nullable:
            return None
        values[name] = None
    return values
