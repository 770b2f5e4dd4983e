"""The models of messages between workshops service, link and door about a workshop's material and its delivery."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Base64Bytes, Field, StringConstraints

from factorycommon.material.archive import MOST
from factorycommon.material.steps import MOST_STEPS, KnownStep
from factorycommon.models.base import Model, Person, SessionId, Slug
from factorycommon.models.plain import plain_text
from factorycommon.models.workshops import MOST_SEATS

MOST_PIECE = 512 * 1024  # bytes of an archive in one request
MOST_PATHS = 100  # of each list in a report

KnownSteps = Annotated[tuple[KnownStep, ...], Field(max_length=MOST_STEPS)]
StepsDone = Annotated[tuple[Annotated[int, Field(ge=0, lt=MOST_STEPS)], ...], Field(max_length=MOST_STEPS)]
ArchiveDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
CommitId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
Count = Annotated[int, Field(ge=0, le=10 * MOST.files)]
MaterialPath = Annotated[str, Field(max_length=300), AfterValidator(partial(plain_text, most=300))]
Paths = Annotated[tuple[MaterialPath, ...], Field(max_length=MOST_PATHS)]
Stamp = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{6}$")]
Why = Annotated[str, Field(max_length=1000), AfterValidator(plain_text)]


class MaterialPiece(Model):
    """A piece of an archive. ``begin``: the offset of the piece's first byte; ``total``: bytes of the whole archive."""

    begin: int = Field(ge=0, le=MOST.archive_bytes)
    total: int = Field(ge=1, le=MOST.archive_bytes)
    data: Annotated[Base64Bytes, Field(max_length=MOST_PIECE)]


class MaterialUpload(Model):
    """How many bytes of an archive the link has. ``whole``: the link has all bytes, and their digest is right."""

    has: int
    whole: bool


class DoorOrder(Model):
    """The order that a door gets with an archive: deliver the material into the folder ``name``.

    The folder lies in the notebook's root folder. ``restore``: write files and cells again that the person has deleted;
    ``aside``: a time such as 2026-12-31-235900: first move the person's folder to ``NAME-ASIDE``, unless there is a
    ``NAME-ASIDE`` already; None: do not move the folder.
    """

    name: Slug
    digest: ArchiveDigest
    commit: CommitId
    restore: bool = False
    aside: Stamp | None = None


class MaterialOrder(Model):
    """An order to the link: deliver an uploaded archive into the sessions of ``people``.

    The files go into a folder with the workshop's slug as its name. ``restore``: write files and cells again that
    people have deleted. ``aside``: a time such as 2026-12-31-235900; each person's folder is moved to ``SLUG-ASIDE``
    before the delivery, unless there is a ``SLUG-ASIDE`` already. ``aside`` None: the folders are not moved.
    """

    digest: ArchiveDigest
    commit: CommitId
    restore: bool = False
    aside: Stamp | None = None
    people: tuple[Person, ...] = Field(min_length=1, max_length=2 * MOST_SEATS)


class MaterialCounts(Model):
    """How many files of a delivery had each outcome.

    ``kept``: the person has changed the file, and the material has no new version of it; ``merged``: person and
    material have changed the file, and the changes were joined; ``conflict``: the two versions could not be joined, and
    the material's version was written beside the person's; ``deleted``: the person has deleted the file, and the
    delivery does not write it again; ``removed``: the material no longer has the file, and the person's unchanged file
    was moved to a folder for removed files; ``blocked``: nothing could be done with the file, for example because the
    person's folder has a link where the material has a folder.
    """

    new: Count = 0
    unchanged: Count = 0
    updated: Count = 0
    kept: Count = 0
    merged: Count = 0
    conflict: Count = 0
    deleted: Count = 0
    removed: Count = 0
    blocked: Count = 0


class MaterialReport(Model):
    """What a delivery did in a person's folder: how many files had each outcome, and some of their paths.

    ``aside``: the folder to which the person's earlier folder was moved, "" if the person had no folder, None if the
    order has no ``aside``.
    """

    counts: MaterialCounts
    conflict: Paths = ()
    blocked: Paths = ()
    merged: Paths = ()
    removed: Paths = ()
    aside: MaterialPath | None = None


class MaterialDelivered(Model):
    """The result of the delivery into one session. ``report`` None: the delivery failed, for the reason ``problem``."""

    session: SessionId
    person: Person
    report: MaterialReport | None = None
    problem: Why = ""


class MaterialDeliveries(Model):
    """The results of a MaterialOrder, one for each session.

    The link delivers to those sessions of the order's people that are starting or running, and whose door is connected.
    ``missing``: the link does not have the archive, so nothing was delivered.
    """

    missing: bool = False
    sessions: tuple[MaterialDelivered, ...] = Field(default=(), max_length=4 * MOST_SEATS)
