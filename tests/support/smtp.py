"""A small real mail server for tests."""

from __future__ import annotations

import asyncio
import email
import email.policy
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from email.message import EmailMessage
from typing import TypeVar

T = TypeVar("T")


class Sink:
    """A mail server that accepts every mail.

    ``letters``: each mail with the recipients of its SMTP dialogue; ``refuse``: replies to the next recipients, one
    each, instead of 250; ``held``: if the subject of a mail has these words, the mail is accepted only after ``free``
    is set.
    """

    def __init__(self) -> None:
        self.refuse: list[bytes] = []
        self.letters: list[tuple[list[str], EmailMessage]] = []
        self.port = 0
        self.held = ""
        self.free = asyncio.Event()
        self._arrived = asyncio.Condition()

    def to(self, address: str, subject: str = "") -> list[EmailMessage]:
        """Return the mails whose only recipient is this address, and whose subject has these words."""
        return [one for recipients, one in self.letters if recipients == [address] and subject in one["Subject"]]

    async def until(self, look: Callable[[], T]) -> T:
        """Call ``look`` now and after each new mail until its result is truthy; return the result."""
        async with self._arrived:
            while not (seen := look()):
                await self._arrived.wait()
            return seen

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[str] = []
        writer.write(b"220 sink\r\n")
        while line := await reader.readline():
            verb = line.strip().upper()
            if verb.startswith(b"RCPT TO:"):
                if self.refuse:
                    writer.write(self.refuse.pop(0) + b"\r\n")
                    continue
                recipients.append(line.decode().strip()[8:].strip("<>"))
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                raw = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n")
                message = email.message_from_bytes(raw, policy=email.policy.default)
                assert isinstance(message, EmailMessage)
                if self.held and self.held in message["Subject"]:
                    await self.free.wait()
                self.letters.append((recipients, message))
                async with self._arrived:
                    self._arrived.notify_all()
            writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            if verb == b"QUIT":
                break
        writer.close()


class MailServer:
    """A sink in a thread of its own, for tests without an event loop."""

    def __init__(self, made: Sink, loop: asyncio.AbstractEventLoop) -> None:
        self.port = made.port
        self._sink = made
        self._loop = loop

    def wait(self, to: str, subject: str, seconds: float) -> EmailMessage:
        """Return the first mail to an address whose subject has these words, as soon as it has come.

        Raises TimeoutError after ``seconds``.
        """
        coming = self._sink.until(lambda: self._sink.to(to, subject))
        return asyncio.run_coroutine_threadsafe(coming, self._loop).result(seconds)[0]


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """Run a mail server in a thread of its own during the block; yield it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    serving = sink()
    try:
        made = asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(60)
        try:
            yield MailServer(made, loop)
        finally:
            asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    made = Sink()
    server = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
