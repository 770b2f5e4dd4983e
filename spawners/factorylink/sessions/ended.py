"""Sessions that have ended, as hub, pages and scripts see them: with what they were charged."""

from __future__ import annotations

from collections.abc import Mapping

from factorycommon.models import Session, Slug
from factorylink.catalogue.prices import price_of
from factorylink.ledger.charges import Used
from factorylink.ledger.schema import SessionRecord
from factorylink.site.factory_connection import FactoryConnection
from factorylink.state.live_session import show_ended


def show_charged(row: SessionRecord, used: Used | None, places: Mapping[Slug, FactoryConnection]) -> Session:
    """Return an ended session with what it was charged, where it is known what its job used and what that costs."""
    place = places.get(row.factory)
    price = None if place is None else price_of(place.factory, row.choice.size)
    if price is None or used is None:
        return show_ended(row)
    cost = price.of(used.seconds).model_copy(update={"counted": used.gpus * used.seconds / 3600})
    return show_ended(row).model_copy(update={"charged": cost})
