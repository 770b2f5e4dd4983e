"""Images built on a bare Debian 13, on which only Debian's Python is installed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.builder.options import CHECKOUT
from testbed.install import environments, system
from tests.support import vm
from tests.support.podman import ARCH, line

pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.timeout(3600)]
NAMES = ("link", "proxy")  # an image with a Python environment, and the one with Node.js
OUT = "/var/lib/images"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[vm.Vm]:
    missing = system.missing(vm.NEEDS)
    problem = system.install(missing) if missing else ""
    if problem:
        pytest.skip(f"needs {', '.join(missing)}: {problem}")
    tar = vm.bare_system(environments.program_folder() / "bare")
    made = vm.Vm(tmp_path / "machine", tar, f"fgvm-{os.getpid()}-images", (CHECKOUT,))
    try:
        made.connect()
        made.boot()
        made.run("update-ca-certificates")
        yield made
    finally:
        made.remove()


def test_a_fresh_machine_builds_the_same_images(machine: vm.Vm, images: Path) -> None:
    for program in ("buildah", "mmdebstrap", "mksquashfs", "pip3", "npm", "syft"):
        assert machine.run("which", program, check=False).returncode == 1
    done = machine.run(str(CHECKOUT / "images" / "build"), *NAMES, "--out", OUT, check=False, timeout=3000)
    assert done.returncode == 0, done.stderr[-4000:]
    made = machine.root / OUT.lstrip("/")
    for name in NAMES:
        built = json.loads((made / f"{name}-{ARCH}.json").read_text())
        assert built == line(images, name)
        sbom = (made / f"{name}-{ARCH}.spdx.json").read_bytes()
        assert sbom == (images / f"{name}-{ARCH}.spdx.json").read_bytes()
        assert (made / f"{name}-{ARCH}.oci.tar").stat().st_size > 1e6
