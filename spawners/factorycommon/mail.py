"""Sends mails: checks addresses, and hands a mail to an SMTP server or writes it into a folder.

Errors of a server are ``OSError`` (all of smtplib's errors are) or ``ValueError``.
"""

from __future__ import annotations

import os
import re
import secrets
import smtplib
import ssl
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from factorycommon.models.base import Model
from factorycommon.tls import is_loopback_host

SERVER_SECONDS = 20.0  # seconds for each answer of a mail server
MOST_ADDRESS = 254  # maximum characters of an address, by RFC 5321
# The plain forms of a mailbox name and of a host name. Other characters (quotes, commas, spaces, line ends) never get
# into a header.
_MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


class SmtpServer(Model):
    """An SMTP server, and how to log in there.

    ``security``: how the connection is encrypted; None: ``none`` if ``host`` is ``localhost`` or a loopback address,
    else ``starttls``.
    ``user``, ``password_file``: the user name, and a file of mode 0600 with the password; both None: no login.
    """

    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]
    port: int = Field(default=25, ge=1, le=65535)
    security: Literal["none", "starttls", "tls"] | None = None
    user: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[!-~]+$")] | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user, password_file: give both or none")
        if self.user is not None and self.encryption == "none" and not is_loopback_host(self.host):
            raise ValueError("security: a login needs starttls or tls")
        return self

    @property
    def encryption(self) -> Literal["none", "starttls", "tls"]:
        """Return how the connection is encrypted."""
        return self.security or ("none" if is_loopback_host(self.host) else "starttls")


def plain_address(mailbox: str, host: str) -> Address:
    """Return the mail address MAILBOX@HOST. Raises ValueError if it is no plain address.

    A plain address has at most ``MOST_ADDRESS`` characters: only ASCII, and no double quotes, commas, blanks or line
    ends.
    """
    if not (_MAILBOX.fullmatch(mailbox) and _HOST.fullmatch(host)) or len(mailbox) + len(host) >= MOST_ADDRESS:
        raise ValueError("this is no plain mail address")
    return Address(username=mailbox, domain=host)


def letter(sender: str, to: Address, subject: str, text: str, domain: str) -> EmailMessage:
    """Return a mail in plain text, marked as automatic so that no program answers it.

    ``domain``: the host name in the mail's ``Message-ID``. Raises ValueError if the subject has a line end.
    """
    made = EmailMessage()
    made["From"] = sender
    made["To"] = to
    made["Subject"] = subject
    made["Date"] = format_datetime(datetime.now(UTC))
    made["Message-ID"] = make_msgid(domain=domain)
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(text)
    return made


def send(mail: EmailMessage, server: SmtpServer, seconds: float = SERVER_SECONDS) -> None:
    """Hand the mail to the server; this blocks the thread. ``seconds``: the time limit of each answer of the server.

    Raises OSError (also for smtplib's errors, and if the password file cannot be read); ValueError, for example if the
    password is not ASCII.
    """
    tls = ssl.create_default_context() if server.encryption != "none" else None
    if server.encryption == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=seconds, context=tls)
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=seconds)
    with connection:
        if server.encryption == "starttls":
            connection.starttls(context=tls)
        if server.user is not None and server.password_file is not None:
            connection.login(server.user, server.password_file.read_text(encoding="utf-8").strip())
        connection.send_message(mail)


def store(mail: EmailMessage, folder: Path) -> Path:
    """Write the mail into the folder as a file of mode 0600 (RFC 5322); return its path. Raises OSError.

    The file appears with its whole content. Names sort by time.
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}.eml"
    fresh = folder / f".{name}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(mail.as_bytes(policy=policy.SMTP))
    return fresh.rename(folder / name)
