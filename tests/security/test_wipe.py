"""The program with which a site empties a lent account (``site/factorygate-wipe``), with a real account."""

from __future__ import annotations

import ast
import ctypes
import os
import pwd
import shutil
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed import accounts
from tests.support.trial import CHECKOUT

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
SOURCE = CHECKOUT / "site/factorygate-wipe"
STRANGER = 100_123  # an owner that the account cannot act for, as in files of a container
CONF = "accounts = fg-wiped* # of courses\nscheduler = none\nskeleton = {skeleton}\nfolders = {shared}\n"


@dataclass
class Lent:
    """An account that is emptied.

    ``folder``: contains the program, its configuration, a skeleton and a shared folder.
    """

    name: str
    folder: Path

    @property
    def home(self) -> Path:
        return accounts.home(self.name)

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    def run(self, *argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as the account; return the finished process, with its output as text."""
        me = pwd.getpwnam(self.name)
        return subprocess.run(
            argv,
            user=me.pw_uid,
            group=me.pw_gid,
            extra_groups=[],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def does(self, script: str) -> None:
        """Run a shell script as the account, in its home; assert that the script succeeds."""
        done = self.run("/bin/sh", "-euc", f"cd {self.home}\n{script}")
        assert done.returncode == 0, done.stderr

    def wipe(self, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.folder / "factorygate-wipe"), "--conf", str(self.folder / "wipe.conf"), env=env)

    def left(self, **env: str) -> list[str]:
        """Run ``factorygate-wipe-proof`` as the account; return the lines of its output."""
        program, conf = self.folder / "factorygate-wipe-proof", self.folder / "wipe.conf"
        done = self.run(str(program), "--conf", str(conf), env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def running(self) -> list[int]:
        """Return the process ids of the account's processes that have not ended."""
        uid, found = pwd.getpwnam(self.name).pw_uid, []
        for one in Path("/proc").glob("[0-9]*/status"):
            try:
                lines = dict(line.split(":", 1) for line in one.read_text().splitlines() if ":" in line)
            except OSError:
                continue
            if int(lines["Uid"].split()[0]) == uid and lines["State"].split()[0] != "Z":
                found.append(int(one.parent.name))
        return found

    def conf(self, text: str = CONF) -> None:
        file = self.folder / "wipe.conf"
        file.write_text(text.format(skeleton=self.folder / "skeleton", shared=self.shared))
        file.chmod(0o644)


@pytest.fixture
def lent() -> Iterator[Lent]:
    """Make and yield an account of this test, with a folder for the program; remove the account afterwards."""
    name = f"fg-wiped{os.getpid()}"
    (name,) = accounts.ensure((name,))
    with tempfile.TemporaryDirectory(dir="/srv", prefix="wipe-") as made:
        one = Lent(name, Path(made))
        one.folder.chmod(0o755)
        shutil.copy(SOURCE, one.folder / "factorygate-wipe")
        (one.folder / "factorygate-wipe-proof").symlink_to("factorygate-wipe")
        one.shared.mkdir()
        one.shared.chmod(0o1777)
        keys = one.folder / "skeleton/.ssh"
        keys.mkdir(parents=True)
        keys.chmod(0o700)
        (keys / "authorized_keys").write_text("ssh-ed25519 AAAA the gateway\n")
        (keys / "authorized_keys").chmod(0o644)
        keys.chmod(0o755)
        one.conf()
        try:
            yield one
        finally:
            for process in one.running():
                with suppress(ProcessLookupError):
                    os.kill(process, 9)
            accounts.remove(name)


def test_the_program_runs_on_old_pythons() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 6))
    assert SOURCE.read_text().startswith("#!/usr/bin/python3 -IS\n")


def acl(user: int) -> bytes:
    """Return an access list by which another user may read, as the kernel stores it."""
    nobody = 0xFFFFFFFF
    entries = ((1, 7, nobody), (2, 5, user), (4, 0, nobody), (16, 5, nobody), (32, 0, nobody))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_nothing_that_a_person_can_leave_is_there_for_the_next(lent: Lent) -> None:
    lent.does(f"""
        mkdir -p closed/deep .ssh .jupyter/lab/workspaces 'odd
name'
        echo secret >closed/deep/file; chmod 0 closed/deep/file closed/deep closed
        echo 'ssh-ed25519 BBBB me' >.ssh/authorized_keys
        echo 'exit 0' >.bashrc; ln -s /etc away; mkfifo pipe
        echo secret | tee /tmp/{lent.name} /dev/shm/{lent.name} {lent.shared}/file >/dev/null
        mkdir -p {lent.shared}/mine/closed; touch {lent.shared}/mine/closed/file; chmod 0 {lent.shared}/mine/closed
        nohup setsid sleep 86399 >/dev/null 2>&1 &
        nohup setsid sh -c "trap '' TERM HUP; while :; do sleep 1; done" >/dev/null 2>&1 &
        """)
    os.setxattr(lent.home, "system.posix_acl_access", acl(STRANGER))
    os.setxattr(lent.home, "system.posix_acl_default", acl(STRANGER))
    foreign = lent.shared / "of another"
    foreign.write_text("stays")
    assert len(lent.running()) >= 2
    before = "\n".join(lent.left())
    for word in ("process ", "home: ", "access to the home", f"/tmp/{lent.name}", f"/dev/shm/{lent.name}", "/mine"):
        assert word in before

    done = lent.wipe()
    assert (done.returncode, done.stderr) == (0, "")
    assert lent.left() == []
    assert lent.running() == []
    assert [str(path.relative_to(lent.home)) for path in sorted(lent.home.rglob("*"))] == [
        ".ssh",
        ".ssh/authorized_keys",
    ]
    assert "the gateway" in (lent.home / ".ssh/authorized_keys").read_text()
    assert (lent.home / ".ssh/authorized_keys").owner() == lent.name
    assert stat.S_IMODE(lent.home.stat().st_mode) == 0o700
    assert not {name for name in os.listxattr(lent.home) if "acl" in name}
    assert [path.name for path in lent.shared.iterdir()] == ["of another"]
    assert foreign.read_text() == "stays"
    assert lent.wipe().returncode == 0  # the same again changes nothing
    assert lent.left() == []


def test_a_home_with_a_very_deep_folder_and_very_many_files_is_emptied(lent: Lent) -> None:
    lent.does("""
        mkdir many; (cd many; seq 20000 | xargs touch)
        for n in $(seq 150); do mkdir -p d/d/d/d/d/d/d/d/d/d; cd -P d/d/d/d/d/d/d/d/d/d; done
        """)
    assert lent.wipe().returncode == 0
    assert lent.left() == []


def test_shared_memory_is_removed(lent: Lent) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.shmget(0, 4096, 0o1600)
    assert number >= 0
    me = pwd.getpwnam(lent.name)
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()
    assert any(line.split()[1] == str(number) for line in lines[1:])
    # struct shmid_ds begins with struct ipc_perm: key, uid, gid, cuid, cgid, mode
    segment = ctypes.create_string_buffer(256)
    assert libc.shmctl(number, 2, segment) == 0
    struct.pack_into("<II", segment, 4, me.pw_uid, me.pw_gid)
    assert libc.shmctl(number, 1, segment) == 0
    assert f"shared object -m {number}" in lent.left()
    assert lent.wipe().returncode == 0
    assert lent.left() == []


def test_what_the_account_cannot_remove_fails_the_wipe_and_is_named(lent: Lent) -> None:
    (lent.home / "container").mkdir()
    (lent.home / "container/layer").write_text("x")
    for path in (lent.home / "container", lent.home / "container/layer"):
        os.chown(path, STRANGER, STRANGER)
    done = lent.wipe()
    assert done.returncode == 1
    assert "container" in done.stderr
    assert "home: container" in lent.left()
    shutil.rmtree(lent.home / "container")
    assert lent.wipe().returncode == 0
    assert lent.left() == []


def test_a_crontab_is_removed(lent: Lent) -> None:
    """No cron is installed here, so a program of the test stands for ``crontab``."""
    spool, tool = lent.folder / "spool", lent.folder / "crontab"
    spool.mkdir()
    spool.chmod(0o1777)
    tool.write_text(f'#!/bin/sh\n[ "$1" = -r ] && exec rm {spool}/tab\nexec cat {spool}/tab\n')
    tool.chmod(0o755)
    env = {"PATH": f"{lent.folder}:/usr/bin:/bin"}
    lent.does(f"echo '* * * * * touch stolen' >{spool}/tab")
    assert "crontab" in lent.left(**env)
    assert lent.wipe(**env).returncode == 0
    assert lent.left(**env) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("accounts = course*\nscheduler = none\n", "no account that may be emptied"),
        ("scheduler = none\n", "no account that may be emptied"),
        ("accounts = *\n", "scheduler must be"),
        ("accounts = *\nscheduler = none\nhome = /\n", "no setting home"),
        ("accounts = *\nscheduler = none\nall of it\n", "no line of it"),
        ("accounts = *\nscheduler = slurm\npath = /usr/bin\n", "squeue does not run"),
    ],
)
def test_an_account_that_the_site_does_not_name_is_left_alone(lent: Lent, text: str, why: str) -> None:
    lent.does("echo mine >mine")
    lent.conf(text)
    done = lent.wipe()
    assert done.returncode == 1
    assert why in done.stderr
    assert (lent.home / "mine").read_text() == "mine\n"


def test_settings_that_others_may_write_are_refused(lent: Lent) -> None:
    (lent.folder / "wipe.conf").chmod(0o666)
    done = lent.wipe()
    assert done.returncode == 1
    assert "may be written by others" in done.stderr
    lent.conf()
    os.chown(lent.folder / "wipe.conf", STRANGER, 0)
    assert "may be written by others" in lent.wipe().stderr
