"""The built scripts and styles of pages and widgets are current and complete, and a page uses each of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.install import environments as install

CHECKOUT = Path(__file__).parents[2]
HUB = Path("spawners/factoryspawner/built")
WIDGETS = Path("extensions/factorygate/widgets/built")
FRONTEND = Path("extensions/frontend")
BUILT = sorted(path for folder in (HUB, WIDGETS) for path in (CHECKOUT / folder).iterdir())


def check(checkout: Path) -> subprocess.CompletedProcess[str]:
    argv = [install.node(Path(sys.executable)), checkout / FRONTEND / "build.mjs", "--check"]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the built files and their sources; return the folder of the copy."""
    for folder in (HUB, WIDGETS, FRONTEND):
        shutil.copytree(CHECKOUT / folder, tmp_path / folder)
    (tmp_path / "node_modules").symlink_to(CHECKOUT / "node_modules")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ("", ""),
        (f"{FRONTEND}/widgets/frame.js", "picker.js, panel.js"),
        (f"{FRONTEND}/styles/token.css", "token.css"),
        (f"{HUB}/home.js", "home.js"),
        (f"{HUB}/of_a_source_that_is_gone.js", "of_a_source_that_is_gone.js"),
    ],
)
def test_the_check_names_the_bundles_that_are_stale(copy: Path, change: str, stale: str) -> None:
    if change:
        with (copy / change).open("a") as file:
            file.write("\nh1 { color: red }\n" if change.endswith(".css") else "\nglobalThis.changed = true;\n")
    ran = check(copy)
    assert ran.returncode == (1 if stale else 0), ran.stderr
    assert (f"these sources: {stale}. " in ran.stderr) == bool(stale), ran.stderr


@pytest.mark.parametrize("path", BUILT, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_a_bundle_loads_no_other_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*import\b|\bimport\(|@import|\burl\(|https?://(?!www\.w3\.org/)", text, re.MULTILINE)
    assert "innerHTML" not in text


def test_each_bundle_of_the_hub_is_named_by_a_template_and_each_name_is_there() -> None:
    templates = "".join(path.read_text() for path in (CHECKOUT / "hub_config" / "templates").rglob("*.html"))
    named = set(re.findall(r"gateway/static/(\w+\.(?:js|css))", templates))
    assert named == {path.name for path in (CHECKOUT / HUB).iterdir()}
