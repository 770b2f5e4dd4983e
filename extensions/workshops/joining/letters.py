"""The texts of the mails to people who join a workshop. They have no link with a secret in it."""

from __future__ import annotations

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from zoneinfo import ZoneInfo

from factorycommon import mail
from factorycommon.models.joining import WorkshopFace
from factorycommon.models.plain import plain_text
from workshops.joining import one_time

_MOST_TITLE = 80  # characters of a title in a subject


def address(normalized: str) -> Address:
    """Return the address of a mail in the form in which addresses are stored. Raises ValueError."""
    mailbox, _, host = normalized.rpartition("@")
    return mail.plain_address(mailbox, host)


class Letters:
    """Writes mails. ``sender``: their address; ``root``: the gateway's URL for people, with a slash at its end."""

    def __init__(self, sender: str, root: str) -> None:
        self._sender = sender
        self._domain = sender.rpartition("@")[2]
        self._root = root

    def digits(self, to: str, digits: str, title: str | None) -> EmailMessage:
        """Return the mail with a one-time code. ``title``: of the workshop; None: a guest logs in again."""
        reason = "to come back to your workshop" if title is None else f"to join “{_short(title)}”"
        lines = [
            f"Your code {reason} is:",
            "",
            f"    {digits}",
            "",
            f"It is valid for {one_time.LIFE.seconds // 60} minutes, on the page where you asked for it.",
            "Give it to nobody. If you did not ask for it, you need not do anything.",
        ]
        return self._letter(to, f"{digits} is your code", lines)

    def joined(self, to: str, workshop: WorkshopFace, seat: int | None) -> EmailMessage:
        """Return the mail to a person who has joined. ``seat`` None: they wait."""
        if seat is None:
            lines = ["All seats are taken. You are in the waiting list, and get a mail when you get a seat."]
            subject = f"You are in the waiting list: {_short(workshop.title)}"
        else:
            lines = [f"You have joined “{_short(workshop.title)}”. Your seat is number {seat}."]
            subject = f"You have joined: {_short(workshop.title)}"
        return self._letter(to, subject, [*lines, *self._when(workshop)])

    def promoted(self, to: str, workshop: WorkshopFace, seat: int) -> EmailMessage:
        """Return the mail to a person of the waiting list who gets a seat."""
        lines = [f"A seat became free: you take part in “{_short(workshop.title)}”. Your seat is number {seat}."]
        lines.append("If you cannot come, please leave the workshop on its page, so that somebody else gets the seat.")
        return self._letter(to, f"You have a seat: {_short(workshop.title)}", [*lines, *self._when(workshop)])

    def certificate(self, to: str, title: str, pdf: bytes) -> EmailMessage:
        """Return the mail with a certificate of attendance."""
        lines = [
            f"Thank you for taking part in “{_short(title)}”. Your certificate of attendance is attached.",
            "",
            "Whether it is valid can be checked at the address that is printed on it.",
        ]
        made = self._letter(to, f"Your certificate: {_short(title)}", lines)
        made.add_attachment(pdf, maintype="application", subtype="pdf", filename="certificate.pdf")
        return made

    def _when(self, workshop: WorkshopFace) -> list[str]:
        zone = workshop.zone
        return [
            "",
            f"It begins: {_in_zone(workshop.starts, zone)}",
            f"It ends: {_in_zone(workshop.ends, zone)}",
            f"You can work from {_in_zone(workshop.opens, zone)} to {_in_zone(workshop.closes, zone)}.",
            "",
            f"Its page: {self._root}hub/join/{workshop.slug}",
            f"Check your browser and network some days before: {self._root}hub/check",
        ]

    def _letter(self, to: str, subject: str, lines: list[str]) -> EmailMessage:
        return mail.letter(self._sender, address(to), subject, "\n".join(lines) + "\n", self._domain)


def _short(title: str) -> str:
    return plain_text(title, _MOST_TITLE)


def _in_zone(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} ({zone})"
