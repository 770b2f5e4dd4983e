"""Unpacks PyTorch for CPUs from the distribution's packages.

The PyPI package for x86-64 would bring gigabytes for NVIDIA's GPUs. Like Slurm, PyTorch is unpacked into a folder:
without root, and without installing anything. Its C++ libraries are in one folder that its Python module finds by
itself, so that no job needs an environment variable. A path file makes it available to one virtual environment of the
same Python; packages of that environment (above all numpy) come first.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from testbed.errors import CannotRun
from testbed.install import packages
from testbed.install.relocate import relocate

WANTED = ("python3-torch", "python3-sympy", "python3-mpmath", "python3-filelock", "libopenblas0-pthread")
# Excluded packages: for AMD's GPUs, for tests, and Python packages that the environment already has.
_LEFT_OUT = ("libllvm", "libamd", "libhsa", "libtorch-test")


def module(dest: Path) -> Path:
    """Return the folder of the Python modules below ``dest``."""
    return dest / "root/usr/lib/python3/dist-packages"


def install(dest: Path, environment: Path) -> None:
    """Make torch importable in the virtual environment ``environment``; unpack it below ``dest`` if it is missing.

    Raises CannotRun if the system's package sources do not have torch, or not for this Python.
    """
    if not module(dest).exists():
        dest.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=dest, prefix="new-") as scratch:
            root = Path(scratch) / "root"
            packages.unpack(WANTED, root, dest / "apt", _belongs)
            _make_movable(root)
            root.chmod(0o755)
            root.rename(dest / "root")
        shutil.rmtree(dest / "apt", ignore_errors=True)
    for site in environment.glob("lib/python3*/site-packages"):
        version = site.parent.name.removeprefix("python")
        if not any(module(dest).glob(f"torch/_C.cpython-{version.replace('.', '')}-*.so")):
            raise CannotRun(f"the package python3-torch for Python {version}")
        (site / "pytorch.pth").write_text(f"{module(dest)}\n", encoding="utf-8")


def _belongs(name: str) -> bool:
    return name.startswith(("lib", "ibverbs-providers")) and not name.startswith(_LEFT_OUT)


def _make_movable(root: Path) -> None:
    torch = root / "usr/lib/python3/dist-packages/torch"
    library = torch / "lib"  # the folder where torch itself looks for its libraries
    libraries = root / "usr/lib"
    for pattern in ("*/openblas-pthread/*.so*", "*-linux-gnu*/*.so*", "*.so*"):
        for file in libraries.glob(pattern):
            if not (library / file.name).is_symlink():
                (library / file.name).symlink_to(Path("../../../..") / file.relative_to(libraries))
    # PyTorch's own option; otherwise it loads MPI from the system's search path, which nothing uses.
    switches = torch / "_utils_internal.py"
    text = switches.read_text(encoding="utf-8")
    switches.write_text(text.replace("USE_GLOBAL_DEPS = True", "USE_GLOBAL_DEPS = False"), encoding="utf-8")
    if not all(relocate(file, b"$ORIGIN/lib") for file in torch.glob("_C.*.so")):
        raise CannotRun("PyTorch's module as this distribution builds it")
