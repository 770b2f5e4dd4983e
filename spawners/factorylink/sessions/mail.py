"""Sends a mail to a person when their session can be used after waiting in the queue.

Mails are optional. Each is sent by a thread of its own, so that nothing waits for it, and a failure is only logged.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage

from factorycommon import mail as mails
from factorycommon.models import is_guest, is_robot
from factorylink.config import Mail
from factorylink.ledger.schema import SessionRecord

log = logging.getLogger("factorylink")

WAITED = timedelta(seconds=60)  # people who waited for less time still look at the page
SERVER_SECONDS = 20.0  # seconds for each answer of the mail server
_AT_ONCE = 4


class Mailer:
    """Sends mails in the background. ``mail``: the configuration's section ``mail``; None: no mails are sent."""

    def __init__(self, mail: Mail | None) -> None:
        self._mail = mail
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def tell(self, record: SessionRecord, machine: str, address: str) -> None:
        """Tell a person by mail that their session runs, if the session waited for more than ``WAITED``.

        Guests and robots get no mail. ``machine``: the machine's name; ``address``: the notebook's URL;
        "": the configuration has no public URL.
        """
        waited = (record.started or datetime.now(UTC)) - record.created
        if self._mail is None or waited <= WAITED or is_guest(record.user) or is_robot(record.user):
            return  # the names of guests and robots are no mailboxes
        try:
            letter = compose(self._mail, record, machine, address, waited)
        except ValueError as error:
            log.warning("No mail about session %s: its address cannot be written: %s", record.id, error)
            return
        # A daemon thread, so that a silent mail server does not delay the end of the link.
        threading.Thread(target=self._send, args=(self._mail, letter, record.id), name="mail", daemon=True).start()

    def _send(self, mail: Mail, letter: EmailMessage, session_id: str) -> None:
        with self._places:
            try:
                server = mails.SmtpServer(host=mail.smtp_host, port=mail.smtp_port, security="none")
                mails.send(letter, server, SERVER_SECONDS)
            except (OSError, ValueError) as error:
                log.warning("The mail about session %s could not be sent: %s", session_id, error)


def compose(mail: Mail, record: SessionRecord, machine: str, address: str, waited: timedelta) -> EmailMessage:
    """Return the mail which says that a session runs after waiting in the queue for the time ``waited``.

    The mail contains no token: its URL leads to a login. ``machine``: the machine's name; ``address``:
    the notebook's URL; "": the configuration has no public URL. Raises ValueError if no mail address can be made of the
    person's name.
    """
    to = address_of(record.user, mail.domain)
    name = f"Your session {record.server}" if record.server else "Your session"
    lines = [f"{name} at {machine} is running. It waited {_in_words(waited)} in the queue.", ""]
    if address:
        lines += [f"Open it: {address}", ""]
    if record.ends is not None:
        lines.append(f"It ends at {record.ends.astimezone(UTC):%Y-%m-%d %H:%M} UTC at the latest.")
    if record.unopened_until is not None:
        until = f"{record.unopened_until.astimezone(UTC):%H:%M} UTC"
        lines.append(f"It may end after {until} if nobody has opened it by then.")
    elif record.choice.unopened_minutes:
        lines.append(f"It ends {record.choice.unopened_minutes} minutes after its start if nobody opens it.")
    text = "\n".join(lines).rstrip() + "\n"
    return mails.letter(mail.sender, to, f"Your session at {machine} is running", text, mail.domain)


def address_of(user: str, domain: str) -> Address:
    """Return the mail address of a person: the name itself if it is a mail address, else NAME@``domain``.

    Raises ValueError for a name that cannot be part of a plain address.
    """
    mailbox, _, host = user.rpartition("@") if "@" in user else (user, "", domain)
    try:
        return mails.plain_address(mailbox, host)
    except ValueError as error:
        raise ValueError(f"the name {user!r} is no plain address") from error


def _in_words(waited: timedelta) -> str:
    minutes = max(1, round(waited.total_seconds() / 60))
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"
