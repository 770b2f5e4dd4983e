"""Restores a backup's stores to their original paths, or below a folder.

Nothing is written until all checks have passed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError
from sqlalchemy.engine import URL, make_url

from factorycommon.service.yaml_file import CatalogueError, read_model
from factorylink.catalogue.loading import load_link_config
from factorylink.config import LinkConfig
from factoryoperator.accounts import group_number, user_number
from factoryoperator.backup import digest, postgres, schema_and_tables
from factoryoperator.gateway import WORKSHOPS
from factoryoperator.manifest import MANIFEST, BackupError, Kept, KeptFolder, Manifest, Owned
from factoryoperator.stores import HUB_DUMP, WORKSHOPS_DUMP
from factoryspawner.config import hub_config
from factoryspawner.config.hub_config import HubConfigError
from workshops.config import WorkshopsConfig
from workshops.config import load as load_workshops_config

_LARGEST_MANIFEST = 16 * 2**20
# suffixes of files of a replaced database, which must not be used with the new one
_SQLITE_BESIDE = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Opened:
    """A backup that was unpacked and checked. ``folder``: the folder with the unpacked members."""

    manifest: Manifest
    folder: Path


@contextmanager
def opened(backup: Path) -> Iterator[Opened]:
    """Unpack a backup into a private folder, check each member, and yield the result.

    The folder is removed after the block. Raises BackupError if the backup cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="factorygate-") as name:
        folder = Path(name)
        try:
            with tarfile.open(backup, "r:gz") as tar:
                manifest = _manifest(backup, tar)
                _unpack(backup, tar, manifest, folder)
        except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
            raise BackupError(f"{backup} cannot be read: {error}") from error
        yield Opened(manifest, folder)


def _manifest(backup: Path, tar: tarfile.TarFile) -> Manifest:
    first = tar.next()
    file = None if first is None or first.name != MANIFEST else tar.extractfile(first)
    if first is None or file is None or first.size > _LARGEST_MANIFEST:
        raise BackupError(f"{backup} is not a backup of a gateway: it does not begin with {MANIFEST}")
    try:
        return Manifest.model_validate_json(file.read())
    except ValidationError as error:
        first_error = error.errors(include_url=False)[0]
        where = ".".join(map(str, first_error["loc"]))
        raise BackupError(f"{backup}: its {MANIFEST} is not understood: {where}: {first_error['msg']}") from error


def _unpack(backup: Path, tar: tarfile.TarFile, manifest: Manifest, folder: Path) -> None:
    for kept in manifest.stores:
        member = tar.next()
        file = None if member is None or member.name != kept.member or not member.isreg() else tar.extractfile(member)
        if member is None or file is None or member.size != kept.size:
            raise BackupError(f"{backup} lacks {kept.path}: it was cut off, or changed")
        with (folder / kept.member).open("wb") as copy:
            shutil.copyfileobj(file, copy)
        if digest(folder / kept.member) != kept.sha256:
            raise BackupError(f"{backup}: {kept.path} is not as it was when the backup was made")


# --- targets


@dataclass(frozen=True)
class Plan:
    """What a restore would write.

    ``write``: stores with their targets; ``same``: targets that have the same content already; ``other``: targets with
    other content, which the restore would overwrite; ``read_only``: stores with their targets, which the restore leaves
    out, because the targets are on a read-only file system. Such a target is missing, or has other content.
    ``on_server``: databases on a server, which the restore leaves out, because it restores below a folder.
    """

    write: tuple[tuple[Kept, Path], ...]
    same: tuple[Path, ...]
    other: tuple[Path, ...]
    read_only: tuple[tuple[Kept, Path], ...] = ()
    on_server: tuple[Kept, ...] = ()


def plan(
    found: Opened, under: Path, databases: bool = True, skip_read_only: bool = False, plain_files: bool = True
) -> Plan:
    """Compare a backup with the existing files; return what a restore would write.

    ``under``: the folder that replaces ``/``. ``databases``: True if databases on a server are restored, too; they are
    not compared. They are left out if ``under`` is not ``/``: such a restore must not change the real gateway, which
    may run. ``skip_read_only`` True: leave out files that would have to be written to a read-only file system;
    False: raise BackupError for such files. ``plain_files``: False if only databases are restored.
    """
    write: list[tuple[Kept, Path]] = []
    same: list[Path] = []
    other: list[Path] = []
    read_only: list[tuple[Kept, Path]] = []
    on_server: list[Kept] = []
    for kept in found.manifest.stores:
        target = under / kept.path.lstrip("/")
        if kept.kind == "postgresql":
            if databases and under == Path("/"):
                write.append((kept, target))
            elif databases:
                on_server.append(kept)
            continue
        if kept.kind == "file" and not plain_files:
            continue
        if target.is_file() and digest(target) == kept.sha256:
            same.append(target)
            continue
        if _is_read_only(target):
            read_only.append((kept, target))
            continue
        write.append((kept, target))
        if os.path.lexists(target):
            other.append(target)
    if read_only and not skip_read_only:
        names = ", ".join(str(target) for _, target in read_only)
        raise BackupError(
            f"These are on a read-only file system: {names}; --skip-read-only restores everything but these"
        )
    return Plan(tuple(write), tuple(same), tuple(other), tuple(read_only), tuple(on_server))


def _is_read_only(target: Path) -> bool:
    """Return whether a file would be written to a file system that is mounted read-only."""
    folder = next(one for one in target.parents if one.exists())
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def restore(found: Opened, what: Plan, under: Path, overwrite: bool = False) -> None:
    """Write the planned stores: files below ``under``, and databases on a server.

    ``overwrite`` True: replace existing files that have other content, and existing tables; False: raise BackupError if
    there are any. Raises BackupError before anything is written if a check prevents the restore, or later if a write
    fails; then only a part may be restored.
    """
    manifest = found.manifest
    _accounts(manifest, what)
    _nothing_runs(found, under)
    if what.other and not overwrite:
        raise BackupError("Something else is there already: " + ", ".join(map(str, what.other)))
    servers = [(kept, _server(manifest, kept, found.folder)) for kept, _ in what.write if kept.kind == "postgresql"]
    for kept, url in servers:
        schema, tables = schema_and_tables(url, kept.what)
        if schema != kept.schema_name:
            raise BackupError(
                f"{kept.what}: its tables were in the schema {kept.schema_name}, and would go to {schema}"
            )
        if tables and not overwrite:
            raise BackupError(f"{kept.what}: its database has tables already")
    folders = {folder.path: folder for folder in manifest.folders}
    try:
        for kept, target in what.write:
            if kept.kind != "postgresql":
                _make_above(target, under, folders)
                _put(found.folder / kept.member, kept, target)
    except OSError as error:
        raise BackupError(f"Only a part was restored: {error}. Mend that and restore again") from error
    written = [kept.what for kept, _ in what.write if kept.kind != "postgresql"]
    for kept, url in servers:
        again = ("--clean", "--if-exists") if overwrite else ()
        only = f"--schema={kept.schema_name}"  # the schema's objects, not the schema itself
        options = (only, "--no-owner", "--no-acl", "--single-transaction", "--exit-on-error", *again)
        try:
            postgres("pg_restore", url, kept.what, *options, str(found.folder / kept.member))
        except BackupError as error:
            if not written:
                raise
            raise BackupError(f"Only a part was restored: {error}. Mend that and restore again") from error
        written.append(kept.what)


def _accounts(manifest: Manifest, what: Plan) -> None:
    """Raise BackupError if this machine lacks the user or the group of a file or folder that root restores.

    Only root gives files back to their owners, so nothing is checked for any other user.
    """
    if os.geteuid() != 0:
        return
    lacking = set()
    owned: list[Owned] = [*(kept for kept, _ in what.write), *manifest.folders]
    for one in owned:
        for kind, name, number in (("user", one.owner, user_number), ("group", one.group, group_number)):
            try:
                number(name)
            except KeyError:
                lacking.add(f"the {kind} {name}")
    if lacking:
        raise BackupError(f"This machine lacks {', '.join(sorted(lacking))}: make them first")


def _nothing_runs(found: Opened, under: Path) -> None:
    """Raise BackupError if hub, link or workshops service runs, because they could write to stores that are replaced.

    Only those are looked for whose hub.yaml, link.yaml or workshops.yaml is in the backup; a running hub only if
    ``under`` is ``/``. Raises BackupError, too, if ``under`` is ``/`` and this release cannot read one of these files.
    """
    for path, model, lock, program in (
        (found.manifest.link, LinkConfig, "link.lock", "link"),
        (_workshops_file(found.manifest), WorkshopsConfig, "workshops.lock", "workshops service"),
    ):
        folder = None if path is None else _state_folder(found, under, path, model)
        if folder is not None:
            _is_free(folder, lock, program)
    if under != Path("/") or found.manifest.hub is None:
        return
    try:
        hub = urlsplit(hub_config.load(_config(found.manifest, found.folder, found.manifest.hub)).hub_url)
    except HubConfigError as error:
        raise BackupError(f"The backup's hub.yaml is not for this release: {error}") from error
    port = hub.port or (443 if hub.scheme == "https" else 80)
    with suppress(OSError), socket.create_connection((hub.hostname or "", port), timeout=5):
        raise BackupError(f"Something answers at {hub.geturl()}: if it is the hub, stop it first")


def _state_folder(found: Opened, under: Path, path: str, model: type[LinkConfig | WorkshopsConfig]) -> Path | None:
    """Return the ``state_dir`` of the backup's link.yaml or workshops.yaml, below ``under``.

    ``path``: the original path of this file, to which ``state_dir`` may be relative. If this release cannot read the
    file, raise BackupError if ``under`` is ``/``, and else return None: nothing of another release runs from a folder
    into which somebody unpacks a backup. Raises BackupError, too, if the backup does not contain the file.
    """
    try:
        state_dir = read_model(_config(found.manifest, found.folder, path), model).state_dir
    except CatalogueError as error:
        if under != Path("/"):
            return None
        raise BackupError(f"The backup's {Path(path).name} is not for this release: {error}") from error
    if state_dir.is_absolute():
        return under / str(state_dir).lstrip("/")
    return (under / path.lstrip("/")).resolve().parent / state_dir


def _is_free(folder: Path, lock: str, program: str) -> None:
    """Raise BackupError if a program runs that uses this state folder, or if that cannot be found out.

    ``lock``: the name of the file in the folder that the program locks; without this file, the program has never run.
    """
    try:
        with (folder / lock).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return
    except BlockingIOError as error:
        raise BackupError(f"A {program} runs with {folder}: stop it first") from error
    except OSError as error:
        raise BackupError(f"{folder / lock} cannot be opened: {error.strerror}") from error


def _config(manifest: Manifest, folder: Path, path: str) -> Path:
    """Return the path of the backup's copy of hub.yaml, link.yaml or workshops.yaml.

    ``folder``: the folder with the unpacked backup; ``path``: the original path of the file. Raises BackupError if the
    backup does not contain the file.
    """
    member = next((one.member for one in manifest.stores if one.path == path), None)
    if member is None:
        raise BackupError(f"The backup lacks {path}")
    return folder / member


def _workshops_file(manifest: Manifest) -> str | None:
    """Return the original path of workshops.yaml; None if the backup does not contain it."""
    return next((one.path for one in manifest.stores if one.what == WORKSHOPS), None)


def _make_above(target: Path, under: Path, folders: dict[str, KeptFolder]) -> None:
    """Make the missing folders above a target, with the modes and, as root, the owners that the backup records.

    ``under``: the folder that replaces ``/``; ``folders``: the recorded folders by their original paths. A folder that
    is not recorded gets the mode 0700.
    """
    for path in reversed(target.relative_to(under).parents):
        folder = under / path
        if folder.exists():
            continue
        kept = folders.get(f"/{path}")
        folder.mkdir(mode=0o700)
        if kept is not None:
            _owned(folder, kept)
            folder.chmod(kept.mode)


def _put(source: Path, kept: Kept, target: Path) -> None:
    """Replace the file ``target`` by ``source`` atomically, with the mode and, as root, the owner of ``kept``.

    The new file is private from its creation. Files that belong to a replaced SQLite database, such as its log, are
    deleted.
    """
    fresh = target.with_name(f"{target.name}.restored")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file, source.open("rb") as content:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())
    _owned(fresh, kept)
    fresh.chmod(kept.mode)
    if kept.kind == "sqlite":
        for end in _SQLITE_BESIDE:
            target.with_name(f"{target.name}{end}").unlink(missing_ok=True)
    fresh.replace(target)


def _owned(path: Path, kept: KeptFolder | Kept) -> None:
    if os.geteuid() == 0:
        os.chown(path, user_number(kept.owner), group_number(kept.group))


# --- databases on a server


def _server(manifest: Manifest, kept: Kept, folder: Path) -> URL:
    """Return the URL of the database ``kept`` on a server, according to the configuration in the backup.

    ``folder``: the folder with the unpacked backup. Raises BackupError.
    """
    path = Path(kept.path)
    file = {HUB_DUMP: manifest.hub, WORKSHOPS_DUMP: _workshops_file(manifest)}.get(path, manifest.link)
    if file is None:
        raise BackupError(f"{kept.what}: the backup does not say where its database is")
    config = _config(manifest, folder, file)
    try:
        if path == HUB_DUMP:
            url = make_url(hub_config.load(config).database)
        elif path == WORKSHOPS_DUMP:
            url = load_workshops_config(config).store.url
        else:
            url = load_link_config(config).database.url
    except (HubConfigError, CatalogueError) as error:
        raise BackupError(f"{kept.what}: {error}") from error
    return url.set(drivername="postgresql")
