"""The hub's YAML, batchspawner's settings, and the demo's passwords."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from jupyterhub.apihandlers import default_handlers

from factorylink.models import JobOptions
from factoryspawner.callback import BatchSpawnerBase, remove_callback
from factoryspawner.hubconfig import VARIABLE, HubConfigError, keep_private, load, loaded, read_secret
from factoryspawner.passwords import (
    PasswordAuthenticator,
    PasswordFileError,
    check_password,
    hash_password,
    read_passwords,
    write_passwords,
)
from factoryspawner.settings import SettingsError, check_all, job_options

LEAST: dict[str, Any] = {
    "public_url": "http://127.0.0.1:8000/",
    "proxy_token_file": "proxy",
    "link_socket": "/run/link.sock",
    "service_token_file": "service",
    "db_file": "hub.sqlite",
    "cookie_secret_file": "cookie",
}


def write(folder: Path, **change: Any) -> Path:
    path = folder / "hub.yaml"
    path.write_text(yaml.safe_dump({**LEAST, **change}))
    return path


def test_paths_are_taken_from_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path))
    assert config.proxy_token_file == tmp_path / "proxy"
    assert config.link_socket == Path("/run/link.sock")
    assert config.database == f"sqlite:///{tmp_path}/hub.sqlite"
    assert config.public_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"public_url": "127.0.0.1:8000"}, "public_url"),
        ({"colour": "red"}, "colour"),
        ({"db_url": "postgresql://x"}, "db_url"),
        ({"named_servers": -1}, "named_servers"),
        ({"base_url": "hub"}, "base_url"),
    ],
)
def test_a_bad_key_is_named(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(HubConfigError, match=named):
        load(write(tmp_path, **change))


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "just words"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "hub.yaml").write_text(text)
    with pytest.raises(HubConfigError, match=r"hub\.yaml"):
        load(tmp_path / "hub.yaml")


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded.cache_clear()
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(HubConfigError, match=VARIABLE):
        loaded()
    monkeypatch.setenv(VARIABLE, str(write(tmp_path)))
    assert loaded() is loaded()
    loaded.cache_clear()


def test_a_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(HubConfigError, match="token"):
        read_secret(path)
    path.write_text(" abc\n")
    path.chmod(0o640)
    with pytest.raises(HubConfigError, match="0600"):
        read_secret(path)
    path.chmod(0o600)
    assert read_secret(path) == "abc"
    path.write_text("\n")
    with pytest.raises(HubConfigError, match="empty"):
        read_secret(path)


@pytest.mark.parametrize(
    "name", ["exec_prefix", "batch_submit_cmd", "batch_query_cmd", "batch_cancel_cmd", "req_memory", "req_options"]
)
@pytest.mark.parametrize("section", ["FactorySpawner", "BatchSpawnerBase", "Spawner"])
def test_settings_without_a_meaning_are_refused(section: str, name: str) -> None:
    with pytest.raises(SettingsError, match=rf"c\.{section}\.{name}"):
        check_all({section: {name: "x"}})


def test_settings_feed_the_job() -> None:
    settings = {"req_queue": "slow", "req_partition": "gpu", "req_account": "p1", "req_prologue": "module load x\n"}
    assert job_options(settings) == JobOptions(partition="gpu", account="p1", prologue="module load x\n")
    assert job_options({"req_queue": "slow"}).partition == "slow"
    with pytest.raises(SettingsError, match="req_account"):
        job_options({"req_account": "p1\n#SBATCH --uid=0"})


def test_batchspawners_callback_is_gone() -> None:
    assert BatchSpawnerBase.__module__ == "batchspawner.batchspawner"
    assert not [route for route in default_handlers if "batchspawner" in route[0]]
    before = list(default_handlers)
    remove_callback()
    assert default_handlers == before


def test_only_the_hub_reads_its_database(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        for end in ("", "-wal", "-journal"):
            (tmp_path / f"hub.sqlite{end}").touch(0o644)
        keep_private(f"sqlite:///{tmp_path}/hub.sqlite")
        (tmp_path / "made-later").touch()
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
        for elsewhere in ("sqlite:///:memory:", "sqlite://", "postgresql://hub@db/hub"):
            keep_private(elsewhere)
    finally:
        os.umask(before)


def test_passwords_are_checked() -> None:
    line = hash_password("good")
    assert check_password("good", line)
    assert not check_password("bad", line)
    assert line != hash_password("good")
    for broken in ("", "md5$1$1$1$00$00", "scrypt$x$8$1$00$00"):
        with pytest.raises(PasswordFileError):
            check_password("good", broken)


async def test_people_log_in_by_the_file(tmp_path: Path) -> None:
    path = tmp_path / "passwords.json"
    write_passwords(path, {"ada": "good"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert "good" not in path.read_text()
    authenticator = PasswordAuthenticator(passwords_file=str(path))
    assert await authenticator.authenticate(None, {"username": "ada", "password": "good"}) == "ada"
    assert await authenticator.authenticate(None, {"username": "ada", "password": "bad"}) is None
    assert await authenticator.authenticate(None, {"username": "eve", "password": "good"}) is None
    write_passwords(path, {"eve": "new"})
    assert await authenticator.authenticate(None, {"username": "eve", "password": "new"}) == "eve"
    path.chmod(0o644)
    with pytest.raises(PasswordFileError, match="0600"):
        read_passwords(path)
    assert await authenticator.authenticate(None, {"username": "eve", "password": "new"}) is None
