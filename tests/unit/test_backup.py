"""``factorygate backup`` and ``restore``: every store, complete and private; nothing is replaced without consent."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from factorylink.catalogue.loading import load_link_config
from factorylink.ledger.ledger import Ledger
from factoryoperator.backup import connection
from factoryoperator.cli import main
from factoryspawner.login.people import People
from tests.support.postgres import Postgres
from tests.unit.test_check import Configured
from tests.unit.test_check_tls import separate
from tests.unit.test_login_claims import BASIC

__all__ = ["separate"]  # a fixture
NOBODY = 65534
LEDGER = "postgresql://127.0.0.1/not-there"


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """Write a gateway's files, with logins and an empty ledger; return the configuration."""
    (tmp_path / "gateway").mkdir()
    made = Configured(tmp_path / "gateway")
    login = {"people_file": "hub/people.sqlite", "crypt_key_file": "crypt.key", "providers": [BASIC]}
    made.change("hub.yaml", "passwords_file: passwords.json", f"login: {json.dumps(login)}")
    made.write("crypt.key", "ab" * 32)
    made.write("secret", "s" * 32)
    made.write("link/link_ed25519", (made.folder / "site-ca").read_text())
    People(made.folder / "hub" / "people.sqlite").admit("https://login", "sub-1", "ada", lambda _: False)
    write_pairs(made.folder / "hub" / "jupyterhub.sqlite", 3)
    write_pairs(made.folder / "link" / "ledger.sqlite", 3)
    return made


def write_pairs(path: Path, count: int) -> None:
    """Write rows in pairs, so that a partial copy would show an odd number."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE IF NOT EXISTS pairs (n)")
        for _ in range(count):
            with database:
                database.execute("INSERT INTO pairs VALUES (1)")
                database.execute("INSERT INTO pairs VALUES (2)")


def rows(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(database.execute("SELECT count(*) FROM pairs").fetchone()[0])


def backup(configured: Configured, to: Path, *options: str) -> int:
    files = ("--hub", str(configured.folder / "hub.yaml"), "--link", str(configured.folder / "link.yaml"))
    return main(["backup", *files, *options, str(to)])


STORES = {
    "hub.yaml", "hub/jupyterhub.sqlite", "hub/cookie_secret", "hub/people.sqlite", "crypt.key", "secret", "proxy-token",
    "service-token", "admin-token", "extra.py", "proxy.env", "restore-routes.header", "link.yaml", "link/ledger.sqlite",
    "link/hmac.key", "link/link_ed25519", "projects.yaml", "factories/here.yaml", "factories/there.yaml", "site-ca",
}  # fmt: skip


@pytest.mark.parametrize(
    "url", ["postgresql://hub:s3cret@db/hub?sslkey=/k", "postgresql://hub@db/hub?sslkey=/k&password=s3cret"]
)
def test_a_databases_password_is_not_in_the_arguments_of_the_program_that_dumps_it(url: str) -> None:
    argv, env = connection(make_url(url))
    assert argv == ["--dbname=postgresql://hub@db/hub?sslkey=%2Fk"]
    assert env["PGPASSWORD"] == "s3cret"


def test_every_store_comes_back_as_it_was(configured: Configured, tmp_path: Path) -> None:
    (configured.folder / "admin-token").chmod(0o400)
    (configured.folder / "hub").chmod(0o750)
    assert backup(configured, tmp_path / "kept.tar.gz") == 0
    assert (tmp_path / "kept.tar.gz").stat().st_mode & 0o777 == 0o600
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["restore", str(tmp_path / "kept.tar.gz"), "--under", str(empty)]) == 0
    there = empty / str(configured.folder).lstrip("/")
    found = {str(path.relative_to(there)): path for path in there.rglob("*") if path.is_file()}
    assert set(found) == STORES
    for name, path in found.items():
        was = configured.folder / name
        assert path.stat().st_mode & 0o777 == was.stat().st_mode & 0o777, name
        if path.suffix != ".sqlite":
            assert path.read_bytes() == was.read_bytes(), name
    assert (there / "hub").stat().st_mode & 0o777 == 0o750
    assert rows(there / "hub" / "jupyterhub.sqlite") == rows(there / "link" / "ledger.sqlite") == 6
    assert People(there / "hub" / "people.sqlite").name("https://login", "sub-1") == "ada-1"
    # restoring the same backup again changes nothing
    assert main(["restore", str(tmp_path / "kept.tar.gz"), "--under", str(empty), "--overwrite"]) == 0


MATERIAL = """\
state_dir: workshops
socket: workshops.sock
pools: pools.yaml
table: table.yaml
hub: {{public_url: "http://{host}:8000", token_file: workshops-token}}
database: postgresql://db.example.org/workshops?sslcert={folder}/db.crt&sslkey={folder}/db.key&sslcrl={folder}/db.crl
joining: {{sender: a@example.org, smtp: {{host: mail.example.org, user: a, password_file: mail-password}}}}
material:
  tokens:
    - {{prefix: "https://git.example.org/a/", file: git-token}}
    - {{prefix: "https://git.example.org/b/", file: more/git-token}}
  ca_file: git-ca.pem
"""


def test_every_file_that_the_configuration_names_comes_back(
    configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = configured.folder
    named = {"mail-password", "git-token", "more/git-token", "git-ca.pem", "pools.yaml", "table.yaml"}
    named |= {"workshops-token", "db.crt", "db.key", "db.crl", "pgpass", "db-ca.pem", "hub-pgpass"}
    named |= {"antennas.yaml", "of-the-hub/antennas.yaml", "of-the-hub/factories/here.yaml"}
    for name in named:
        (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        configured.write(name, f"the content of {name}")
    configured.write("workshops.yaml", MATERIAL.format(host=configured.host, folder=folder))
    monkeypatch.setenv("FACTORYGATE_WORKSHOPS", str(folder / "workshops.yaml"))
    ledger = (
        f"postgresql://db.example.org/link?passfile={folder}/pgpass&sslmode=verify-full&sslrootcert={folder}/db-ca.pem"
    )
    configured.change("link.yaml", "projects:", f"ledger: {ledger}\nprojects:")
    hub = f"postgresql+psycopg://db.example.org/hub?passfile={folder}/hub-pgpass&sslrootcert=system"
    configured.change("hub.yaml", "db_file: hub/jupyterhub.sqlite", f"db_url: {hub}\ncatalogue: of-the-hub/factories")
    assert backup(configured, tmp_path / "kept.tar.gz", "--except-databases") == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["restore", str(tmp_path / "kept.tar.gz"), "--under", str(empty), "--except-databases"]) == 0
    there = empty / str(folder).lstrip("/")
    assert {name for name in named if not (there / name).is_file()} == set()
    for name in named:
        assert (there / name).read_text() == f"the content of {name}"
        assert (there / name).stat().st_mode & 0o777 == 0o600


def test_certificates_of_the_operating_system_are_in_no_backup(
    configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mail-password", "git-token", "pools.yaml", "table.yaml", "workshops-token"):
        configured.write(name, "x")
    text = MATERIAL.format(host=configured.host, folder=configured.folder).replace("more/git-token", "git-token")
    text = text.replace("git-ca.pem", "/etc/ssl/certs/ca-certificates.crt")
    configured.write("workshops.yaml", re.sub("^database:.*\n", "", text, flags=re.MULTILINE))
    monkeypatch.setenv("FACTORYGATE_WORKSHOPS", str(configured.folder / "workshops.yaml"))
    assert backup(configured, tmp_path / "kept.tar.gz") == 0
    capsys.readouterr()
    assert main(["restore", "--list", str(tmp_path / "kept.tar.gz")]) == 0
    listed = capsys.readouterr().out
    assert "git-token" in listed
    assert "ca-certificates" not in listed


def test_a_backup_notes_when_it_succeeded(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = configured.folder / "link" / "last-backup"
    assert backup(configured, tmp_path / "one.tar.gz") == 0
    os.utime(noted, (1000, 1000))
    assert backup(configured, tmp_path / "one.tar.gz") == 1  # the file exists already
    assert noted.stat().st_mtime == 1000
    assert backup(configured, tmp_path / "two.tar.gz") == 0
    assert noted.stat().st_mtime > 1000
    noted.unlink()
    noted.symlink_to(tmp_path / "elsewhere")
    assert backup(configured, tmp_path / "three.tar.gz") == 0
    assert "Not noted for the metrics" in capsys.readouterr().out
    assert not (tmp_path / "elsewhere").exists()


def test_no_secret_is_printed(configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup(configured, tmp_path / "kept.tar.gz")
    main(["restore", str(tmp_path / "kept.tar.gz"), "--list"])
    said = capsys.readouterr().out
    assert f"{configured.folder}/link/hmac.key" in said
    assert not any(secret in said for secret in (*configured.token.values(), "ab" * 32))


def test_a_database_that_is_written_to_is_copied_as_of_one_moment(configured: Configured, tmp_path: Path) -> None:
    ledger, enough = configured.folder / "link" / "ledger.sqlite", threading.Event()

    def write() -> None:
        while not enough.is_set():
            write_pairs(ledger, 5)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while rows(ledger) <= 6:
            time.sleep(0.01)
        counts = []
        for number in range(5):
            assert backup(configured, tmp_path / f"{number}.tar.gz") == 0
            under = tmp_path / f"under-{number}"
            under.mkdir()
            assert main(["restore", str(tmp_path / f"{number}.tar.gz"), "--under", str(under)]) == 0
            counts.append(rows(under / str(ledger).lstrip("/")))
    finally:
        enough.set()
        writer.join()
    assert all(count % 2 == 0 for count in counts)
    assert counts == sorted(counts)
    assert counts[-1] > 6


def test_a_backup_replaces_no_file(configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept.tar.gz").write_text("an older one")
    assert backup(configured, tmp_path / "kept.tar.gz") == 1
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "kept.tar.gz").read_text() == "an older one"
    assert {path.name for path in tmp_path.iterdir()} <= {"kept.tar.gz", "gateway", "ip_local_port_range"}
    assert backup(configured, tmp_path) == 0
    assert len(list(tmp_path.glob("factorygate-*.tar.gz"))) == 1


def test_no_file_is_replaced_without_a_question(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.tar.gz"
    assert backup(configured, kept) == 0
    configured.write("hub/cookie_secret", "another")
    write_pairs(configured.folder / "link" / "ledger.sqlite", 1)
    before = {path: path.read_bytes() for path in configured.folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["restore", str(kept)]) == 1
    said = capsys.readouterr().err
    assert "Something else is there already: " in said
    assert f"{configured.folder}/hub/cookie_secret" in said
    assert f"{configured.folder}/crypt.key" not in said
    assert {path: path.read_bytes() for path in before} == before

    stale = configured.folder / "link" / "ledger.sqlite-wal"
    stale.write_bytes(b"of the database that is replaced")
    assert main(["restore", str(kept), "--overwrite"]) == 0
    assert not stale.exists()
    assert rows(configured.folder / "link" / "ledger.sqlite") == 6
    assert (configured.folder / "hub" / "cookie_secret").read_text() != "another"


def test_a_running_link_or_hub_is_left_alone(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.tar.gz"
    assert backup(configured, kept) == 0
    with (configured.folder / "link" / "link.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["restore", str(kept), "--overwrite"]) == 1
    assert "A link runs with" in capsys.readouterr().err
    with socket.create_server((configured.host, 8081)):
        assert main(["restore", str(kept), "--overwrite"]) == 1
    assert "if it is the hub, stop it first" in capsys.readouterr().err
    assert main(["restore", str(kept), "--overwrite"]) == 0


def test_a_running_hub_is_looked_for_at_the_port_of_https(
    separate: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    separate.change("hub.yaml", f"hub_url: https://{separate.host}:8081", f"hub_url: https://{separate.host}")
    assert backup(separate, tmp_path / "kept.tar.gz") == 0
    asked = []

    def refused(address: tuple[str, int], timeout: float) -> None:
        asked.append((*address, timeout > 0))
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refused)
    assert main(["restore", str(tmp_path / "kept.tar.gz"), "--overwrite"]) == 0
    assert asked == [(separate.host, 443, True)]


WORKSHOPS = """\
state_dir: {folder}/workshops
socket: workshops.sock
pools: pools.yaml
table: table.yaml
hub: {{public_url: "http://{host}:8000", token_file: workshops-token}}
"""
NAMED = "workshops: {table: table.yaml, pools: pools.yaml}\nfactories:"


@pytest.mark.parametrize(
    ("program", "folder"),
    [("link", "{gateway}/state"), ("link", "state"), ("workshops service", "{gateway}/workshops")],
)
def test_a_running_program_is_noticed_though_its_folder_has_no_key(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str], program: str, folder: str
) -> None:
    """The link's keys are in ``key_dir``; the workshops service had not been started when the backup was made."""
    kept, gateway = tmp_path / "kept.tar.gz", configured.folder
    if program == "link":
        state = folder.format(gateway=gateway)
        configured.change("link.yaml", "state_dir: link", f"state_dir: {state}\nkey_dir: link\nledger: {LEDGER}")
    else:
        configured.change("link.yaml", "factories:", NAMED)
        configured.write("workshops.yaml", WORKSHOPS.format(folder=gateway, host=configured.host))
    assert backup(configured, kept, "--except-databases") == 0
    runs_in = gateway / Path(folder.format(gateway=gateway)).name
    runs_in.mkdir(mode=0o700)
    lock_name = f"{program.partition(' ')[0]}.lock"
    with (runs_in / lock_name).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["restore", str(kept), "--overwrite", "--except-databases"]) == 1
        assert f"A {program} runs with {runs_in}: stop it first" in capsys.readouterr().err
    (runs_in / lock_name).unlink()
    (runs_in / lock_name).symlink_to(lock_name)
    assert main(["restore", str(kept), "--overwrite", "--except-databases"]) == 1
    assert f"{runs_in}/{lock_name} cannot be opened" in capsys.readouterr().err
    (runs_in / lock_name).unlink()
    assert main(["restore", str(kept), "--overwrite", "--except-databases"]) == 0


def rewritten(backup: Path, to: Path, change: Any) -> Path:
    """Write a copy of the backup to ``to``; return its path. ``change``: changes the dict of the files, by name."""
    with tarfile.open(backup) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    change(members)
    with tarfile.open(to, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return to


def in_manifest(change: Any) -> Any:
    def changed(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()

    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda members: members.update({"0002": members["0002"] + b"x"}), "it was cut off, or changed"),
        (lambda members: members.update({"0002": b"y" * len(members["0002"])}), "is not as it was when the backup"),
        (lambda members: members.pop("0005"), "it was cut off, or changed"),
        (lambda members: members.pop("manifest.json"), "is not a backup of a gateway"),
        (in_manifest(lambda told: told["stores"][0].update(path="/etc/../etc/passwd")), "without '..'"),
        (in_manifest(lambda told: told["stores"][0].update(path="etc/passwd")), "is not a full path"),
        (in_manifest(lambda told: told["stores"][0].update(mode=0o4755)), "mode"),
        (in_manifest(lambda told: told.update(format=2)), "format"),
        (in_manifest(lambda told: told["stores"][0].update(member="../x")), "member"),
    ],
)
def test_a_spoilt_backup_writes_nothing(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, said: str
) -> None:
    assert backup(configured, tmp_path / "kept.tar.gz") == 0
    spoilt = rewritten(tmp_path / "kept.tar.gz", tmp_path / "spoilt.tar.gz", change)
    under = tmp_path / "under"
    under.mkdir()
    assert main(["restore", str(spoilt), "--under", str(under)]) == 1
    assert said in capsys.readouterr().err
    assert not list(under.iterdir())


def test_a_backup_that_was_cut_off_writes_nothing(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, under = tmp_path / "kept.tar.gz", tmp_path / "under"
    assert backup(configured, kept) == 0
    under.mkdir()
    whole = kept.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 200):
        kept.write_bytes(whole[:length])
        assert main(["restore", str(kept), "--under", str(under)]) == 1
        assert "Traceback" not in capsys.readouterr().err
    assert not list(under.iterdir())


def test_a_damaged_backup_writes_nothing(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, under = tmp_path / "kept.tar.gz", tmp_path / "under"
    with contextlib.closing(sqlite3.connect(configured.folder / "link" / "ledger.sqlite")) as database:
        database.execute("CREATE TABLE large AS SELECT randomblob(2000000)")
    assert backup(configured, kept) == 0
    under.mkdir()
    half = kept.read_bytes()[: kept.stat().st_size // 2]
    kept.write_bytes(half + b"\xff" * len(half))
    assert main(["restore", str(kept), "--under", str(under)]) == 1
    assert f"{kept} cannot be read" in capsys.readouterr().err
    assert not list(under.iterdir())


def test_a_gateway_with_a_mistake_is_not_backed_up_by_halves(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configured.change("link.yaml", "state_dir:", "state_dri:")
    assert backup(configured, tmp_path / "kept.tar.gz") == 1
    assert "link.yaml:2: state_dri: unknown key" in capsys.readouterr().err
    assert not (tmp_path / "kept.tar.gz").exists()


def with_read_only(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``factorygate`` where a folder is mounted read-only; return the result, also if it fails."""
    mounted = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    argv = ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted, str(folder)]
    program = [sys.executable, "-m", "factoryoperator", *words]
    return subprocess.run([*argv, *program], capture_output=True, text=True, check=False, timeout=60)


def test_what_is_mounted_read_only_is_left_out_and_named_if_that_is_wanted(
    configured: Configured, tmp_path: Path
) -> None:
    folder, kept = configured.folder, tmp_path / "kept.tar.gz"
    files = ("--hub", str(folder / "hub.yaml"), "--link", str(folder / "link.yaml"))
    mounted = folder / "factories"
    made = with_read_only(mounted, "backup", *files, str(kept))
    assert made.returncode == 0, made.stderr
    configured.write("hub/cookie_secret", "another")
    configured.write("factories/here.yaml", "of the cluster")
    (folder / "link" / "hmac.key").unlink()
    refused = with_read_only(mounted, "restore", "--overwrite", str(kept))
    assert refused.returncode == 1
    assert f"These are on a read-only file system: {mounted}/here.yaml; --skip-read-only" in refused.stderr
    assert "Nothing was changed." in refused.stderr
    assert (folder / "hub" / "cookie_secret").read_text() == "another"
    assert not (folder / "link" / "hmac.key").exists()

    done = with_read_only(mounted, "restore", "--overwrite", "--skip-read-only", str(kept))
    assert done.returncode == 0, done.stderr
    left = [line for line in done.stdout.splitlines() if line.startswith("Not restored")]
    assert left == [f"Not restored, since it is on a read-only file system: {mounted}/here.yaml (the catalogue)."]
    assert (mounted / "here.yaml").read_text() == "of the cluster"
    assert (folder / "hub" / "cookie_secret").read_text() != "another"
    assert (folder / "link" / "hmac.key").exists()


@pytest.mark.root
def test_root_gives_files_back_to_their_owners(configured: Configured, tmp_path: Path) -> None:
    os.chown(configured.folder / "link", NOBODY, NOBODY)
    os.chown(configured.folder / "link" / "hmac.key", NOBODY, NOBODY)
    assert backup(configured, tmp_path / "kept.tar.gz") == 0
    under = tmp_path / "under"
    under.mkdir()
    assert main(["restore", str(tmp_path / "kept.tar.gz"), "--under", str(under)]) == 0
    there = under / str(configured.folder).lstrip("/")
    assert {(there / name).stat().st_uid for name in ("link", "link/hmac.key")} == {NOBODY}
    assert (there / "hub.yaml").stat().st_uid == 0


@pytest.mark.root
def test_a_machine_without_the_accounts_is_told(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backup(configured, tmp_path / "kept.tar.gz") == 0
    spoilt = rewritten(
        tmp_path / "kept.tar.gz", tmp_path / "other.tar.gz",
        in_manifest(lambda told: told["stores"][0].update(owner="fg-not-here")),
    )  # fmt: skip
    under = tmp_path / "under"
    under.mkdir()
    assert main(["restore", str(spoilt), "--under", str(under)]) == 1
    assert "This machine lacks the user fg-not-here: make them first" in capsys.readouterr().err
    assert not list(under.iterdir())


# --- databases on a server


@pytest.fixture
def on_postgres(configured: Configured, postgres: Postgres) -> Configured:
    url = postgres.new().url.set(drivername="postgresql").render_as_string(hide_password=False)
    configured.change("link.yaml", "projects:", f"ledger: {url}\nprojects:")
    return configured


async def test_a_ledger_on_postgresql_comes_back(
    on_postgres: Configured, tmp_path: Path, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(load_link_config(on_postgres.folder / "link.yaml").database)
    await ledger.open()
    await ledger.close()
    kept = tmp_path / "kept.tar.gz"
    assert backup(on_postgres, kept) == 0
    lost = on_postgres.folder.rename(tmp_path / "lost")
    assert main(["restore", str(kept)]) == 1
    assert "the ledger: its database has tables already" in capsys.readouterr().err
    assert not on_postgres.folder.exists()
    with postgres.connect() as database:
        owner = ledger.where.url.username
        database.execute(f"drop schema {owner} cascade")  # type: ignore[arg-type]
        database.execute(f"create schema {owner} authorization {owner}")  # type: ignore[arg-type]
    assert main(["ledger", "check", "--config", str(lost / "link.yaml")]) == 1
    assert main(["restore", str(kept)]) == 0
    assert main(["ledger", "check", "--config", str(on_postgres.folder / "link.yaml")]) == 0
    assert main(["restore", str(kept), "--overwrite"]) == 0
    assert main(["restore", str(kept), "--except-databases"]) == 0


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_below_a_folder_no_database_on_a_server_is_changed(
    on_postgres: Configured,
    tmp_path: Path,
    postgres: Postgres,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
) -> None:
    hub = postgres.new().url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    on_postgres.change("hub.yaml", "db_file: hub/jupyterhub.sqlite", f"db_url: {hub}")
    ledger = load_link_config(on_postgres.folder / "link.yaml").database.url.username
    kept, under = tmp_path / "kept.tar.gz", tmp_path / "under"
    under.mkdir()
    with postgres.connect() as database:
        database.execute(f"set role {ledger}")
        database.execute(f"create table {ledger}.jobs as select 1 as n")
    assert backup(on_postgres, kept) == 0
    with postgres.connect() as database:
        database.execute(f"insert into {ledger}.jobs values (2)")
    capsys.readouterr()
    assert main(["restore", str(kept), "--under", str(under), *options]) == 0
    with postgres.connect() as database:
        found = database.execute(f"select n from {ledger}.jobs order by n")
        assert found.fetchall() == [(1,), (2,)]
    left = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Not restored")]
    assert left == ["Not restored, since --under changes no database on a server: the hub's database, the ledger."]
    assert (under / str(on_postgres.folder).lstrip("/") / "link.yaml").is_file()
    assert not list(under.glob("*.dump"))
    assert main(["restore", str(kept), "--under", str(under), "--except-databases", *options]) == 0
    assert "Not restored" not in capsys.readouterr().out


async def test_a_database_that_cannot_be_restored_is_told_with_what_was(
    on_postgres: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.tar.gz"
    assert backup(on_postgres, kept) == 0
    on_postgres.folder.rename(tmp_path / "lost")
    monkeypatch.setenv("PATH", str(tmp_path))  # without pg_restore
    capsys.readouterr()
    assert main(["restore", str(kept)]) == 1
    said = capsys.readouterr().err
    assert "Only a part was restored: " in said
    assert "pg_restore is not on this machine" in said
    assert "Nothing was changed" not in said
    assert any(one.is_file() for one in on_postgres.folder.rglob("*"))


def test_missing_postgresql_programs_are_reported(
    on_postgres: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert backup(on_postgres, tmp_path / "kept.tar.gz") == 1
    assert "the ledger is on PostgreSQL, and pg_dump is not on this machine" in capsys.readouterr().err
    assert not (tmp_path / "kept.tar.gz").exists()


def test_another_database_is_left_to_its_own_tools(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configured.change("hub.yaml", "db_file: hub/jupyterhub.sqlite", "db_url: mysql://hub@db.example/hub")
    assert backup(configured, tmp_path / "kept.tar.gz") == 1
    assert "the hub's database is on mysql, which this command cannot back up" in capsys.readouterr().err
    assert backup(configured, tmp_path / "kept.tar.gz", "--except-databases") == 0


def test_the_service_deletes_backups_that_are_14_days_old(tmp_path: Path) -> None:
    unit = (Path(__file__).parents[2] / "docs/systemd/factorygate-backup.service").read_text()
    (command,) = re.findall(r"^ExecStartPost=(.*)$", unit, re.MULTILINE)
    for days in (13.9, 14.1):
        kept = tmp_path / f"factorygate-{days}.tar.gz"
        kept.touch()
        os.utime(kept, (time.time() - days * 86400,) * 2)
    argv = [str(tmp_path) if part == "/var/backups/factorygate" else part for part in command.split()]
    subprocess.run(argv, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["factorygate-13.9.tar.gz"]
