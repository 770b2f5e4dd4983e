"""Reads lock files, and checks that a set of wheels contains all its dependencies, for any architecture."""

from __future__ import annotations

import re
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from images.builder.options import CHECKOUT
from images.builder.steps import BuildError

PYTHON = "3.13"  # Debian 13's Python
# Extras of jsonschema require it for a string format that nothing here uses; docs/developers.md explains why no lock
# file has it.
LEFT_OUT = frozenset({"rfc3987-syntax"})
_LINE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+?))?\s*\\?")


@dataclass(frozen=True)
class Locked:
    """One package of a lock file. ``text``: its part of the file, with the hashes."""

    name: str
    version: str
    text: str


@dataclass(frozen=True)
class Wheel:
    """A wheel's own metadata."""

    version: str
    needs: tuple[Requirement, ...]


def environment(arch: str) -> dict[str, str]:
    """Return the values for evaluating the markers of requirements: those of Debian's Python on that architecture."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{PYTHON}.0",
        "os_name": "posix",
        "platform_machine": arch,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{PYTHON}.0",
        "python_version": PYTHON,
        "sys_platform": "linux",
    }


def read(lock: Path, arch: str, without: Iterable[str] = ()) -> dict[str, Locked]:
    """Return the packages of a lock file that the architecture ``arch`` needs, by name.

    ``without``: names of packages to leave out. Raises BuildError if one of these packages is not among those that the
    architecture needs, or if any package of the file lacks its version or its hashes.
    """
    found: dict[str, Locked] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", lock.read_text()):
        text = "\n".join(line for line in block.splitlines() if not line.lstrip().startswith("#"))
        if not text.strip():
            continue
        first = _LINE.fullmatch(text.splitlines()[0])
        if first is None or "--hash=sha256:" not in text:
            raise BuildError(f"{lock}: no version with its hashes: {text.splitlines()[0]!r}")
        marker = first["marker"]
        if marker and not _applies(Requirement(f"x; {marker}"), arch):
            continue
        name = canonicalize_name(first["name"])
        found[name] = Locked(name, first["version"], text + "\n")
    unknown = set(without) - found.keys()
    if unknown:
        raise BuildError(f"{lock} has no {', '.join(sorted(unknown))} to leave out")
    return {name: locked for name, locked in found.items() if name not in without}


def wanted(extras: Iterable[str], without: Iterable[str] = ()) -> list[Requirement]:
    """Return the requirements of these extras in pyproject.toml, without the packages named in ``without``.

    The names in ``without`` are in the canonical form: lower case, with hyphens.
    """
    listed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = [Requirement(text) for extra in extras for text in listed[extra]]
    return [requirement for requirement in found if canonicalize_name(requirement.name) not in without]


def wheel(path: Path) -> Wheel:
    """Return the metadata of a wheel."""
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    needs = metadata.get_all("Requires-Dist") or []
    return Wheel(str(metadata["Version"]), tuple(Requirement(text) for text in needs))


def check_agreement(first: Mapping[str, Locked], second: Mapping[str, Locked]) -> None:
    """Raise BuildError if two lock files of one environment have different versions of a package."""
    different = [
        f"{name}: {first[name].version}, {second[name].version}"
        for name in sorted(first.keys() & second.keys())
        if first[name].version != second[name].version
    ]
    if different:
        raise BuildError(f"Two locks of one environment differ: {'; '.join(different)}")


def incomplete(requirements: Iterable[Requirement], wheels: Mapping[str, Wheel], arch: str) -> list[str]:
    """Return sorted descriptions of all dependencies that are missing among the wheels, or have the wrong version.

    ``requirements``: the packages at which the search begins; ``wheels``: by name. The packages in ``LEFT_OUT`` may be
    missing.
    """
    problems = set()
    queue = [("pyproject.toml", requirement) for requirement in requirements if _applies(requirement, arch)]
    seen: set[tuple[str, str]] = set()
    while queue:
        asker, requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if name in LEFT_OUT:
            continue
        there = wheels.get(name)
        if there is None:
            problems.add(f"{asker} needs {requirement}, which is not there")
            continue
        if not requirement.specifier.contains(Version(there.version), prereleases=True):
            problems.add(f"{asker} needs {requirement}, but {there.version} is there")
        for extra in {"", *requirement.extras} - {extra for of, extra in seen if of == name}:
            seen.add((name, extra))
            queue += [(name, need) for need in there.needs if _applies(need, arch, extra)]
    return sorted(problems)


def _applies(requirement: Requirement, arch: str, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**environment(arch), "extra": extra})
