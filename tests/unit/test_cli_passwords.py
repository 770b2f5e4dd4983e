"""``factorygate passwords``: the people in the file of passwords."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from factoryoperator.cli import main
from factoryspawner.login.password_file import check_password, read_passwords

HUB = """\
public_url: http://127.0.0.1:8000
proxy_token_file: proxy-token
link_socket: link.sock
service_token_file: service-token
db_file: hub/jupyterhub.sqlite
cookie_secret_file: hub/cookie_secret
{login}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the file of passwords, which does not exist yet."""
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub.yaml").write_text(HUB.format(login="passwords_file: passwords.json"))
    monkeypatch.setenv("FACTORYGATE_HUB_CONFIG", str(tmp_path / "hub.yaml"))
    return tmp_path / "passwords.json"


def test_the_command_starts_where_the_packages_of_the_hub_are_missing() -> None:
    hub = ("jupyterhub", "traitlets", "batchspawner", "oauthenticator", "fpdf")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({hub})); from factoryoperator.cli import main; main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "passwords" in done.stdout) == (0, True), done.stderr


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    return {words[1].rstrip(","): words[3] for words in lines}


def test_a_file_that_was_left_behind_makes_the_passwords_readable_for_nobody_else(file: Path) -> None:
    left = file.with_name(f"{file.name}.new")
    left.touch()
    left.chmod(0o666)
    with left.open() as opened:
        assert main(["passwords", "set", "ada"]) == 0
        assert opened.read() == ""
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(read_passwords(file)) == ["ada"]


def test_people_get_passwords_with_which_they_log_in(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["passwords", "set", "ada", "grace"]) == 0
    first = printed(capsys)
    assert main(["passwords", "set", "grace"]) == 0
    second = printed(capsys)
    lines = read_passwords(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert check_password(first["ada"], lines["ada"])
    assert check_password(second["grace"], lines["grace"])
    assert not check_password(first["grace"], lines["grace"])
    assert main(["passwords", "list"]) == 0
    assert capsys.readouterr().out == "ada\ngrace\n"


def test_a_removed_person_is_gone_and_an_unknown_one_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["passwords", "set", "ada", "grace"])
    assert main(["passwords", "remove", "grace"]) == 0
    assert list(read_passwords(file)) == ["ada"]
    assert main(["passwords", "remove", "ada", "eve"]) == 1
    assert "has no eve; nothing was removed" in capsys.readouterr().err
    assert list(read_passwords(file)) == ["ada"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_writes_the_file_for_the_account_of_the_hub(file: Path) -> None:
    os.chown(file.parent / "hub", 12345, 12346)
    main(["passwords", "set", "ada"])
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 12346)
    os.chown(file, 54321, 54322)
    main(["passwords", "set", "grace"])
    assert (file.stat().st_uid, file.stat().st_gid) == (54321, 54322)


def test_nobody_gets_the_name_of_a_guest(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["passwords", "set", "ada", "guest.ada.x7k2mq"]) == 1
    assert "guest.ada.x7k2mq: only guests" in capsys.readouterr().err
    assert not file.exists()


def test_nobody_gets_the_name_of_a_robot(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["passwords", "set", "ada", "robot.w.1"]) == 1
    assert "robot.w.1: only robots of rehearsals" in capsys.readouterr().err
    assert not file.exists()


def test_what_cannot_work_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["passwords", "list"]) == 1
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["passwords", "set", "Ada Lovelace"])
    assert "small letters" in capsys.readouterr().err
    (file.parent / "hub.yaml").write_text(HUB.format(login="extra_config: extra.py"))
    (file.parent / "extra.py").write_text("")
    assert main(["passwords", "set", "ada"]) == 1
    assert "has no passwords_file" in capsys.readouterr().err
