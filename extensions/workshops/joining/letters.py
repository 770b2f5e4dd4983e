"""Writes the mails to people who join a workshop, in their languages. No mail contains a link with a secret."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage

from factorycommon import mail
from factorycommon.language import Language
from factorycommon.messages import Message
from factorycommon.models.joining import MembershipView, WorkshopFace
from factorycommon.models.plain import plain_text
from workshops.joining import one_time
from workshops.joining.languages import minute

_MOST_TITLE = 80  # characters of a title in a subject


def address(normalized: str) -> Address:
    """Return the mail address ``normalized``, a text ``MAILBOX@HOST``, in the form for a mail's header.

    Raises ValueError if ``normalized`` is no plain mail address (see ``mail.plain_address``).
    """
    mailbox, _, host = normalized.rpartition("@")
    return mail.plain_address(mailbox, host)


class Letters:
    """Writes mails, and sends none. Each method raises ValueError if ``to`` is no plain mail address.

    ``sender``: the address from which mails come; ``root``: the gateway's URL for people, with a slash at its end.
    """

    def __init__(self, sender: str, root: str) -> None:
        self._sender = sender
        self._domain = sender.rpartition("@")[2]
        self._root = root

    def digits(self, to: str, digits: str, title: str | None, language: Language) -> EmailMessage:
        """Return the mail with the one-time code ``digits``.

        ``title``: the title of the workshop that the recipient joins; None: the recipient is a guest who logs in again.
        """
        if title is None:
            first = Message("letter-code-return", "Your code to come back to your workshop is:")
        else:
            first = Message("letter-code-join", "Your code to join “{title}” is:").format(title=_short(title))
        valid = Message("letter-code-valid", "It is valid for {minutes} minutes, on the page where you asked for it.")
        lines = [
            first,
            "",
            f"    {digits}",
            "",
            valid.format(minutes=one_time.LIFE.seconds // 60),
            Message("letter-code-secret", "Give it to nobody. If you did not ask for it, you need not do anything."),
        ]
        subject = Message("letter-code-subject", "{digits} is your code").format(digits=digits)
        return self._letter(to, subject, lines, language)

    def joined(self, to: str, workshop: WorkshopFace, mine: MembershipView, language: Language) -> EmailMessage:
        """Return the mail to a person who has joined.

        ``mine``: how the person takes part: with a seat, on the waiting list, or as one of the people who run the
        workshop.
        """
        title = _short(workshop.title)
        subject = Message("letter-joined-subject", "You have joined: {title}")
        if mine.state == "waiting":
            subject = Message("letter-waits-subject", "You are in the waiting list: {title}")
            said = Message(
                "letter-waits", "All seats are taken. You are in the waiting list, and get a mail when you get a seat."
            )
        elif mine.seat is None:
            said = Message("letter-joined-staff", "You have joined “{title}” as one of the people who run it.")
        else:
            said = Message("letter-joined", "You have joined “{title}”. Your seat is number {seat}.")
        line = said if mine.state == "waiting" else said.format(title=title, seat=mine.seat)
        lines = [line, *self._when(workshop, language)]
        return self._letter(to, subject.format(title=title), lines, language)

    def promoted(self, to: str, workshop: WorkshopFace, seat: int, language: Language) -> EmailMessage:
        """Return the mail to a person of the waiting list who gets a seat."""
        title = _short(workshop.title)
        got = Message(
            "letter-seat", "A seat became free: you take part in “{title}”. Your seat is number {seat}."
        ).format(title=title, seat=seat)
        leave = Message(
            "letter-seat-leave",
            "If you cannot come, please leave the workshop on its page, so that somebody else gets the seat.",
        )
        subject = Message("letter-seat-subject", "You have a seat: {title}").format(title=title)
        return self._letter(to, subject, [got, leave, *self._when(workshop, language)], language)

    def certificate(self, to: str, title: str, pdf: bytes, language: Language) -> EmailMessage:
        """Return the mail with a certificate of attendance."""
        thanks = Message(
            "letter-certificate",
            "Thank you for taking part in “{title}”. Your certificate of attendance is attached.",
        )
        lines = [
            thanks.format(title=_short(title)),
            "",
            Message(
                "letter-certificate-check", "Whether it is valid can be checked at the address that is printed on it."
            ),
        ]
        subject = Message("letter-certificate-subject", "Your certificate: {title}").format(title=_short(title))
        made = self._letter(to, subject, lines, language)
        made.add_attachment(pdf, maintype="application", subtype="pdf", filename="certificate.pdf")
        return made

    def _when(self, workshop: WorkshopFace, language: Language) -> list[str]:
        starts, ends, opens, closes = (
            f"{minute(at, workshop.zone, language)} ({workshop.zone})"
            for at in (workshop.starts, workshop.ends, workshop.opens, workshop.closes)
        )
        check = Message("letter-check", "Check your browser and network a few days before: {url}")
        return [
            "",
            Message("letter-begins", "It begins: {when}").format(when=starts),
            Message("letter-ends", "It ends: {when}").format(when=ends),
            Message("letter-work", "You can work from {begin} to {end}.").format(begin=opens, end=closes),
            "",
            Message("letter-page", "Its page: {url}").format(url=f"{self._root}hub/join/{workshop.slug}"),
            check.format(url=f"{self._root}hub/check"),
        ]

    def _letter(self, to: str, subject: Message, lines: list[str], language: Language) -> EmailMessage:
        text = "\n".join(language.said(line) for line in lines) + "\n"
        made = mail.letter(self._sender, address(to), language.said(subject), text, self._domain)
        made["Content-Language"] = language.code
        return made


def _short(title: str) -> str:
    return plain_text(title, _MOST_TITLE)
