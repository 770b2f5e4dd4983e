"""The operator's settings for joining, under ``joining`` in ``workshops.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from factorycommon.mail import SmtpServer, plain_address
from factorycommon.models import Model


class JoiningSettings(Model):
    """The settings for joining; with neither ``smtp`` nor ``folder``, no mails are sent, and no new guests can join.

    ``sender``: the mail address from which mails come; ``smtp``: the server to which mails are sent; ``folder``: for a
    demo or a test, a folder into which mails are written instead. ``ticket_minutes``: how many minutes a person has to
    join after typing a valid join code. ``workshop_mails``: the most one-time codes for one workshop in an hour.
    ``address_mails``: the most one-time codes for one mail address in an hour, for one kind of request from one
    network; ``joining/mail_limits.py`` lists the kinds and the further limits.
    """

    sender: str = Field(default="", max_length=254)
    smtp: SmtpServer | None = None
    folder: Path | None = None
    address_mails: int = Field(default=5, ge=1, le=100)
    workshop_mails: int = Field(default=400, ge=1, le=10_000)
    ticket_minutes: int = Field(default=60, ge=10, le=24 * 60)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.smtp is not None and self.folder is not None:
            raise ValueError("smtp, folder: give one of them")
        if self.sends:
            mailbox, _, host = self.sender.rpartition("@")
            try:
                plain_address(mailbox, host)
            except ValueError as error:
                raise ValueError("sender: a plain mail address is needed, such as workshops@example.org") from error
        return self

    @property
    def sends(self) -> bool:
        """Return True if mails can be sent."""
        return self.smtp is not None or self.folder is not None

    def rebased(self, base: Path) -> JoiningSettings:
        """Return a copy in which relative paths are taken from ``base``."""
        smtp = self.smtp
        if smtp is not None and smtp.password_file is not None:
            smtp = smtp.model_copy(update={"password_file": base / smtp.password_file})
        folder = None if self.folder is None else base / self.folder
        return self.model_copy(update={"smtp": smtp, "folder": folder})
