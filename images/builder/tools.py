"""Installs the tools that build images: Debian packages, and a Python environment from ``requirements/images.txt``.

Runs under Debian's bare Python (standard library only), as root. ``python3 -m images.builder.tools`` takes the
arguments of ``images/build``, installs what is missing, and prints the path of the environment's Python.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from images.builder.options import CANNOT_WORK, CHECKOUT, parse
from images.builder.steps import BuildError, run, step

LOCK = CHECKOUT / "requirements" / "images.txt"
# Debian's package for each program or file.
BUILD = {
    "buildah": "buildah",
    "netavark": "netavark",  # buildah requires it even for builds without a network
    "mmdebstrap": "mmdebstrap",
    "mksquashfs": "squashfs-tools",
    "/usr/share/python-wheels": "python3-pip-whl",
    "/usr/share/keyrings/debian-archive-keyring.pgp": "debian-archive-keyring",
    "/etc/containers/policy.json": "golang-github-containers-image",
}
# Packages with which the tests run the images.
TRY = {
    "podman": "podman",
    "runc": "runc",
    "catatonit": "catatonit",
    "netavark": "netavark",
    "aardvark-dns": "aardvark-dns",
    "ch-run": "charliecloud",
    "squashfuse": "squashfuse",
    "unsquashfs": "squashfs-tools",
    "skopeo": "skopeo",
}
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin:/usr/lib/podman:/usr/libexec/podman"


def missing(programs: Mapping[str, str]) -> list[str]:
    """Return the Debian packages of the programs and files that this machine lacks, sorted.

    ``programs``: the programs (by name) and files (by path) that are needed, each with its Debian package.
    """
    there = {name for name in programs if os.path.exists(name) or shutil.which(name, path=_PATH)}
    return sorted({package for name, package in programs.items() if name not in there})


def install_packages(programs: Mapping[str, str]) -> None:
    """Install the Debian packages of the programs and files that this machine lacks.

    ``programs``: the programs (by name) and files (by path) that are needed, each with its Debian package. Raises
    BuildError if the installation fails, or if something is missing and this process does not run as root.
    """
    wanted = missing(programs)
    if not wanted:
        return
    if os.geteuid() != 0:
        raise BuildError(f"Root can install what is missing: apt-get install {' '.join(wanted)}")
    apt = ["apt-get", "-qq", "-oDPkg::Lock::Timeout=300"]
    install = [*apt, "install", "-y", "--no-install-recommends", *wanted]
    with step(f"Debian's {', '.join(wanted)}"):
        try:
            run(install, DEBIAN_FRONTEND="noninteractive")
        except BuildError:  # the package lists may be empty or outdated
            run([*apt, "update"])
            run(install, DEBIAN_FRONTEND="noninteractive")
    still = missing(programs)
    if still:
        raise BuildError(f"Debian's {', '.join(still)} did not bring the programs that are needed")


def environment(folder: Path) -> Path:
    """Return the path of the Python in the virtual environment ``folder``, which is made if necessary.

    The environment has the packages of ``requirements/images.txt``, checked by hash. If these or the system's Python
    have changed since it was made, it is made anew. Raises BuildError.
    """
    python = folder / "bin" / "python"
    stamp = folder / ".stamp"
    made_from = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != made_from:
        with step("the builder's Python environment"):
            shutil.rmtree(folder, ignore_errors=True)
            run([sys.executable, "-m", "venv", "--without-pip", folder])
            pip = next(iter(sorted(Path("/usr/share/python-wheels").glob("pip-*.whl"))))
            how = ("--disable-pip-version-check", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:")
            run([python, f"{pip}/pip", "install", *how, "-r", LOCK])
        stamp.write_text(made_from)
    return python


def main(argv: list[str]) -> int:
    """Install missing tools, and print the path of the Python in the builder's virtual environment.

    ``argv``: the arguments of ``images/build``; a wrong argument ends the process with exit code 2. Return the exit
    code: 3, after a message on stderr, if this process does not run as root or an installation failed; otherwise 0.
    """
    options = parse(argv)
    if os.geteuid() != 0:
        print("Cannot build images: mmdebstrap and buildah need root for them.", file=sys.stderr)
        return CANNOT_WORK
    os.umask(0o022)
    try:
        options.cache.mkdir(parents=True, exist_ok=True)
        install_packages(BUILD)
        print(environment(options.cache / "tools"))
    except BuildError as error:
        print(f"Cannot build images: {error}", file=sys.stderr)
        return CANNOT_WORK
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
