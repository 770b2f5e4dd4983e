"""``factorygate check`` and ``backup`` know the workshops service: its file, its pools, its token, its database."""

from __future__ import annotations

import asyncio
import tarfile
from pathlib import Path

import pytest
import yaml

from factorycommon.service.database import Database
from factorycommon.service.serving import alone
from factoryoperator.cli import main
from tests.support.postgres import Postgres
from tests.unit.test_check import Configured
from workshops.config import load
from workshops.store import migrations
from workshops.store.store import Store

WORKSHOPS = """\
state_dir: workshops
socket: workshops.sock
listen_host: {host}
pools: pools.yaml
table: table.json
hub: {{url: "http://{host}:8081", public_url: "http://{host}:8000", token_file: workshops-token}}
trainers: {{people: [ada]}}
"""
POOL = {"id": "class", "factory": "here", "sizes": ["gpu-1"], "seats": 8}


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """Write a gateway's files, with a workshops service and its empty database; return the configuration."""
    (tmp_path / "gateway").mkdir()
    made = Configured(tmp_path / "gateway")
    add_workshops(made)
    return made


def add_workshops(made: Configured) -> None:
    """Add a workshops service and its empty database to a gateway's files."""
    there = f"{{socket: workshops.sock, url: 'http://{made.host}:8092', token_file: workshops-token}}"
    made.change("hub.yaml", "extra_config: extra.py", f"extra_config: extra.py\nworkshops: {there}")
    made.change("link.yaml", "factories:\n", "workshops: {table: table.json, pools: pools.yaml}\nfactories:\n")
    made.write("workshops.yaml", WORKSHOPS.format(host=made.host))
    made.write("workshops-token", "w" * 32)
    made.write("pools.yaml", yaml.safe_dump({"pools": [POOL]}))
    made.write("table.json", '{"projects": []}')
    (made.folder / "workshops").mkdir(mode=0o700)
    asyncio.run(_database(made.folder / "workshops.yaml"))


async def _database(path: Path) -> None:
    store = Store(load(path).store)
    await store.open()
    await store.close()


def test_a_right_service_has_no_mistake(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    code = configured.check("--offline")
    said = capsys.readouterr().out
    assert code == 0, said
    assert "good  workshops.yaml\ngood  the pools of workshops\n" in said


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("workshops.yaml", "socket:", "sockett:", "workshops.yaml:2: sockett: unknown key"),
        ("workshops.yaml", "socket: w", "socket: v", "workshops.yaml:2: socket: is "),
        ("workshops.yaml", "listen_host:", "listen_port: 8093\nlisten_host:", "listen_port: is http://"),
        ("hub.yaml", "socket: workshops.sock, ", "", "workshops: socket, hub_api_url: give one of them"),
        ("workshops.yaml", "listen_host:", "link: {socket: s.sock}\nlisten_host:", "link.socket: is "),
        ("workshops.yaml", "table: t", "table: other-t", "workshops.yaml:5: table: is "),
        ("workshops.yaml", "8000", "8001", "hub.public_url: is http://"),
        ("pools.yaml", "gpu-1", "gpu-9", "pools.class.sizes: no size 'gpu-9'; allowed: "),
        ("pools.yaml", "here", "mars", "pools.class.factory: 'mars' is not in the catalogue"),
        ("projects.yaml", "EHPC-1", "workshop-1", "projects.workshop-1: the ids that begin with 'workshop-'"),
        ("link.yaml", "workshops: {table: table.json, pools: pools.yaml}\n", "", "link.yaml: lacks 'workshops'"),
    ],
)
def test_a_mistake_is_named(
    configured: Configured, capsys: pytest.CaptureFixture[str], name: str, old: str, new: str, says: str
) -> None:
    configured.change(name, old, new)
    code = configured.check("--offline")
    said = capsys.readouterr().out
    assert (code, says in said) == (1, True), said


def test_a_table_that_the_link_cannot_read_is_named_and_prevents_no_upgrade(
    configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    configured.write("table.json", '{"projects": [], "colour": "red"}')
    code = configured.check("--offline")
    said = capsys.readouterr().out
    assert (code, "table.json: colour: Extra inputs are not permitted" in said) == (0, True), said
    assert "classes go on" in said


def test_a_token_that_others_read_or_that_differs_is_named(
    configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    configured.change("workshops.yaml", "token_file: workshops-token", "token_file: other-token")
    configured.write("other-token", "o" * 32)
    (configured.folder / "other-token").chmod(0o644)
    assert configured.check("--offline") == 1
    said = capsys.readouterr().out
    assert "must be 0600: run chmod 600" in said
    assert "the hub would refuse the service" in said
    assert "o" * 32 not in said


def test_a_mail_server_s_password_that_others_read_is_named(
    configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    smtp = "{host: mail.example.org, user: gateway, password_file: smtp-password}"
    configured.change("workshops.yaml", "socket:", f"joining: {{sender: w@example.org, smtp: {smtp}}}\nsocket:")
    assert configured.check("--offline") == 1
    assert "smtp-password: No such file" in capsys.readouterr().out
    configured.write("smtp-password", "m" * 16)
    (configured.folder / "smtp-password").chmod(0o644)
    assert configured.check("--offline") == 1
    said = capsys.readouterr().out
    assert "joining.smtp.password_file" in said and "must be 0600" in said and "m" * 16 not in said
    (configured.folder / "smtp-password").chmod(0o600)
    assert configured.check("--offline") == 0


def test_a_newer_database_is_named(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    engine = load(configured.folder / "workshops.yaml").store.engine()
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    assert configured.check("--offline") == 1
    assert "step 9999, and this service reads steps up to" in capsys.readouterr().out


def test_a_backup_has_the_service_s_files(configured: Configured, tmp_path: Path) -> None:
    files = ("--hub", str(configured.folder / "hub.yaml"), "--link", str(configured.folder / "link.yaml"))
    target = tmp_path / "backup.tar"
    assert main(["backup", *files, str(target)]) == 0
    with tarfile.open(target) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        kept = {Path(one["path"]).name for one in yaml.safe_load(manifest.read())["stores"]}
    assert {"workshops.yaml", "workshops.sqlite", "workshops-token", "pools.yaml", "table.json"} <= kept


def test_the_stores_have_the_service_s(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    files = ("--hub", str(configured.folder / "hub.yaml"), "--link", str(configured.folder / "link.yaml"))
    main(["stores", "check", *files])
    assert f"the workshops: step {migrations.head()}" in capsys.readouterr().out


def test_a_host_with_the_service_alone_has_its_own_backup(
    configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORYGATE_WORKSHOPS", str(configured.folder / "workshops.yaml"))
    target = tmp_path / "backup.tar.gz"
    assert main(["backup", str(target)]) == 0
    (tmp_path / "other").mkdir()
    assert main(["restore", str(target), "--under", str(tmp_path / "other")]) == 0
    other = tmp_path / "other" / str(configured.folder).lstrip("/")
    assert {path.name for path in other.iterdir()} >= {"workshops.yaml", "workshops-token", "workshops"}
    assert not (other / "hub.yaml").exists()


def test_a_service_that_runs_is_not_restored_under_its_feet(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = configured.folder / "workshops"
    (state / "joining.key").write_text("0" * 64)
    (state / "joining.key").chmod(0o600)
    files = ("--hub", str(configured.folder / "hub.yaml"), "--link", str(configured.folder / "link.yaml"))
    target = tmp_path / "backup.tar.gz"
    assert main(["backup", *files, str(target)]) == 0
    with alone(state / "workshops.lock", "workshops service"):
        assert main(["restore", "--overwrite", str(target)]) == 1
    assert f"A workshops service runs with {state}: stop it first" in capsys.readouterr().err
    assert main(["restore", "--overwrite", str(target)]) == 0
    assert "start the link, the workshops service, the hub and the proxy" in capsys.readouterr().out


async def test_a_database_on_postgresql_comes_back(configured: Configured, tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.new().url.set(drivername="postgresql").render_as_string(hide_password=False)
    configured.change("workshops.yaml", "pools:", f"database: {url}\npools:")
    database = load(configured.folder / "workshops.yaml").store
    store = Store(database)
    await store.open()
    await store.close()
    files = ("--hub", str(configured.folder / "hub.yaml"), "--link", str(configured.folder / "link.yaml"))
    kept = tmp_path / "backup.tar.gz"
    assert main(["backup", *files, str(kept)]) == 0
    configured.folder.rename(tmp_path / "lost")
    with postgres.connect() as connection:
        owner = database.url.username
        connection.execute(f"drop schema {owner} cascade")  # type: ignore[arg-type]
        connection.execute(f"create schema {owner} authorization {owner}")  # type: ignore[arg-type]
    assert step(database) is None
    assert main(["restore", str(kept)]) == 0
    assert step(database) == migrations.head()


def step(database: Database) -> str | None:
    """Return the migration step of the database's tables; None if the database has none."""
    engine = database.engine()
    try:
        with engine.connect() as db:
            return migrations.is_at(db)
    finally:
        engine.dispose()


def test_a_configuration_with_a_mistake_is_not_backed_up_by_halves(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configured.change("workshops.yaml", "socket:", "sockett:")
    files = ("--hub", str(configured.folder / "hub.yaml"), "--link", str(configured.folder / "link.yaml"))
    assert main(["backup", *files, str(tmp_path / "backup.tar.gz")]) == 1
    assert "sockett: unknown key" in capsys.readouterr().err


def test_a_deploy_token_that_others_read_is_named(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    token = "{prefix: 'https://git.example.org/courses/', file: git-token}"
    configured.change("workshops.yaml", "socket:", f"material: {{tokens: [{token}]}}\nsocket:")
    configured.write("git-token", "g" * 16)
    (configured.folder / "git-token").chmod(0o640)
    assert configured.check("--offline") == 1
    said = capsys.readouterr().out
    assert "git-token: must be 0600" in said and "g" * 16 not in said
    (configured.folder / "git-token").chmod(0o600)
    assert configured.check("--offline") == 0
