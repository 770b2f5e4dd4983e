"""``factorygate upgrade --to``: the other release's program does the upgrade, since it knows which tables it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from factoryoperator.cli import main
from factoryoperator.upgrade import Upgrade

VERSION = "0.2.0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of releases with one release, whose Python writes its arguments to ``called``."""
    release = tmp_path / "releases" / VERSION
    (release / "venv" / "bin").mkdir(parents=True)
    (release / "release.json").write_text(json.dumps({"version": VERSION}))
    python = release / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/called\n')
    python.chmod(0o755)
    return tmp_path


def test_the_other_release_s_program_is_run(root: Path) -> None:
    options = ("--to", VERSION, "--root", str(root), "--backups", str(root / "kept"), "--hub", str(root / "hub.yaml"))
    done = subprocess.run(
        [sys.executable, "-m", "factoryoperator", "upgrade", *options, "--yes"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (root / "called").read_text().split("\n")[:-1] == ["-m", "factoryoperator", "upgrade", *options, "--yes"]


def test_a_release_that_is_not_installed_is_refused_in_words(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", "--to", "0.3.0", "--root", str(root)]) == 1
    assert f"Release 0.3.0 is not installed below {root}." in capsys.readouterr().err
    assert not (root / "called").exists()


def test_a_release_whose_program_is_gone_is_refused_in_words(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "releases" / VERSION / "venv" / "bin" / "python").unlink()
    assert main(["upgrade", "--to", VERSION, "--root", str(root)]) == 1
    assert f"The program of release {VERSION} cannot be run" in capsys.readouterr().err


def test_the_release_s_own_program_does_the_upgrade(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgraded: list[str] = []
    monkeypatch.setattr(sys, "prefix", str(root / "releases" / VERSION / "venv"))
    monkeypatch.setattr(Upgrade, "to", lambda _self, release: upgraded.append(release.version))
    assert main(["upgrade", "--to", VERSION, "--root", str(root)]) == 0
    assert upgraded == [VERSION]
    assert not (root / "called").exists()
