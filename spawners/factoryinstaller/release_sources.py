"""Reads the sources of a release: a checkout, an unpacked release archive, or a release that was built earlier.

Uses only the standard library, since the installer runs before anything is installed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import tarfile
import tomllib
import zlib
from collections.abc import Iterator
from pathlib import Path

from factoryinstaller.errors import ReleaseError

VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")  # a version that Python, Helm and image registries all accept
SUMS = "SHA256SUMS"
WHOLE = "release.json"  # the file that is written last, so a folder without it is an incomplete release
LOCK = "requirements/hub.txt"
# The parts of a release besides its wheel; they have the same paths in a checkout and in an archive.
PARTS = (
    ".npmrc",
    "LICENSE",
    "bin/factorygate-install",
    "docs/systemd",
    "hub_config",
    "package-lock.json",
    "package.json",
    LOCK,
    "site",
)
# The sources of the wheel, which a checkout has instead of the wheel itself.
_SOURCES = (
    "README.md",
    "docs/examples",
    "extensions/factorygate",
    "extensions/lab/install.json",
    "extensions/lab/labextension",
    "extensions/workshops",
    "pyproject.toml",
    "spawners",
)
_LARGEST = 512 * 2**20  # maximum number of bytes of an unpacked archive
_MOST = 20_000  # maximum number of members of an archive
# Raised while a damaged archive is read. ValueError: a path has a null character.
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError)


def own() -> Path:
    """Return the absolute path of the checkout, unpacked release archive or release that contains this module.

    Raises ReleaseError if there is none.
    """
    for folder in Path(__file__).absolute().parents:
        if all((folder / name).exists() for name in PARTS) and (is_checkout(folder) or _wheels(folder)):
            return folder
    raise ReleaseError("factorygate-install must lie in a checkout or in an unpacked release archive of factorygate.")


def is_checkout(folder: Path) -> bool:
    """Return whether a folder contains the sources of the wheel."""
    return all((folder / name).exists() for name in _SOURCES)


def wheel(folder: Path) -> Path:
    """Return the path of the only wheel of an archive or a release.

    Raises ReleaseError if there is none, or more than one.
    """
    found = _wheels(folder)
    if len(found) != 1:
        raise ReleaseError(f"{folder} holds {len(found)} wheels; one is needed")
    return found[0]


def version(folder: Path) -> str:
    """Return the version of a checkout, unpacked archive or release, such as 1.2.3.

    Raises ReleaseError if the version has another form, or if an archive or a release does not have exactly one wheel.
    """
    if is_checkout(folder):
        found = str(tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    else:
        found = wheel(folder).name.split("-")[1]
    if not VERSION.fullmatch(found):
        raise ReleaseError(f"{folder} has the version {found!r}, which is no version such as 1.2.3")
    return found


def content(folder: Path) -> str:
    """Return a digest of the files in ``folder`` from which a release is built.

    ``folder``: a checkout or an unpacked archive. If ``folder`` is a built release, return the digest of the sources
    from which that release was built. Raises ReleaseError if a file or folder is missing, or if an archive has several
    wheels.
    """
    known = made_from(folder)
    if known is not None:  # this is a release already
        return known
    names = (*PARTS, *_SOURCES) if is_checkout(folder) else (*PARTS, wheel(folder).name)
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise ReleaseError(f"{folder} lacks {', '.join(missing)}, which a release has")
    total = hashlib.sha256()
    for name in names:
        for path in _files(folder / name):
            data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            total.update(f"{path.relative_to(folder)}\0{len(data)}\0".encode() + data)
    return total.hexdigest()


def made_from(folder: Path) -> str | None:
    """Return the digest of the sources from which a complete release was built.

    None if the folder has no ``release.json``, or if this file cannot be read or does not contain the digest.
    """
    try:
        found = json.loads((folder / WHOLE).read_text(encoding="utf-8"))
        return str(found["made_from"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _wheels(folder: Path) -> list[Path]:
    return sorted(folder.glob("factorygate-*.whl"))


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or path.is_file():
        yield path
    else:
        for child in sorted(path.iterdir()):
            if child.name != "__pycache__" and not child.name.endswith(".egg-info"):
                yield from _files(child)


# --- an archive


def check_sum(archive: Path) -> None:
    """Compare an archive's SHA-256 with the archive's line in ``SHA256SUMS`` beside it, if that file exists.

    Raises ReleaseError if the archive has no line there, if the SHA-256 differs, or if one of the two files cannot be
    read.
    """
    sums = archive.parent / SUMS
    try:
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not sums.exists():
            return
        lines = sums.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{archive} cannot be read: {error}") from error
    expected = {name: known for known, _, name in (line.partition("  ") for line in lines)}
    if expected.get(archive.name) != digest:
        raise ReleaseError(f"{archive} is not the archive that {sums} names: its SHA-256 is {digest}")


def version_of(archive: Path) -> str:
    """Return the version of an archive, from the name of its top folder, ``factorygate-VERSION``.

    Only the archive's first entry is read. Raises ReleaseError if the archive cannot be read, or if the path of its
    first entry does not begin with such a name.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            first = tar.next()
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        raise ReleaseError(f"{archive} cannot be read: {error}") from error
    top = "" if first is None else first.name.split("/")[0]
    found = top.removeprefix("factorygate-")
    if top == found or not VERSION.fullmatch(found):
        raise ReleaseError(f"{archive} is not a release archive: it does not begin with factorygate-VERSION/")
    return found


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive into a folder, and return the path of the archive's top folder there.

    The archive may have only plain files and folders, all below one top folder ``factorygate-VERSION``. This folder
    must have exactly one wheel, of the same version. Raises ReleaseError if this is not so, or if the archive is larger
    than any release; ReleaseError or OSError if the archive cannot be read; OSError if a file cannot be written.
    """
    named = version_of(archive)
    top = f"factorygate-{named}"
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = list(_members(tar, top))
            tar.extractall(folder, members=members, filter="data")  # members were checked
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    if version(folder / top) != named:
        raise ReleaseError(f"{archive} names the version {named}, and holds {wheel(folder / top).name}")
    return folder / top


def _damaged(archive: Path, error: Exception) -> ReleaseError:
    return ReleaseError(f"{archive} cannot be read: it is damaged, or no release archive ({error}). Get it again")


def _members(tar: tarfile.TarFile, top: str) -> Iterator[tarfile.TarInfo]:
    size = 0
    for count, member in enumerate(tar):
        size += member.size
        parts = Path(member.name).parts
        if not (member.isreg() or member.isdir()) or not parts or parts[0] != top or ".." in parts:
            raise ReleaseError(f"The archive has {member.name!r}, which is no plain file below {top}")
        if size > _LARGEST or count >= _MOST:
            raise ReleaseError("The archive is larger than any release")
        yield member


# --- a checkout's numbers


def numbers(checkout: Path) -> dict[str, str]:
    """Return the versions that a checkout's files name: of the wheel, the notebook package and, if any, the chart.

    The keys are the files' paths; the chart has two keys, ``PATH: version`` and ``PATH: appVersion``. A value is "" if
    the file of the notebook package or the chart names no such version. Raises ReleaseError if a file cannot be read,
    or if ``pyproject.toml`` names no version.
    """
    try:
        project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        found = {"pyproject.toml": str(project["version"])}
        package = "extensions/factorygate/__init__.py"
        line = re.search(r'^__version__ = "([^"]*)"$', (checkout / package).read_text(encoding="utf-8"), re.MULTILINE)
        found[package] = line[1] if line else ""
        chart = checkout / "helm" / "factorygate" / "Chart.yaml"
        if chart.exists():
            text = chart.read_text(encoding="utf-8")
            for key in ("version", "appVersion"):
                line = re.search(rf"^{key}: *[\"']?([^\"'\s#]+)", text, re.MULTILINE)
                found[f"helm/factorygate/Chart.yaml: {key}"] = line[1] if line else ""
    except (OSError, KeyError, ValueError) as error:  # ValueError: no UTF-8, or no TOML
        raise ReleaseError(f"The version cannot be read: {error!r}") from error
    return found
