"""How factorygate-install writes files: only missing ones, atomically, and never over an operator's changes."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from factoryinstaller import checks, cli, files, install, secrets_kept
from factoryinstaller.errors import InstallerError
from factoryinstaller.files import WantedFile
from factoryinstaller.machine import Machine
from factoryinstaller.options import Options

CHECKOUT = Path(__file__).parents[2]
OPTIONS = Options(domain="gateway.example.org", email="ops@example.org", admin="ada", login="passwords")


def machine(root: Path) -> Machine:
    """Return a folder that stands for a machine; all its accounts are the user who runs the tests."""
    return Machine(root, lambda _user, _group: (os.geteuid(), os.getegid()))


@pytest.fixture(autouse=True)
def _disk_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def write_all(root: Path, options: Options = OPTIONS) -> list[str]:
    """Write all configuration files as a run of factorygate-install does; return the changes."""
    made = machine(root)
    secrets, _ = secrets_kept.prepare(made, options)
    for folder in files.folders():
        made.make_folder(*folder)
    made.keep_options(options.to_json())
    for wanted in secrets.files():
        made.write(wanted)
    for wanted in [*files.configuration(options, secrets.tokens), *install.catalogue(CHECKOUT)]:
        made.write(wanted)
    return made.changes


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_programs_that_it_starts_do_not_look_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that the installer starts must not import from the wheel.

    The installer itself runs from the wheel. If pip could import from the wheel, pip would think that the release is
    installed.
    """
    seen: list[str | None] = []
    monkeypatch.setenv("PYTHONPATH", "/root/factorygate-1.2.3/factorygate-1.2.3-py3-none-any.whl")
    monkeypatch.setattr(cli, "_alone", nullcontext)
    monkeypatch.setattr(cli, "_run", lambda machine, _given: seen.append(machine.run("printenv", "PYTHONPATH")) or 0)
    assert cli.main([]) == 1  # printenv: there is none
    assert seen == []


def test_a_full_disk_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_machine: Machine, _given: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "/opt/factorygate")

    monkeypatch.setattr(cli, "_alone", nullcontext)
    monkeypatch.setattr(cli, "_run", run)
    assert cli.main([]) == 1
    said = capsys.readouterr().err
    assert "No space left on device: '/opt/factorygate'. Mend that, then run it again" in said


def test_a_second_run_touches_no_file(tmp_path: Path) -> None:
    assert write_all(tmp_path)
    before = snapshot(tmp_path)
    assert write_all(tmp_path) == []
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("stop", range(0, 30, 5))
def test_a_run_that_is_killed_is_completed_by_the_next(
    tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is killed before the n-th rename; files that were written until then stay unchanged."""
    count = 0
    replace = Path.replace

    class Killed(BaseException):
        pass

    def rename(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count > stop:
            raise Killed
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", rename)
        with pytest.raises(Killed):
            write_all(tmp_path)
    kept = {name: content for name, content in snapshot(tmp_path).items() if "secrets/" in name and ".new" not in name}
    write_all(tmp_path)
    assert write_all(tmp_path) == []
    after = snapshot(tmp_path)
    assert {name: after[name] for name in kept} == kept
    assert not [name for name in after if name.endswith(".new")]


def test_files_that_the_operator_changed_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_all(tmp_path)
    link = tmp_path / "etc/factorygate/link.yaml"
    link.write_text(link.read_text() + "apply_url: https://apply.example.org\n")
    link.chmod(0o644)  # by an editor that replaces files
    mine = link.read_text()
    changes = write_all(
        tmp_path, Options(domain="other.example.org", email="o@example.org", admin="ada", login="passwords")
    )
    assert link.read_text() == mine
    assert link.stat().st_mode & 0o777 == 0o640
    assert "link.yaml was changed after it was written" in capsys.readouterr().err
    assert "/etc/factorygate/hub.yaml" in changes  # nobody had changed this file
    assert "other.example.org" in (tmp_path / "etc/factorygate/hub.yaml").read_text()


def test_an_operator_is_told_what_workshops_need_in_their_own_file(tmp_path: Path) -> None:
    off = replace(OPTIONS, workshops=False)
    write_all(tmp_path, off)
    link = tmp_path / "etc/factorygate/link.yaml"
    link.write_text(link.read_text() + "apply_url: https://apply.example.org\n")
    assert list(install.left_to_the_operator(machine(tmp_path), off)) == []
    write_all(tmp_path)
    (told,) = install.left_to_the_operator(machine(tmp_path), OPTIONS)
    assert told.startswith(
        "link.yaml was changed by you: add these lines\n        workshops:\n          table: /var/lib"
    )
    link.write_text(link.read_text() + "\n".join(files.workshops_lines("link.yaml")) + "\n")
    assert list(install.left_to_the_operator(machine(tmp_path), OPTIONS)) == []
    write_all(tmp_path, off)
    (told,) = install.left_to_the_operator(machine(tmp_path), off)
    assert told.startswith("link.yaml was changed by you: remove these lines")


def test_a_secret_that_is_there_stays(tmp_path: Path) -> None:
    write_all(tmp_path)
    token = (tmp_path / "etc/factorygate/secrets/proxy-token").read_text()
    write_all(tmp_path)
    assert (tmp_path / "etc/factorygate/secrets/proxy-token").read_text() == token
    assert token.strip() in (tmp_path / "etc/factorygate/proxy.env").read_text()


def test_a_mode_that_others_loosened_is_set_again(tmp_path: Path) -> None:
    write_all(tmp_path)
    token = tmp_path / "etc/factorygate/secrets/proxy-token"
    token.chmod(0o644)
    assert write_all(tmp_path) == ["mode and owner of /etc/factorygate/secrets/proxy-token"]
    assert token.stat().st_mode & 0o777 == 0o600


def test_a_file_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine(tmp_path)
    made.write(WantedFile("/etc/x", "old\n"))

    def fails(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        made.write(WantedFile("/etc/x", "new\n"))
    assert (tmp_path / "etc/x").read_text() == "old\n"


def test_the_free_space_is_measured_where_releases_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Path] = []

    def measure(folder: Path) -> None:
        measured.append(folder)
        raise InstallerError("enough for this test")

    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=debian\n")
    monkeypatch.setattr(checks, "system", lambda _text: "Debian")
    monkeypatch.setattr(checks, "machine", measure)
    for folder in (tmp_path, tmp_path / "opt", tmp_path / "opt/factorygate"):
        folder.mkdir(exist_ok=True)
        with pytest.raises(InstallerError, match="enough"):
            install.before(machine(tmp_path), OPTIONS)
        assert measured[-1] == folder
