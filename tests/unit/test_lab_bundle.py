"""The built JupyterLab extension is small, complete, and part of the installation."""

from __future__ import annotations

import json
import sys
from pathlib import Path

LAB = Path(__file__).parents[2] / "extensions" / "lab"
BUILT = LAB / "labextension"
MOST = 200_000  # bytes


def test_the_bundle_is_small_and_contains_nothing_of_jupyterlab() -> None:
    scripts = list((BUILT / "static").glob("*.js"))
    assert 0 < sum(path.stat().st_size for path in scripts) < MOST
    licences = json.loads((BUILT / "static" / "third-party-licenses.json").read_text())["packages"]
    assert {one["name"] for one in licences}.isdisjoint({"@jupyterlab/application", "@lumino/widgets", "react"})


def test_the_files_that_the_bundle_loads_exist() -> None:
    build = json.loads((BUILT / "package.json").read_text())["jupyterlab"]["_build"]
    assert (BUILT / build["load"]).is_file()


def test_the_installed_bundle_is_that_of_the_checkout() -> None:
    installed = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "factorygate-lab"
    for path in BUILT.rglob("*"):
        if path.is_file():
            assert (installed / path.relative_to(BUILT)).read_bytes() == path.read_bytes(), path
    assert json.loads((installed / "install.json").read_text())["packageName"] == "factorygate"
