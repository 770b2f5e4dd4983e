"""Every mistake of an operator, on the command line or in a file, is explained with the allowed values."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from sqlalchemy import Engine

from factorycommon.service.database import Database
from factorycommon.service.yaml_file import CatalogueError
from factorylink.catalogue.loading import load_link_config
from factorylink.cli import main as cli
from tests.unit.fake_factory import factory
from tests.unit.test_link_process import link_yaml, start

PROJECTS = """projects:
  - id: p1
    mode: playground
    begins: 2026-10-01T00:00:00Z
    gpu_hours: 10
    factories: {one: {}}
"""
# A file of a few hundred bytes whose aliases stand for 9 ** 12 values.
BOMB = "".join(f"k{depth}: &k{depth} [{', '.join([f'*k{depth - 1}' if depth else 'x'] * 9)}]\n" for depth in range(12))


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run ``factorygate`` with these arguments; return the exit code, and the text on stderr."""
    try:
        code = cli.main(words)
    except SystemExit as exited:  # from argparse
        code = int(exited.code or 0)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("factory", "drain", "one", ""), "1 to 500 characters"),
        (("factory", "pause", "one", "x" * 501), "1 to 500 characters"),
        (("sessions", "tell", "s", ""), "1 to 1000 characters"),
        (("usage", "--since", "yesterday"), "'yesterday' is no day; allowed: one such as 2026-01-31"),
        (("audit", "export", "one", "--since", "2026-02-30"), "'2026-02-30' is no day or moment; allowed: 2026-01-31"),
        (("doctor", "one", "--wait", "nan"), "allowed: 0 to"),
        (("doctor", "one", "--wait", "long"), "allowed: 0 to"),
    ],
)
def test_a_wrong_word_is_told_with_what_is_allowed(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    code, text = said(capsys, "--socket", "/nowhere/link.sock", *words)
    assert code == 2
    assert told in text


def test_a_link_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "--socket", "/nowhere/link.sock", "sessions", "list")
    assert (code, text.count("\n")) == (1, 1)
    assert text.startswith("The link at /nowhere/link.sock cannot be asked: ")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("10-01T", "02-30T", "F:4: projects.p1.begins: '2026-02-30T00:00:00Z' is no such value: day"),
        ("00:00:00Z", "00:00:00+99:99", "F:4: projects.p1.begins: "),
        ("2026", "9999", "F:4: projects.p1.begins: 9999 is no year for a project; allowed: 2000 to 9000"),
        ("hours: 10", "hours: 1.0e306", "F:5: projects.p1.gpu_hours: '1.0e306': input should be less than or equal to"),
        ("  - id: p1", "  - {id: p1, factories: {one: {}}}\n  - id: p1", "F:1: projects: used twice: p1; each id is"),
        (PROJECTS, "projects: &all [*all]", "F: holds itself by an alias"),
        (PROJECTS, BOMB, "F: its aliases stand for more than 500000 values"),
        (PROJECTS, "#" * (8 * 2**20 + 1), "F: has more than 8 MiB"),
        (PROJECTS, "[" * 100_000, "F:1: not valid YAML: exceeded maximum nesting depth"),
    ],
)
def test_a_wrong_value_of_the_projects_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, told: str
) -> None:
    file, catalogue = tmp_path / "projects.yaml", tmp_path / "factories"
    catalogue.mkdir()
    (catalogue / "one.yaml").write_text(yaml.safe_dump(factory().model_dump(mode="json", exclude_none=True)))
    file.write_text(PROJECTS)
    assert said(capsys, "projects", "check", str(file), "--catalogue", str(catalogue)) == (0, "")
    file.write_text(PROJECTS.replace(old, new))
    code, text = said(capsys, "projects", "check", str(file), "--catalogue", str(catalogue))
    assert code == 1
    assert text.replace(str(file), "F").startswith(told)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("session_ports", [29999, 20000], "session_ports: [29999, 20000] is no range; allowed: the lowest port, then"),
        ("session_ports", [20000, 99999], "session_ports.1: 99999: input should be less than or equal to 65535"),
        ("listen_port", 70000, "listen_port: 70000: input should be less than or equal to 65535"),
        ("limits", {"access_grace_seconds": 10**18}, "limits.access_grace_seconds: "),
        (
            "hub",
            {"token_file": "t", "url": "127.0.0.1:8081"},
            "hub.url: '127.0.0.1:8081' is not an address that begins",
        ),
    ],
)
def test_a_number_that_cannot_be_is_told_before_the_link_uses_it(
    tmp_path: Path, key: str, value: object, told: str
) -> None:
    file = link_yaml(tmp_path)
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), key: value}))
    with pytest.raises(CatalogueError) as caught:
        load_link_config(file)
    (line,) = caught.value.problems
    assert told in line


def test_a_doctor_without_an_account_says_how_to_name_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = link_yaml(tmp_path)
    config = yaml.safe_load(file.read_text())
    config["factories"]["one"].pop("account_pool")
    file.write_text(yaml.safe_dump({**config, "projects": "projects.yaml"}))
    code, text = said(capsys, "doctor", "one", "--link", str(file))
    assert (code, text) == (1, f"one: {file} has no site account for it: name one by --account\n")


def test_an_interrupted_command_shows_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("factorylink.client.LinkClient.sessions", interrupted)
    assert said(capsys, "--socket", "/nowhere", "sessions", "list")[0] == 130


@pytest.mark.parametrize("key", ["state_dir", "socket"])
async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, key: str) -> None:
    file = link_yaml(tmp_path)
    config = yaml.safe_load(file.read_text())
    (tmp_path / "file").write_text("")
    file.write_text(yaml.safe_dump({**config, key: "file/there"}))
    process = await start(file)
    _, text = await process.communicate()
    assert process.returncode == 2
    assert b"Traceback" not in text
    assert str(tmp_path / "file").encode() in text


def test_a_ledger_that_cannot_be_opened_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Database, alone: bool = False) -> Engine:
        raise PermissionError(13, "Permission denied")

    file = link_yaml(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ledger.sqlite").touch()
    monkeypatch.setattr(Database, "engine", refused)
    for command in ("check", "upgrade"):
        code, text = said(capsys, "ledger", command, "--config", str(file))
        assert code == 1
        assert str(tmp_path / "state" / "ledger.sqlite") in text
        assert "Permission denied" in text
