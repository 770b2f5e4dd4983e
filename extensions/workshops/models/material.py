"""Models for a workshop's material: the operator's settings, request and result of a fetch, and what staff see."""

from __future__ import annotations

import re
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from factorycommon.material.archive import MOST
from factorycommon.models import Model, Person
from factorycommon.models.plain import plain_text
from factorycommon.models.workshops.material import ArchiveDigest, CommitId, KnownSteps, MaterialReport

MaterialState = Literal["waiting", "fetching", "ready", "failed"]
Shown = Annotated[str, Field(max_length=300), AfterValidator(plain_text)]
MOST_REFUSED = 50  # files that a problem names


def _a_folder(prefix: str) -> str:
    if not re.fullmatch(r"https://[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?/([A-Za-z0-9_~][A-Za-z0-9._~+-]*/)*", prefix):
        raise ValueError("an address such as https://git.example.org/courses/ is needed, with a slash at its end")
    return prefix


class DeployToken(Model):
    """A token for private git repositories.

    ``prefix``: the token is used for repositories whose address begins with this text; ``file``: a file of mode 0600
    that contains the token; ``user``: the user name that the git server expects with the token.
    """

    prefix: Annotated[str, AfterValidator(_a_folder)]
    file: Path
    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = "oauth2"


class MaterialSettings(Model):
    """The limits of a workshop's material, and the servers from which it may come; sizes are in MiB.

    ``files``: the most files; ``file_mib``: the most for one file; ``total_mib``: the most for all files together;
    ``seconds``: how long a fetch may take; ``networks``: networks outside of the public internet in which git servers
    may be, too; ``tokens``: tokens for private repositories, which every trainer may use; the first token whose prefix
    fits is used; ``ca_file``: CA certificates of the operator's own git servers.
    """

    files: int = Field(default=1000, ge=1, le=MOST.files)
    file_mib: int = Field(default=16, ge=1, le=MOST.file_bytes >> 20)
    total_mib: int = Field(default=32, ge=1, le=MOST.total_bytes >> 20)
    seconds: int = Field(default=120, ge=5, le=900)
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    tokens: tuple[DeployToken, ...] = ()
    ca_file: Path | None = None

    def rebased(self, base: Path) -> MaterialSettings:
        """Return a copy in which relative paths are taken from ``base``."""
        tokens = tuple(one.model_copy(update={"file": base / one.file}) for one in self.tokens)
        ca_file = None if self.ca_file is None else base / self.ca_file
        return self.model_copy(update={"tokens": tokens, "ca_file": ca_file})


class FetchRequest(Model):
    """What the workshops service passes to the process that fetches a workshop's material.

    ``folder``: where the process writes the archive; ``schemes``: the allowed schemes of the URL ``repository``. Only
    tests of this package allow ``file``; no configuration can.
    """

    repository: str = Field(max_length=500)
    commit: CommitId
    folder: Path
    settings: MaterialSettings
    schemes: tuple[Literal["https", "file"], ...] = ("https",)


class RefusedFile(Model):
    """A file because of which a commit was refused as a workshop's material, and the reason."""

    path: Shown
    why: Shown


class FetchResult(Model):
    """The result of fetching a workshop's material: the digest of the archive, or the problem.

    ``problem``: why there is no archive; "" if there is one. ``digest``: None if there is no archive. ``refused``: the
    files because of which the commit was refused, if any. ``files``, ``bytes``: how many files the archive has, and
    the sum of their sizes. ``steps``: the steps (tagged cells) in the archive's notebooks.
    """

    problem: Annotated[str, Field(max_length=1000), AfterValidator(plain_text)] = ""
    refused: tuple[RefusedFile, ...] = Field(default=(), max_length=MOST_REFUSED)
    digest: ArchiveDigest | None = None
    files: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)
    steps: KnownSteps = ()


class MaterialStatus(Model):
    """The state of a workshop's material, for the people who run the workshop.

    ``at``: since when the material is in this state; ``files``, ``bytes``: how many files the material has, and the sum
    of their sizes; ``steps``: the number of steps (tagged cells) in its notebooks; ``digest``: the digest of
    the archive, None if the material is not ready; ``problem``: why the fetch failed, "" if it did not; ``refused``:
    the files because of which the commit was refused, if any.
    """

    state: MaterialState
    repository: str
    commit: str
    files: int = 0
    bytes: int = 0
    steps: int = 0
    digest: str | None = None
    problem: str = ""
    refused: tuple[RefusedFile, ...] = ()
    at: datetime


class RestoreBody(Model):
    """A request to deliver the material to a person again, with the files and the cells that the person has deleted."""

    person: Person


class SeatDelivery(Model):
    """The last delivery of material to one person.

    ``seat``: None if the person has no seat; ``report``: what the delivery did, None if it failed; ``problem``: why it
    failed, "" if it did not.
    """

    person: str
    seat: int | None
    commit: str
    at: datetime
    report: MaterialReport | None
    problem: str


class MaterialRoom(Model):
    """The state of a workshop's material, and its last delivery to each person.

    ``material``: None if the workshop has no material or is over, or if the service has not noticed the material yet.
    ``seats``: the last deliveries, also failed ones, and also to people who have left or are banned.
    """

    material: MaterialStatus | None
    seats: tuple[SeatDelivery, ...] = ()
