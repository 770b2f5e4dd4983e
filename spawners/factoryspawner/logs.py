"""The hub's log without tokens.

JupyterHub hides a token in the address of a request, but not if that address is part of another: a person who is sent
to the login page returns to where they were, so the address of the login page contains that address.
"""

from __future__ import annotations

from logging import LogRecord

from jupyterhub.log import CoroutineLogFormatter

from factorygate.hiding import hidden


class Formatter(CoroutineLogFormatter):  # type: ignore[misc]  # jupyterhub is untyped
    """JupyterHub's formatter, with tokens hidden."""

    def format(self, record: LogRecord) -> str:
        """Return the record's line or lines."""
        return hidden(str(super().format(record)))


LOGGING = {"formatters": {"console": {"class": f"{__name__}.Formatter"}}}  # c.JupyterHub.logging_config
