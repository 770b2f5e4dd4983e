"""The hub's YAML, batchspawner's settings, and the demo's passwords."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from jupyterhub.apihandlers import default_handlers

from factorycommon.models import JobOptions
from factorycommon.service_address import NetworkAddress
from factorycommon.tls import TlsFiles
from factoryspawner.callback import BatchSpawnerBase, remove_callback
from factoryspawner.config.batch_settings import SECTIONS, SettingsError, check_all, job_options
from factoryspawner.config.hub_config import VARIABLE, HubConfigError, keep_private, load, loaded, read_secret
from factoryspawner.login.guests import check_names
from factoryspawner.login.names import check_no_robots
from factoryspawner.login.password_file import (
    PasswordFileError,
    check_password,
    hash_password,
    read_passwords,
    write_passwords,
)
from factoryspawner.login.passwords import PasswordAuthenticator
from factoryspawner.spawner import FactorySpawner

HUB_CONFIG = Path(__file__).parents[2] / "hub_config" / "jupyterhub_config.py"
WORKSHOPS = {"socket": "w.sock", "token_file": "w"}
TLS = {"certificate": "c", "key": "k", "authority": "a"}
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


def test_the_login_page_offers_the_antennas_beside_the_catalogue(tmp_path: Path) -> None:
    shipped, own = HUB_CONFIG.parent / "antennas.yaml", tmp_path / "antennas.yaml"
    (tmp_path / "factories").mkdir()
    assert load(write(tmp_path)).antennas_file(shipped) == shipped
    config = load(write(tmp_path, catalogue="factories"))
    assert config.antennas_file(shipped) is None  # not those of the release, which name factories of its catalogue
    own.write_bytes(shipped.read_bytes())
    assert config.antennas_file(shipped) == own
    with pytest.raises(HubConfigError, match="elsewhere is no folder"):
        load(write(tmp_path, catalogue="elsewhere")).antennas_file(shipped)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "public_url: 127.0.0.1:8000",
            "1: public_url: '127.0.0.1:8000' is not an address such as http://127.0.0.1:8001",
        ),
        ("link_scoket: /run/link.sock", "7: link_scoket: unknown key; allowed: admin_token_file, admins, base_url, "),
        ("db_url: postgresql://x", "1: db_file, db_url: give one of them"),
        ("named_servers: -1", "7: named_servers: -1: input should be greater than or equal to 0"),
        ("base_url: hub", "7: base_url: 'hub' is not a path that begins and ends with '/', such as /jupyter/"),
        ("base_url: /\nbase_url: /", "8: base_url: the key is there twice"),
        ("login: {providers: [{id: aai}]}", "7: login.providers.aai.client_id: is missing"),
        ("admins: [a: b]", "7: admins.0: "),
        ("admins: [", "8: not valid YAML: "),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(tmp_path: Path, line: str, said: str) -> None:
    key = line.partition(":")[0]
    kept = {name: value for name, value in LEAST.items() if name != key}
    rest = yaml.safe_dump(kept, sort_keys=False)
    (tmp_path / "hub.yaml").write_text(f"{line}\n{rest}" if key in LEAST else f"{rest}{line}\n")
    with pytest.raises(HubConfigError) as caught:
        load(tmp_path / "hub.yaml")
    assert [found for found in str(caught.value).splitlines() if found.startswith(f"{tmp_path}/hub.yaml:{said}")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("named_servers: many", "hub.yaml:9: named_servers: 'many': input should be a valid integer"),
        (
            "extra_config: extra.py",
            "c.FactorySpawner.exec_prefix has no meaning here: the link talks to the schedulers",
        ),
        ("passwords_file: nothing", "nothing: No such file or directory"),
    ],
)
def test_a_hub_that_cannot_start_says_why_without_a_traceback(tmp_path: Path, change: str, said: str) -> None:
    for name in ("proxy", "service"):
        (tmp_path / name).write_text("x" * 32)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "extra.py").write_text("c.FactorySpawner.exec_prefix = 'sudo'")
    lines = {"link_socket": str(tmp_path / "link.sock"), "hub_url": "http://127.0.0.1:1", "base_url": "/"}
    path = write(tmp_path, **lines)
    path.write_text(f"{path.read_text()}{change}\n")
    argv = [sys.executable, "-m", "jupyterhub", "-f", str(HUB_CONFIG)]
    env = {**os.environ, VARIABLE: str(path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 2
    assert "The hub cannot start." in done.stderr and said in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "just words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
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
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(HubConfigError, match="is no text"):
        read_secret(path)


@pytest.mark.root
@pytest.mark.parametrize(
    ("owner", "bits", "fit"),
    [(0, 0o440, True), (0, 0o400, False), (0, 0o460, False), (0, 0o444, False), (65534, 0o600, True)],
)
def test_a_secret_of_root_s_may_be_read_by_its_group(owner: int, bits: int, fit: bool) -> None:
    """A Kubernetes Secret volume has such files for a process in the pod's group."""
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, whose parent folders pytest closes for others
        os.chmod(folder, 0o711)
        check_secret(Path(folder) / "token", owner, bits, fit)


def check_secret(path: Path, owner: int, bits: int, fit: bool) -> None:
    path.write_text("abc")
    os.chown(path, owner, 65534)
    path.chmod(bits)
    read = (
        "from pathlib import Path; import sys; path = Path(sys.argv[1])",
        "from factorylink.credentials.base import read_secret as link_s",
        "from factoryspawner.config.hub_config import read_secret as hub_s",
        "from factorycommon.private_files import open_to_others",
        "assert link_s(path) == b'abc' and hub_s(path) == 'abc' and not open_to_others(path.stat())",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(read), str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        user=65534, group=65534, extra_groups=[], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode == 0) == fit, done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"link": {"url": "https://link:8443"}}, "link_socket, link: give one of them"),
        ({"link_socket": None}, "link_socket, link: give one of them"),
        ({"link_socket": None, "link": {"url": "https://link:8443"}}, "link: needs tls"),
        ({"link_socket": None, "link": {"url": "http://link:8443"}}, "link.url: "),
        ({"hub_url": "https://hub:8081"}, "hub_url: must be http://"),
        ({"tls": TLS}, "hub_url: must be https://"),
        ({"workshops": {**WORKSHOPS, "socket": None}}, "workshops: socket, hub_api_url: give one of them"),
        ({"workshops": {**WORKSHOPS, "hub_api_url": "https://w:1"}}, "workshops: socket, hub_api_url: give one"),
        ({"workshops": {"hub_api_url": "https://w:1", "token_file": "w"}}, "workshops.hub_api_url: needs tls"),
        ({"workshops": {"hub_api_url": "http://w:1", "token_file": "w"}}, "workshops.hub_api_url"),
        ({"tls": TLS, "hub_url": "https://hub:8081"}, "link_url: must be https://"),
        (
            {"tls": TLS, "hub_url": "https://h", "hub_bind_url": "http://h", "link_url": "https://l"},
            "hub_bind_url: must",
        ),
    ],
)
def test_nothing_goes_over_a_network_in_the_clear(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in {**LEAST, **change}.items() if value is not None}))
    with pytest.raises(HubConfigError, match=said):
        load(path)


def test_a_link_on_another_host(tmp_path: Path) -> None:
    change = {
        "tls": TLS,
        "hub_url": "https://hub:8081",
        "link_url": "https://l:1",
        "link": {"url": "https://link:8443"},
        "workshops": {"hub_api_url": "https://link:8444", "url": "https://link:8092", "token_file": "w"},
    }
    path = write(tmp_path, **change)
    path.write_text(path.read_text().replace(f"link_socket: {LEAST['link_socket']}\n", ""))
    config = load(path)
    files = TlsFiles(certificate=tmp_path / "c", key=tmp_path / "k", authority=tmp_path / "a")
    assert config.link_at == NetworkAddress("https://link:8443", files)
    assert config.workshops_at == config.guests_at == NetworkAddress("https://link:8444", files)
    assert load(write(tmp_path)).link_at == Path("/run/link.sock")


@pytest.mark.parametrize(
    "name", ["exec_prefix", "batch_submit_cmd", "batch_query_cmd", "batch_cancel_cmd", "req_memory", "req_options"]
)
@pytest.mark.parametrize("section", SECTIONS)
def test_settings_without_a_meaning_are_refused(section: str, name: str) -> None:
    with pytest.raises(SettingsError, match=rf"c\.{section}\.{name}"):
        check_all({section: {name: "x"}})


def test_the_sections_are_those_of_the_spawners_classes() -> None:
    assert tuple(FactorySpawner.section_names()[-len(SECTIONS) :]) == SECTIONS


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


@pytest.mark.parametrize("key", ["admins", "passwords_file", "login.providers.names"])
def test_no_operator_gives_somebody_a_guest_s_name(tmp_path: Path, key: str) -> None:
    """A guest could otherwise be taken for that person."""
    write_passwords(tmp_path / "passwords.json", {"Guest.ada.abcdef" if key == "passwords_file" else "ada": "x"})
    change: dict[str, Any] = {
        "public_url": "http://127.0.0.1:8000",
        "workshops": WORKSHOPS,
        "passwords_file": "passwords.json",
    }
    if key == "admins":
        change["admins"] = ["guest.ada.abcdef"]
    if key == "login.providers.names":
        provider = {"id": "aai", "issuer": "https://aai.example.org", "client_id": "c", "client_secret_file": "s",
                    "rules": [{"everybody": True, "gives": "all"}], "names": {"sub": "guest.ada.abcdef"}}  # fmt: skip
        del change["passwords_file"]
        change["login"] = {"providers": [provider], "people_file": "p", "crypt_key_file": "c"}
    with pytest.raises(HubConfigError, match=f"{key}: '[Gg]uest.ada.abcdef' is a name for guests"):
        check_names(load(write(tmp_path, **change)))


def test_no_password_is_a_robot_s(tmp_path: Path) -> None:
    write_passwords(tmp_path / "passwords.json", {"Robot.ada": "x"})
    config = load(write(tmp_path, public_url="http://127.0.0.1:8000", passwords_file="passwords.json"))
    with pytest.raises(HubConfigError, match=r"passwords_file: 'Robot\.ada' is a name for robots"):
        check_no_robots(config)


def test_without_guests_everybody_may_have_any_name(tmp_path: Path) -> None:
    assert load(write(tmp_path)).guests_at is None
    config = load(write(tmp_path, workshops=WORKSHOPS))
    assert config.guests_at == tmp_path / "w.sock"
    assert load(write(tmp_path, workshops={**WORKSHOPS, "guests": False})).guests_at is None
