"""Makes the view of a session that has ended, with the price of its use."""

from __future__ import annotations

from collections.abc import Mapping

from factorycommon.models import Session, Slug
from factorylink.catalogue.prices import price_of
from factorylink.ledger.charges import Used
from factorylink.ledger.schema import SessionRecord
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_session import from_record


def show_charged(record: SessionRecord, used: Used | None, factories: Mapping[Slug, FactoryConnection]) -> Session:
    """Return the view of an ended session, with its charge if the use of its job and the price are known."""
    connection = factories.get(record.factory)
    price = None if connection is None else price_of(connection.factory, record.choice.size)
    if price is None or used is None:
        return from_record(record)
    cost = price.of(used.seconds).model_copy(update={"counted": float(used.gpus * used.seconds / 3600)})
    return from_record(record).model_copy(update={"charged": cost})
