"""Private keys on the disk, and the simplest kind of credentials."""

from __future__ import annotations

import asyncssh
import pytest
from pydantic import ValidationError

from factorylink.config import SshTransportSettings
from factorylink.credentials.base import read_private_key
from factorylink.credentials.key import KeyFiles
from factorylink.errors import Refused


@pytest.fixture
def keys(tmp_path):
    for name in ("alice", "watch"):
        path = tmp_path / name
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
        path.chmod(0o600)
    return tmp_path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read_is_refused(keys, mode):
    (keys / "alice").chmod(mode)
    with pytest.raises(ValueError, match="may be used by others"):
        read_private_key(keys / "alice")


def test_an_invalid_key_is_refused_without_showing_it(keys):
    (keys / "alice").write_text("secret words")
    with pytest.raises(ValueError, match="not a private key") as caught:
        read_private_key(keys / "alice")
    assert "secret words" not in str(caught.value)


def test_a_file_that_is_too_large_is_refused(keys):
    with (keys / "alice").open("ab") as key:
        key.write(b"\n" * 65536)
    with pytest.raises(ValueError, match="is larger than 65536 bytes"):
        read_private_key(keys / "alice")


def test_a_folder_is_no_key(keys):
    with pytest.raises((ValueError, OSError)):
        read_private_key(keys)


async def test_each_account_has_its_own_key_and_the_watcher_too(keys):
    credentials = KeyFiles(keys, "watch")
    alice, watcher = await credentials.login("alice"), await credentials.login(None)
    assert (alice.username, watcher.username) == ("alice", "watch")
    assert alice.key_id != watcher.key_id
    assert alice.key_id.startswith("SHA256:")
    assert alice.certificate is None
    assert alice.expires is None
    assert credentials.valid_until("alice") is None


async def test_no_key_no_login(keys):
    with pytest.raises(Refused, match="no key for the account bob"):
        await KeyFiles(keys, "watch").login("bob")


async def test_a_key_that_is_taken_away_stops_working_at_once(keys):
    credentials = KeyFiles(keys, "watch")
    await credentials.login("alice")
    (keys / "alice").unlink()
    with pytest.raises(Refused):
        await credentials.login("alice")


def test_all_keys_are_looked_at_before_the_link_starts(keys):
    (keys / "alice").chmod(0o644)
    with pytest.raises(ValueError, match="alice may be used by others"):
        KeyFiles(keys, "watch")


def test_without_the_watchers_key_the_link_does_not_start(keys):
    with pytest.raises(FileNotFoundError):
        KeyFiles(keys, "nobody")


@pytest.mark.parametrize("useless", [{"env": {"SLURM_CONF": "/etc/slurm.conf"}}, {"prefix": ["nice"]}])
def test_settings_that_the_wrapper_would_refuse_are_invalid(useless):
    told = {"hosts": ["login"], "watcher": "watch"}
    wrapper = {"kind": "wrapper", "login": "gate", "key": "key"}
    with pytest.raises(ValidationError, match=r"act\.conf"):
        SshTransportSettings.model_validate({**told, "credentials": wrapper, **useless})
    SshTransportSettings.model_validate({**told, "credentials": {"kind": "key", "keys": "keys"}, **useless})
