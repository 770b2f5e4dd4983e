"""The tables for joining workshops, beside ``store.schema``: guests, invitations, tickets, and mails that were sent.

A ticket belongs to somebody who has sent a valid join code and has not joined yet, or to a guest who logs in again.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text

from factorycommon.service.columns import MomentColumn, ParsedColumn
from workshops.models.bodies import Role
from workshops.store.schema import metadata

# People who joined with a mail address only. ``name``: of the hub's user, never given to anybody else; ``mail``: in
# small letters; ``shown``: the name that they gave.
guests = Table(
    "guests",
    metadata,
    Column("name", String, primary_key=True),
    Column("mail", String, nullable=False, unique=True),
    Column("shown", Text, nullable=False),
    Column("made", MomentColumn, nullable=False),
)
# People on a trainer's list, by the mail address with which they will join.
invitations = Table(
    "invitations",
    metadata,
    Column("workshop", ForeignKey("workshops.slug"), primary_key=True),
    Column("mail", String, primary_key=True),
    Column("role", ParsedColumn(Role), nullable=False),
    Column("shown", Text, nullable=False),
    Column("at", MomentColumn, nullable=False),
    Column("by", String, nullable=False),
)
# Tickets of people who sent a right code and have not joined yet, and of guests who log in again (without workshop and
# code). ``digest``: the hash of the ticket; ``digits``: the hash of the one-time code, ``sent``: when it was made,
# ``wrong``: how many wrong codes were tried; ``typed``: the mail address as the person wrote it; ``requester``: as in
# ``mail_limits``.
tickets = Table(
    "tickets",
    metadata,
    Column("digest", String, primary_key=True),
    Column("workshop", ForeignKey("workshops.slug"), index=True),
    Column("code", Integer),
    Column("made", MomentColumn, nullable=False),
    Column("mail", String, index=True),
    Column("typed", String),
    Column("digits", String),
    Column("sent", MomentColumn),
    Column("wrong", Integer, nullable=False),
    Column("requester", String),
)
LIMITED_FOR = timedelta(hours=1)  # the time in which ``sent_mails`` counts towards limits
# One-time codes that were sent within ``LIMITED_FOR``, for their limits. ``address``: a keyed hash of the mail address;
# ``requester``: as in ``mail_limits``.
sent_mails = Table(
    "sent_mails",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("address", String, nullable=False),
    Column("workshop", String),
    Column("at", MomentColumn, nullable=False),
    Column("requester", String),
    Index("sent_to_an_address", "address", "at"),
)
