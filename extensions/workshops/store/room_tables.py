"""The tables of messages to a class and of who has received them; ``store.schema`` has the service's main tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, String, Table, Text

from factorycommon.models.workshops.sessions import MessageKind
from factorycommon.service.columns import MomentColumn, ParsedColumn
from workshops.store.schema import metadata

# ``texts``: the message in each language that it was given in, by code; ``text``: for people of other languages.
messages = Table(
    "messages",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("id", String, primary_key=True),
    Column("at", MomentColumn, nullable=False),
    Column("by", String, nullable=False),
    Column("kind", ParsedColumn(MessageKind), nullable=False),
    Column("text", Text, nullable=False),
    Column("texts", ParsedColumn(dict[str, str]), nullable=False),
)
# The people whose session has taken a message.
deliveries = Table(
    "deliveries",
    metadata,
    Column("workshop", String, primary_key=True),
    Column("message", String, primary_key=True),
    Column("person", String, primary_key=True),
    Column("at", MomentColumn, nullable=False),
    ForeignKeyConstraint(["workshop", "message"], ["messages.workshop", "messages.id"]),
)


@dataclass(frozen=True)
class MessageRecord:
    """One message to a class.

    ``by``: the person who sent it; ``texts``: the message by language code, in each language in which it was given;
    ``text``: the message for people of other languages.
    """

    workshop: str
    id: str
    at: datetime
    by: str
    kind: MessageKind
    text: str
    texts: dict[str, str]
