"""Makes a backup of a gateway, which may be running: one 0600 file with its stores.

The stores are the databases, keys, tokens and configuration files; the operator may leave out the databases on a
server. The file is a gzipped tar: ``manifest.json`` (``Manifest``), then one member for each store. A database is
copied with its own tools (SQLite's backup API, ``pg_dump``), so each copy is consistent. Copies of several databases
are from different moments; the link resolves the differences when it starts (docs/operators.md).
"""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from factorycommon.service.sqlite_copy import copy_sqlite
from factorycommon.version import version
from factoryoperator.accounts import group_name, user_name
from factoryoperator.manifest import MANIFEST, BackupError, Kept, KeptFolder, Manifest
from factoryoperator.stores import KeptStore

_DUMP_SECONDS = 3600
_CONNECT_SECONDS = 10


def make(target: Path, stores: Sequence[KeptStore], hub: Path | None, link: Path | None) -> Manifest:
    """Write the backup of ``stores`` to ``target`` (0600), completely or not at all, and return its manifest.

    An existing file is never overwritten. ``hub``, ``link``: the paths of hub.yaml and link.yaml, for the manifest;
    None: the file is not in the backup. Raises BackupError.
    """
    if target.exists():
        raise BackupError(f"{target} is there already: name another file")
    try:
        with _staging(target) as folder:
            kept = [_kept(number, store, folder) for number, store in enumerate(stores)]
            manifest = Manifest(
                release=version(),
                made=datetime.now(UTC),
                hub=None if hub is None else str(hub),
                link=None if link is None else str(link),
                folders=tuple(_folders(store.path for store in stores if store.kind != "postgresql")),
                stores=tuple(kept),
            )
            _write(folder / "backup", manifest, folder)
            os.link(folder / "backup", target)  # unlike a rename it never replaces a file
    except FileExistsError as error:
        raise BackupError(f"{target} is there already: name another file") from error
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error}") from error
    return manifest


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """Make a 0700 folder beside ``target``, on the same file system; yield its path.

    The folder is removed after the block.
    """
    with tempfile.TemporaryDirectory(prefix=".factorygate-", dir=target.parent) as folder:
        yield Path(folder)


def _kept(number: int, store: KeptStore, folder: Path) -> Kept:
    member = f"{number:04}"
    copy = folder / member
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    schema = None
    mode, owner, group = 0o600, user_name(os.geteuid()), group_name(os.getegid())
    try:
        if store.kind == "postgresql":
            schema = dump(store, copy)
        else:
            found = store.path.stat()
            mode, owner, group = stat.S_IMODE(found.st_mode) & 0o777, user_name(found.st_uid), group_name(found.st_gid)
            if store.kind == "sqlite":
                copy_sqlite(store.path, copy)
            else:
                copy.write_bytes(store.path.read_bytes())
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"{store.path} ({store.what}) cannot be read: {error}") from error
    return Kept(
        kind="sqlite" if store.kind == "sqlite" else "postgresql" if store.kind == "postgresql" else "file",
        path=str(store.path),
        what=store.what,
        member=member,
        size=copy.stat().st_size,
        sha256=digest(copy),
        schema_name=schema,
        mode=mode,
        owner=owner,
        group=group,
    )


def dump(store: KeptStore, target: Path) -> str:
    """Dump the gateway's own schema of a PostgreSQL database into the file ``target``; return the schema's name.

    The dump is made by ``pg_dump``, and is consistent. Other programs may use other schemas of the database. Raises
    BackupError.
    """
    if store.url is None:
        raise BackupError(f"{store.what}: where its database is, is not known")
    schema, _ = schema_and_tables(store.url, store.what)
    options = ("--format=custom", "--no-owner", "--no-acl", f"--schema={pattern(schema)}", f"--file={target}")
    postgres("pg_dump", store.url, store.what, *options)
    return schema


def pattern(schema: str) -> str:
    """Return a pattern for PostgreSQL's programs that matches only the schema with this name."""
    return '"' + schema.replace('"', '""') + '"'


def schema_and_tables(url: URL, what: str) -> tuple[str, list[str]]:
    """Return the name of the schema with the gateway's tables, and the names of all tables in this schema.

    ``what``: a description of the database, for the error's message. Raises BackupError.
    """
    engine = create_engine(url.set(drivername="postgresql+psycopg"), connect_args={"connect_timeout": _CONNECT_SECONDS})
    try:
        found = inspect(engine)
        return found.default_schema_name or "public", found.get_table_names()
    except SQLAlchemyError as error:
        raise BackupError(f"{what}: its database does not answer: {' '.join(str(error).split())[:500]}") from error
    finally:
        engine.dispose()


def postgres(program: str, url: URL, what: str, *options: str) -> None:
    """Run one of PostgreSQL's programs, such as ``pg_dump``, on the database at ``url``.

    ``what``: a description of the database, for the error's message. Raises BackupError if the program is missing,
    fails (with the program's message), or takes longer than an hour.
    """
    argv, env = connection(url)
    try:
        done = subprocess.run(
            [program, *options, *argv], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_DUMP_SECONDS,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise BackupError(
            f"{what} is on PostgreSQL, and {program} is not on this machine: install PostgreSQL's client programs, or "
            "keep the database by your own means and leave it out here: --except-databases"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BackupError(f"{what}: {program} did not end within {_DUMP_SECONDS} s") from error
    if done.returncode:
        raise BackupError(f"{what}: {program} failed: {' '.join(done.stderr.split())[:1000]}")


def connection(url: URL) -> tuple[list[str], Mapping[str, str]]:
    """Return the arguments and the environment with which PostgreSQL's programs connect to a database.

    The returned environment is a copy of this process's environment. If the URL has a password, also one after its
    ``?``, the copy contains the password as ``PGPASSWORD``. The arguments never contain the password, since every user
    of the machine can read them.
    """
    env = dict(os.environ)
    if (password := url.query.get("password", url.password)) is not None:
        env["PGPASSWORD"] = str(password)
    query = url.difference_update_query(["password"]).query
    # not ``url.set(password=None)``, which keeps the password
    shown = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query).render_as_string()
    return [f"--dbname={shown}"], env


def _folders(paths: Iterable[Path]) -> Iterator[KeptFolder]:
    seen: set[Path] = set()
    for path in paths:
        for folder in reversed(path.parents):
            if folder not in seen and folder != Path("/"):
                seen.add(folder)
                found = folder.stat()
                yield KeptFolder(
                    path=str(folder),
                    mode=stat.S_IMODE(found.st_mode) & 0o777,
                    owner=user_name(found.st_uid),
                    group=group_name(found.st_gid),
                )


def _write(file: Path, manifest: Manifest, folder: Path) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz", compresslevel=6) as tar:
        text = manifest.model_dump_json(indent=1).encode()
        tar.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
        for kept in manifest.stores:
            with (folder / kept.member).open("rb") as content:
                tar.addfile(_member(kept.member, kept.size), content)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _member(name: str, size: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.mode, found.mtime = size, 0o600, int(datetime.now(UTC).timestamp())
    return found


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
