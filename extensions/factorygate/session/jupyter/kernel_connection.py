"""The WebSocket between a page and a kernel: a page that connects again gets answers.

A page uses one session id for all its connections to a kernel, and jupyter_server uses this id as the identity of the
connection's ZeroMQ sockets. If a page connects twice within a short time, two sockets with one identity are open. The
kernel keeps the socket whose handshake ends last, also if that is the older one, and never reads from the other one
again. The page is then connected to a kernel that seems silent, until the page connects once more. Here a connection
therefore waits until the earlier one of its page has ended, at most ``PATIENCE`` seconds, and takes over the sockets of
the earlier connection.
"""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.web import HTTPError

PATIENCE = 15.0  # seconds to wait for the end of the earlier connection, which may itself wait for the kernel


class KernelConnection(ZMQChannelsWebsocketConnection):
    """A page's WebSocket to a kernel; the connection begins once the page's earlier one to this kernel has ended.

    The connection waits for this end at most ``PATIENCE`` seconds, and then begins nevertheless.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._connected = False
        self._ended = asyncio.Event()

    async def prepare(self) -> None:
        """Prepare the connection as jupyter_server does; this waits for the end of the page's earlier connection.

        The wait takes at most ``PATIENCE`` seconds. Raises HTTPError if the page has gone or has connected again in the
        meantime. After any error, this connection is ended.
        """
        try:
            await super().prepare()  # type: ignore[no-untyped-call]
            self._check()
        except BaseException:
            self.disconnect()
            raise

    async def _register_session(self) -> None:
        handler = self._open_sessions.get(f"{self.kernel_id}:{self.session.session}")
        # the protocol object of a handler is gone once the handler is closed
        protocol = None if handler is None else handler.ws_connection
        earlier = None if handler is None else getattr(handler, "connection", None)
        await super()._register_session()  # type: ignore[no-untyped-call]
        if protocol is not None:
            protocol.on_connection_close()  # without waiting for an answer of a page that may be gone
        if isinstance(earlier, KernelConnection):
            try:
                await asyncio.wait_for(earlier._ended.wait(), PATIENCE)
            except TimeoutError:
                self.log.warning("The earlier connection %s has not ended", self.session_key)
            self._check()

    def _check(self) -> None:
        if self._ended.is_set():
            raise HTTPError(410, "The page has closed this connection")
        if self._open_sessions.get(self.session_key, self.websocket_handler) is not self.websocket_handler:
            raise HTTPError(409, "The page has connected again")

    def connect(self) -> Any:
        """Connect to the kernel; return a future, or None if connecting failed.

        The future is done when the kernel has answered; at once if the kernel is busy, since it would answer late.
        Raises HTTPError if the page has gone or has connected again in the meantime.
        """
        try:
            self._check()
            self._connected = True
            connected = super().connect()
        except BaseException:
            self.disconnect()
            raise
        if connected is not None:
            # Tornado tells nobody about the end of a connection that failed to open
            connected.add_done_callback(
                lambda done: self.disconnect() if done.cancelled() or done.exception() else None
            )
        return connected

    def disconnect(self) -> None:  # type: ignore[override]  # as in the superclass
        """End the connection; only the first call has an effect.

        If the connection never began, the number of the kernel's connections stays as it is, and jupyter_server does
        not begin to buffer the kernel's messages.
        """
        if self._ended.is_set():
            return
        self._ended.set()
        kernels = self.multi_kernel_manager
        if self._connected:
            super().disconnect()  # type: ignore[no-untyped-call]
            return
        # the call subtracts one, and buffers if none is left
        kernels.notify_connect(self.kernel_id)
        kernels.notify_connect(self.kernel_id)
        super().disconnect()  # type: ignore[no-untyped-call]
        kernels.notify_disconnect(self.kernel_id)
