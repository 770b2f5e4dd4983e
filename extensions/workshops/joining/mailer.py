"""Sends mails in the background: nothing waits for a mail server, and no answer tells whether a mail was sent."""

from __future__ import annotations

import asyncio
import logging
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

from factorycommon import mail
from workshops.models.joining import JoiningSettings

log = logging.getLogger("workshops")

_AT_ONCE = 4  # connections to the mail server
_AT_ONCE_LATER = 2  # of these, for mails that nobody waits for, such as the certificates of a class
_MOST_WAITING = 2000
_PAUSES = (5.0, 30.0, 120.0)  # seconds before each further try


class MailSender:
    """Hands mails to the configured server or folder, a few at a time, and tries again a few times. Logs no address.

    Mails for which people wait, such as one-time codes, have connections to the server that other mails cannot use. If
    neither a server nor a folder is configured, mails are dropped.
    """

    def __init__(self, settings: JoiningSettings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._later = asyncio.Semaphore(_AT_ONCE_LATER)
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, letter: EmailMessage, *, awaited: bool = False) -> None:
        """Send a mail soon, in the background. ``awaited``: the recipient waits for the mail now.

        If very many mails wait, this one is dropped, and the log says so.
        """
        if len(self._tasks) >= _MOST_WAITING:
            log.error("A mail is dropped, since %d mails wait for the mail server", _MOST_WAITING)
            return
        task = asyncio.get_running_loop().create_task(self._deliver(letter, awaited))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until all mails are sent or given up."""
        while running := [task for task in self._tasks if not task.done()]:
            await asyncio.gather(*running, return_exceptions=True)

    async def close(self) -> None:
        """Give up all mails that are not sent yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def _slot(self, awaited: bool) -> AsyncIterator[None]:
        """Hold one of the connections to the mail server; mails that are not ``awaited`` can use only some of them."""
        if awaited:
            async with self._slots:
                yield
        else:
            async with self._later, self._slots:
                yield

    async def _deliver(self, letter: EmailMessage, awaited: bool) -> None:
        for pause in (*_PAUSES, None):
            try:
                async with self._slot(awaited):
                    await asyncio.to_thread(self._hand_over, letter)
            except (OSError, ValueError) as error:
                # The error's text would have the address, and what the server wrote.
                code = error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else "-"
                log.warning("A mail could not be sent: %s, code %s", type(error).__name__, code)
                if pause is None or _is_final(error):
                    return
                await asyncio.sleep(pause)
            else:
                return

    def _hand_over(self, letter: EmailMessage) -> None:
        if self._settings.folder is not None:
            self._settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mail.store(letter, self._settings.folder)
        elif self._settings.smtp is not None:
            mail.send(letter, self._settings.smtp)


def _is_final(error: Exception) -> bool:
    """Return True if the server refused the mail for good (5xx), so that another try is useless."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    return isinstance(error, smtplib.SMTPResponseException) and error.smtp_code >= 500
