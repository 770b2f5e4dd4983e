"""Creates the link's HTTP apps, which answer refusals, errors of the ledger and HTTP errors with a Problem.

The metrics count the refusals and the errors of the ledger.
"""

from __future__ import annotations

import logging

from fastapi import Request, Response

from factorycommon.service import http
from factorycommon.service.http import App, Bounded, EventStream, answer, events, says, tells
from factorylink.explain import explain
from factorylink.ledger.ledger import LedgerError
from factorylink.problems import of_words
from factorylink.util import metrics

__all__ = ["App", "Bounded", "EventStream", "answer", "events", "new_app", "says", "tells"]

log = logging.getLogger("factorylink")


def new_app(title: str) -> App:
    """Return an app that has no operations yet, and answers every error, also a LedgerError, with a Problem."""
    app = http.new_app(title, log, metrics.refused)
    app.exception_handler(LedgerError)(_say_ledger)
    return app


async def _say_ledger(_request: Request, error: LedgerError) -> Response:
    log.error("%s", error)
    metrics.refused("ledger")
    return answer(of_words("unreachable", explain.own("ledger")))
