"""The file of projects: its mistakes are named, it is read again, and a failing table blocks nothing."""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from factorycommon.service.yaml_file import CatalogueError
from factorylink.cli.main import main
from factorylink.config import Access
from factorylink.ledger.ledger import Ledger
from factorylink.projects.book import ProjectBook, YamlTable, load, read
from factorylink.projects.people import KnownPeople
from tests.unit.fake_factory import factory
from tests.unit.fake_projects import Table, project

# --- the file

YAML = """
projects:
  - id: EHPC-AIF-2026PG01-756
    mode: playground
    members: [ada]
    ends: 2026-12-31T23:59:00Z
    gpu_hours: 5000
    factories:
      one: {account: eu-1, sizes: [gpu-1]}
"""


def test_a_mistake_is_named_with_file_key_and_what_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "projects.yaml"

    def check(old: str, new: str) -> str:
        file.write_text(YAML.replace(old, new))
        assert main(["projects", "check", str(file)]) == 1
        return capsys.readouterr().err.replace("EHPC-AIF-2026PG01-756", "ID").replace(str(file), "F")

    assert check("playground", "fun") == (
        "F:4: projects.ID.mode: 'fun': input should be 'playground', 'fast-lane', 'large-scale', 'science' or 'other'\n"
    )
    assert "F:5: projects.ID.member: unknown key; allowed: begins, ends, factories" in check("members", "member")
    assert "F:6: projects.ID.ends: 2026-12-31 needs a time and its zone" in check("T23:59:00Z", "")
    assert check("members: [ada]", 'groups: [g, "antenna:hunaifa"]') == (
        "F:5: projects.ID.groups.1: 'antenna:hunaifa' gives no right: groups antenna:… are what people pick themselves "
        "at login\n"
    )
    assert "F:9: projects.ID.factories.one: not in the catalogue; allowed: " in check("x", "x")
    file.write_text(YAML.replace("one:", "lumi-aif:"))
    assert main(["projects", "check", str(file)]) == 1
    said = capsys.readouterr().err
    assert "factories.lumi-aif.sizes: no size 'gpu-1'; allowed: gcd-1, " in said


def test_two_people_under_one_account_are_a_mistake(tmp_path: Path) -> None:
    file, ours = tmp_path / "projects.yaml", {"one": factory()}
    accounts = YAML.replace("sizes: [gpu-1]", "site_accounts: {personal: {ada: u1}, pool: [u2]}")
    file.write_text(accounts)
    assert asyncio.run(_read(YamlTable(file, ours))) == ["EHPC-AIF-2026PG01-756"]
    second = accounts.replace("projects:\n", "").replace("PG01-756", "FL01-001")
    file.write_text(accounts + second)  # the same person and pool again is no conflict
    assert asyncio.run(_read(YamlTable(file, ours))) is not None
    for old, new in (("ada: u1", "ben: u1"), ("ada: u1", "ada: u2"), ("pool: [u2]", "pool: [u1]")):
        file.write_text(accounts + second.replace(old, new))
        assert asyncio.run(_read(YamlTable(file, ours))) is None, (old, new)


async def _read(table: YamlTable) -> list[str] | None:
    await table.refresh()
    return None if table.projects is None else list(table.projects)


def test_unusual_values_for_a_mode_give_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "projects.yaml"
    file.write_text(
        YAML.replace("one: {account: eu-1, sizes: [gpu-1]}", "lumi-aif: {account: x}")
        .replace("gpu_hours: 5000", "gpu_hours: 6000\n    begins: 2026-01-01T00:00:00Z")
        .replace("PG01", "FL01")
    )
    assert main(["projects", "check", str(file)]) == 0
    said = capsys.readouterr().out
    assert "mode: 'playground', but such an id is one of 'fast-lane'" in said
    assert "gpu_hours: 6000; Playground grants up to 5,000" in said
    assert "ends: 364 days after it begins; Playground lasts 3 months at most" in said
    assert main(["projects", "list", str(file)]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row == ["EHPC-AIF-2026FL01-756", "playground", "2026-01-01", "2026-12-31", "6000", "1", "0", "lumi-aif"]


SHORT = """
projects:
  - {id: a, mode: MODE, begins: 2026-11-30T12:00:00+01:00, members: [ada], factories: {one: {}}}
"""


@pytest.mark.parametrize(
    ("mode", "ends", "hours"),
    [
        ("playground", "2027-02-28T12:00:00+01:00", 5000),
        ("fast-lane", "2027-02-28T12:00:00+01:00", 50000),
        ("large-scale", "2027-11-30T12:00:00+01:00", None),
        ("science", "2027-05-30T12:00:00+01:00", None),
        ("other", None, None),
    ],
)
def test_a_mode_fills_in_what_is_left_out(tmp_path: Path, mode: str, ends: str | None, hours: float | None) -> None:
    file = tmp_path / "projects.yaml"

    def held(text: str) -> tuple[datetime | None, float | None]:
        file.write_text(text.replace("MODE", mode))
        (found,) = load(file, {"one": factory()}).values()
        return found.ends, found.gpu_hours

    end = None if ends is None else datetime.fromisoformat(ends)
    assert held(SHORT) == (end, hours)
    said = "members: [ada], ends: 2026-12-24T00:00:00Z, gpu_hours: 7"
    assert held(SHORT.replace("members: [ada]", said)) == (datetime(2026, 12, 24, tzinfo=UTC), 7)
    assert held(SHORT.replace("members: [ada]", "members: [ada], ends: null, gpu_hours: null")) == (None, None)
    assert held(SHORT.replace("begins: 2026-11-30T12:00:00+01:00,", "")) == (None, None)


@pytest.mark.parametrize(
    ("mode", "hours", "granted"),
    [
        ("playground", 5000, None),
        ("playground", 5001, "up to 5,000"),
        ("fast-lane", 50000, None),
        ("large-scale", 50000, "more than 50,000"),
        ("large-scale", 50001, None),
        ("science", 50000, None),
    ],
)
def test_hours_outside_what_a_mode_grants_give_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str, hours: int, granted: str | None
) -> None:
    file = tmp_path / "projects.yaml"
    text = SHORT.replace("MODE", mode).replace("one:", "lumi-aif:")
    file.write_text(text.replace("members: [ada]", f"members: [ada], gpu_hours: {hours}"))
    assert main(["projects", "check", str(file)]) == 0
    warnings = [line for line in capsys.readouterr().out.splitlines() if "gpu_hours" in line]
    assert len(warnings) == (granted is not None)
    assert all(f"{hours}; " in line and f"grants {granted}" in line for line in warnings)


def test_values_from_a_mode_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "projects.yaml"
    text = SHORT.replace("MODE", "playground").replace("one:", "lumi-aif:")
    file.write_text(text)
    assert main(["projects", "check", str(file)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [
        "Filled in: projects.a.ends: 2027-02-28 12:00 UTC+01:00, of the mode Playground.",
        "Filled in: projects.a.gpu_hours: 5000, of the mode Playground.",
    ]
    assert main(["projects", "list", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[3:5] == ["2027-02-28", "5000"]
    file.write_text(text.replace("begins: 2026-11-30T12:00:00+01:00,", ""))
    assert main(["projects", "check", str(file)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        "Unusual: projects.a.gpu_hours: is missing, so nothing is counted; Playground grants up to 5,000 (the mode "
        "fills in nothing without 'begins')."
    )
    assert "Filled in" not in "".join(said)


async def test_the_file_is_read_again_and_a_bad_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "projects.yaml"
    table = YamlTable(file, {"one": factory()})
    assert not await table.refresh()
    assert table.projects is None
    file.write_text(YAML)
    assert await table.refresh()
    assert not await table.refresh()
    with caplog.at_level(logging.ERROR):
        file.write_text(YAML.replace("one:", "mars:"))
        assert not await table.refresh()
    assert "the last good one is used" in caplog.text
    assert "factories.mars: not in the catalogue; allowed: one" in caplog.text
    assert list(table.projects or ()) == ["EHPC-AIF-2026PG01-756"]
    file.write_text("projects: []")
    os.utime(file, (1, 1))
    assert await table.refresh()
    assert table.projects == {}


async def test_a_file_that_could_not_be_read_is_read_again_after_its_mode_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "projects.yaml"
    file.write_text(YAML)
    table = YamlTable(file, {"one": factory()})
    with pytest.MonkeyPatch.context() as patch:  # root may read any file
        patch.setattr("factorylink.projects.book.load", refused)
        assert not await table.refresh()
    file.chmod(0o640)
    assert await table.refresh()


def refused(path: Path, *_rest: object) -> None:
    raise CatalogueError([f"{path}: Permission denied"])


class Portal(Table):
    """A project table over the network: reading it raises the error ``answer``, or never ends if that is None."""

    answer: Exception | None = None

    async def refresh(self) -> bool:
        if self.answer is not None:
            raise self.answer
        await asyncio.Event().wait()
        return True


async def test_a_table_that_is_slow_or_fails_holds_up_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factorylink.projects.book.REFRESH_SECONDS", 0.05)
    table = Portal(project())
    book = ProjectBook(KnownPeople(Ledger(tmp_path / "ledger.sqlite")), table)
    assert not await book.refresh()
    table.answer = ConnectionResetError("by peer")
    assert not await book.refresh()
    assert caplog.text.count("The projects were not looked at again") == 2
    assert [found.id for found in book.of("ada")] == ["p"]
    table.projects = None  # its last answer is too old
    assert not book.known
    assert book.until("ada", "p", "one") is None  # running sessions go on


async def test_a_file_that_was_not_read_to_its_end_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "projects.yaml"
    file.write_text(YAML)
    table = YamlTable(file, {"one": factory()})

    async def cut(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "to_thread", cut)
        with pytest.raises(asyncio.CancelledError):
            await table.refresh()
    assert await table.refresh()


@pytest.mark.parametrize(
    ("access", "wrong"),
    [
        (Access(accounts={"ben": "u2"}), "site_accounts.pool: u2 is ben's in link.yaml"),
        (Access(accounts={"ben": "u1"}), "site_accounts.personal.ada: u1 is ben's in link.yaml"),
        (Access(account_pool=("u2", "u3")), "site_accounts.pool: u2 is shared by account_pool in link.yaml"),
        (Access(account_pool=("u1", "u3")), "site_accounts.personal.ada: u1 is shared by account_pool in link.yaml"),
        (Access(accounts={"ben": "u3", "ada": "u1"}, account_pool=("u1",)), None),
    ],
)
def test_a_projects_accounts_belong_to_nobody_else_in_the_links_configuration(
    tmp_path: Path, access: Access, wrong: str | None
) -> None:
    file = tmp_path / "projects.yaml"
    file.write_text(YAML.replace("sizes: [gpu-1]", "site_accounts: {personal: {ada: u1}, pool: [u2]}"))
    if wrong is None:
        assert read(file, {"one": factory()}, {"one": access})
        return
    with pytest.raises(CatalogueError) as caught:
        read(file, {"one": factory()}, {"one": access})
    assert caught.value.problems == (f"{file}:9: projects.EHPC-AIF-2026PG01-756.factories.one.{wrong}",)
