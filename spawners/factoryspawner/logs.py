"""Formats the hub's log without tokens, and gives each request an id that the log's lines contain.

JupyterHub hides a token in the URL of a request, but not if that URL is a parameter of another URL: the URL of the
login page contains the URL of the page to return to. The formatters of this module hide such tokens, too.
"""

from __future__ import annotations

from logging import LogRecord
from typing import Any, Literal

from jupyterhub.handlers import BaseHandler
from jupyterhub.log import CoroutineLogFormatter

from factorycommon import request_id
from factorycommon.json_logs import json_line
from factorygate.hiding import hidden

_GIVEN = "_factorygate_request_id"
_PACKAGES = ("factoryspawner", "factorycommon", "factorylink", "workshops")  # ours, as far as they run in the hub


class Formatter(CoroutineLogFormatter):  # type: ignore[misc]  # jupyterhub is untyped
    """JupyterHub's formatter, with tokens hidden and with the id of the record's request."""

    def format(self, record: LogRecord) -> str:
        """Return the record as text without tokens.

        The first line ends with the id of the record's request, if the record belongs to a request.
        """
        text = hidden(str(super().format(record)))
        if not (request := request_id.current()):
            return text
        first, newline, rest = text.partition("\n")
        return f"{first} [{request}]{newline}{rest}"


class HubJsonFormatter(CoroutineLogFormatter):  # type: ignore[misc]  # jupyterhub is untyped
    """Formats each record as one line of JSON, with tokens hidden."""

    def format(self, record: LogRecord) -> str:
        """Return the record as one line of JSON, with tokens hidden."""
        exception = self.formatException(record.exc_info) if record.exc_info else ""
        return json_line(record, "hub", exception, hidden)


def logging_config(form: Literal["text", "json"]) -> dict[str, Any]:
    """Return the value of ``c.JupyterHub.logging_config`` for the given format of the log.

    JupyterHub gives its handler only to its own logger; with this value, the gateway's packages log through it, too.
    """
    formatter = HubJsonFormatter if form == "json" else Formatter
    return {
        "formatters": {"console": {"class": f"{__name__}.{formatter.__name__}"}},
        "loggers": {name: {"level": "DEBUG", "handlers": ["console"]} for name in _PACKAGES},
    }


def request_id_of(handler: Any) -> str:
    """Return the id of a handler's request: the one in the client's header if it is valid, else a new one.

    Later calls for the same request return the same id.
    """
    found = getattr(handler.request, _GIVEN, None)
    if found is None:
        found = request_id.chosen(handler.request.headers.get(request_id.HEADER))
        setattr(handler.request, _GIVEN, found)
    return str(found)


def give_request_ids() -> None:
    """Give each request to the hub an id; this changes the base class of JupyterHub's and the gateway's handlers.

    The id is in the log, in a header of the response, and in the requests that the hub then sends to the link.
    """
    if hasattr(BaseHandler, _GIVEN):
        return
    setattr(BaseHandler, _GIVEN, True)
    prepare, set_default_headers = BaseHandler.prepare, BaseHandler.set_default_headers

    async def prepare_with_id(self: Any) -> None:
        request_id.begin(request_id_of(self))
        await prepare(self)

    def set_headers_with_id(self: Any) -> None:
        set_default_headers(self)
        self.set_header(request_id.HEADER, request_id_of(self))

    BaseHandler.prepare, BaseHandler.set_default_headers = prepare_with_id, set_headers_with_id
