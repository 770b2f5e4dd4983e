"""The commands of ``factorygate upgrade`` for systemd, and its parser of systemd's answers;
systemctl is a script here."""

from __future__ import annotations

from pathlib import Path

import pytest

from factoryoperator.units import Systemd, UnitError

SYSTEMCTL = """#!/bin/sh
echo "$*" >>"{folder}/orders"
case "$1" in
  show) cat "{folder}/shown" ;;
  reset-failed) exit 1 ;;
  *) [ -e "{folder}/refuses" ] || exit 0; echo "Unit is masked." >&2; exit 1 ;;
esac
"""
JOURNALCTL = "#!/bin/sh\nprintf 'The hub cannot start.\\nno such module\\n'\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the script records the commands."""
    for name, text in (("systemctl", SYSTEMCTL.format(folder=tmp_path)), ("journalctl", JOURNALCTL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_a_unit_that_failed_before_is_started_and_counted_anew(folder: Path) -> None:
    Systemd().stop("hub")
    Systemd().start("link")
    assert (folder / "orders").read_text().splitlines() == [
        "stop factorygate-hub.service", "reset-failed factorygate-link.service", "start factorygate-link.service",
    ]  # fmt: skip


def test_systemds_own_words_are_told(folder: Path) -> None:
    (folder / "refuses").touch()
    with pytest.raises(UnitError, match=r"systemctl start factorygate-proxy.service failed: Unit is masked"):
        Systemd().start("proxy")


@pytest.mark.parametrize(("state", "restarts"), [("active", 0), ("activating", 2), ("reloading", 0)])
def test_a_unit_that_runs_or_starts_has_not_failed(state: str, restarts: int, folder: Path) -> None:
    (folder / "shown").write_text(f"ActiveState={state}\nNRestarts={restarts}\n")
    assert Systemd().failed("hub") == ""


@pytest.mark.parametrize(("state", "restarts"), [("failed", 0), ("inactive", 0), ("activating", 3), ("active", 9)])
def test_a_unit_that_was_given_up_or_loops_has_failed_with_its_last_words(
    state: str, restarts: int, folder: Path
) -> None:
    (folder / "shown").write_text(f"ActiveState={state}\nNRestarts={restarts}\n")
    assert Systemd().failed("hub") == (
        f"factorygate-hub.service is {state}, started again {restarts} times: The hub cannot start. no such module"
    )
