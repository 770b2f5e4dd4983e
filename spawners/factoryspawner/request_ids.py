"""Gives each request to the hub its id, which goes into the hub's log, the answer's header and all that the hub asks
the link for it."""

from __future__ import annotations

from typing import Any

from jupyterhub.handlers import BaseHandler

from factorycommon import request_id

_GIVEN = "_factorygate_request_id"


def of(handler: Any) -> str:
    """Return the id of the request that a handler answers: the caller's, or a new one."""
    found = getattr(handler.request, _GIVEN, None)
    if found is None:
        found = request_id.chosen(handler.request.headers.get(request_id.HEADER))
        setattr(handler.request, _GIVEN, found)
    return str(found)


def install() -> None:
    """Have all of JupyterHub's handlers do so, ours included. Done once for a process."""
    if hasattr(BaseHandler, _GIVEN):
        return
    setattr(BaseHandler, _GIVEN, True)
    prepare, set_default_headers = BaseHandler.prepare, BaseHandler.set_default_headers

    async def prepare_with_id(self: Any) -> None:
        request_id.begin(of(self))
        await prepare(self)

    def set_headers_with_id(self: Any) -> None:
        set_default_headers(self)
        self.set_header(request_id.HEADER, of(self))

    BaseHandler.prepare, BaseHandler.set_default_headers = prepare_with_id, set_headers_with_id
