"""The manifest of a backup: which files and databases the backup contains, where each one was, and who owned it."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from factorycommon.models import Model

MANIFEST = "manifest.json"  # the first member of a backup


class BackupError(Exception):
    """Raised if a backup, or a restore, failed; the message is for the operator."""


def _absolute(path: str) -> str:
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts or str(pure) != path or path == "/":
        raise ValueError("is not a full path without '..'")
    return path


FullPath = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$"), AfterValidator(_absolute)]
Name = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_.][A-Za-z0-9_.@-]*\$?$")]
Mode = Annotated[int, Field(ge=0, le=0o777)]


class Owned(Model):
    """Path, mode and owner of a file or folder. Owners are recorded by name, since ids differ between machines."""

    path: FullPath
    mode: Mode = 0o600
    owner: Name
    group: Name


class KeptFolder(Owned):
    """A folder in the path of a store (a file or database in the backup); a restore creates missing folders."""


class Kept(Owned):
    """A store in the backup: a copied file, or the dump of a database.

    ``path``: where the store was or, for a database on a server, a made-up path; ``what``: a description for people;
    ``member``: the name of the store's member in the tar; ``sha256``, ``size``: of this member. ``schema_name``: for a
    PostgreSQL database, the schema that was dumped.
    """

    kind: Literal["file", "sqlite", "postgresql"]
    what: Annotated[str, StringConstraints(max_length=200)]
    member: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")]
    size: Annotated[int, Field(ge=0)]
    schema_name: Annotated[str, StringConstraints(max_length=63)] | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Model):
    """The list of what a backup contains, with the release and the time of the backup.

    ``hub``, ``link``: the paths of hub.yaml and link.yaml; None: the file is not in the backup. ``folders``: the
    folders above the stores.
    """

    format: Literal[1] = 1
    release: str
    made: datetime
    hub: FullPath | None  # hub.yaml
    link: FullPath | None  # link.yaml
    folders: tuple[KeptFolder, ...]
    stores: tuple[Kept, ...] = Field(min_length=1)
