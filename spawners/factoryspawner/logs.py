"""Keeps tokens out of the hub's log.

JupyterHub hides a token in the URL of a request, but not if that URL is a parameter of another URL: the URL of the
login page contains the URL of the page to return to.
"""

from __future__ import annotations

from logging import LogRecord

from jupyterhub.log import CoroutineLogFormatter

from factorygate.hiding import hidden


class Formatter(CoroutineLogFormatter):  # type: ignore[misc]  # jupyterhub is untyped
    """JupyterHub's log formatter, which also hides tokens."""

    def format(self, record: LogRecord) -> str:
        """Return the formatted record without tokens."""
        return hidden(str(super().format(record)))


LOGGING = {"formatters": {"console": {"class": f"{__name__}.Formatter"}}}  # c.JupyterHub.logging_config
