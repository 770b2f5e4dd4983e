"""Downloads the wheels of lock files for an architecture, and caches them for later builds."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from images.builder.locks import PYTHON, Locked
from images.builder.steps import BuildError, run

_GLIBC = range(5, 42)  # Debian 13 has glibc 2.41, and accepts wheels for any older version


def fetch(locked: Mapping[str, Locked], folder: Path, arch: str, index: str | None = None) -> dict[str, Path]:
    """Return the path of each package's wheel, by package name; a wheel that ``folder`` lacks is downloaded into it.

    ``locked``: the packages of a lock file, by name; ``folder``: has only wheels for ``arch``; ``index``: the URL of
    the package index, None for pip's default. Raises BuildError if a download fails, for example because a package has
    no wheel for ``arch``. The hashes of downloaded wheels are checked; those of wheels that ``folder`` has already are
    not checked here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = _found(locked, folder)
    absent = [package for name, package in locked.items() if name not in found]
    if absent:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", dir=folder) as lock:
            lock.write("".join(package.text for package in absent))
            lock.flush()
            argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
            argv += ["--require-hashes", "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
            argv += [f"--platform={platform}" for platform in platforms(arch)]
            argv += [] if index is None else [f"--index-url={index}"]
            run([*argv, "--dest", folder, "--requirement", lock.name])
        found = _found(locked, folder)
        still = sorted(locked.keys() - found.keys())
        if still:
            raise BuildError(f"No wheel for {arch} of {', '.join(still)}")
    return found


def platforms(arch: str) -> list[str]:
    """Return the platform tags of the wheels that Debian 13 accepts on an architecture, the newest first."""
    old = ["manylinux2010", "manylinux1"] if arch == "x86_64" else []
    names = [*(f"manylinux_2_{minor}" for minor in reversed(_GLIBC)), "manylinux2014", *old, "linux"]
    return [f"{name}_{arch}" for name in names]


def _found(locked: Mapping[str, Locked], folder: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(folder.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(path.name)
        package = locked.get(canonicalize_name(name))
        if package is not None and Version(package.version) == version:
            found[package.name] = path
    return found
