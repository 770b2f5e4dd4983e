"""The units in docs/systemd: systemd accepts them, and each restricts its service."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from factoryinstaller import files

CHECKOUT = Path(__file__).parents[2]
UNITS = CHECKOUT / "docs" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
MOST_EXPOSED = 4.0  # of 10, as `systemd-analyze security` counts
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze")


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_EMOJI": "0"}
    return subprocess.run([ANALYZE, *words], capture_output=True, text=True, check=False, env=env)


def test_the_installer_installs_every_unit() -> None:
    assert set(files.UNIT_FILES) == {path.name for path in UNITS.iterdir() if path.suffix != ".conf"}


@needs_systemd
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_hardened(service: str) -> None:
    said = analyze("security", "--offline=yes", "--no-pager", str(UNITS / service)).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= MOST_EXPOSED


@needs_systemd
def test_systemd_reads_every_line(tmp_path: Path) -> None:
    """systemd has no complaint about the units.

    The programs that the units name are created, since systemd checks that they exist.
    """
    for path in UNITS.iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/factorygate", str(tmp_path)))
    for name in ("venv/bin/jupyterhub", "venv/bin/python", "venv/bin/factorygate", "node/node"):
        program = tmp_path / "current" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    units = [str(tmp_path / name) for name in files.UNIT_FILES]
    done = analyze("verify", "--man=no", *units)
    about_ours = [line for line in (done.stdout + done.stderr).splitlines() if "factorygate" in line]
    assert about_ours == []


def test_units_name_the_current_release_only() -> None:
    for path in UNITS.iterdir():
        assert set(re.findall(r"/opt/factorygate/(\w+)", path.read_text())) <= {"current"}, path.name


def test_the_proxy_leaves_the_web_servers_headers_and_cuts_dead_answers() -> None:
    text = (UNITS / "factorygate-proxy.service").read_text()
    assert "--no-x-forward" in text
    assert "hub_config/proxy/cut.cjs" in text


def test_nothing_stops_with_the_workshops_service() -> None:
    """No unit requires the service, and the service removes no folder of another unit when it ends."""
    owned = {}
    for path in UNITS.glob("*.service"):
        text = path.read_text()
        assert not re.search(r"^(Requires|BindsTo|PartOf|Requisite)=", text, re.MULTILINE), path.name
        owned[path.name] = set(re.findall(r"^RuntimeDirectory=(.*)$", text, re.MULTILINE))
    assert owned["factorygate-workshops.service"] == {"factorygate-workshops"}
    assert not owned["factorygate-workshops.service"] & owned["factorygate-link.service"]
