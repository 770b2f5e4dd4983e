"""Site accounts: the Unix users under which jobs run.

Root has three site accounts, separate from each other; any other user has only their own account.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import CannotRun

NAMES = ("fg-ada", "fg-grace", "fg-emmy")
HOMES = Path("/home")
# a password hash that no password has; with an empty one the account would be locked, and sshd would refuse it
NOTHING_MATCHES = "*"
_NO_SUCH_USER = 6  # an exit code of userdel


def ensure(names: tuple[str, ...] = NAMES, homes: Path = HOMES) -> tuple[str, ...]:
    """Return the site accounts of this machine, after creating those of ``names`` that are missing.

    Without root, this is only the user's own account. As root, an account is created without a password, but not
    locked, so that it may log in by key; an existing account is unlocked. New homes are below ``homes``, and all homes
    get mode 0700. Raises CannotRun.
    """
    if os.geteuid() != 0:
        return (own_name(),)
    with changing(homes):
        for name in names:
            if not _exists(name):
                _add(name, homes / name)
            elif _locked(name):
                subprocess.run(["/usr/sbin/usermod", "--password", NOTHING_MATCHES, name], check=True, timeout=60)
            home(name).chmod(0o700)
    return names


@contextmanager
def lent(names: tuple[str, ...], note: Callable[[str], None] = print) -> Iterator[tuple[str, ...]]:
    """Provide site accounts during the block, and delete those that were missing before. Needs root.

    ``note``: called with a message if an account could not be deleted.
    """
    missing = [name for name in names if not _exists(name)]
    try:
        yield ensure(names)
    finally:
        for name, why in remove(*missing).items():
            note(f"{name} is left: {why}")


def remove(*names: str, homes: Path = HOMES) -> dict[str, str]:
    """Delete these accounts with their homes; return the error for each account that was not deleted. Needs root."""
    left: dict[str, str] = {}
    with changing(homes):
        for name in names:
            argv = ["/usr/sbin/userdel", "--remove", "--force", name]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode not in (0, _NO_SUCH_USER):
                left[name] = done.stderr.strip()
    return left


def own_homes(folder: Path, names: tuple[str, ...]) -> dict[Path, Path]:
    """Make the folders for the accounts' homes of an isolated factory; return each folder by the path of the home.

    The folders are in ``folder``; their content is kept between starts. Missing accounts are created.
    """
    made: dict[Path, Path] = {}
    folder.mkdir(mode=0o755, exist_ok=True)
    for name in ensure(names):
        account = pwd.getpwnam(name)
        own = folder / name
        own.mkdir(mode=0o700, exist_ok=True)
        os.chown(own, account.pw_uid, account.pw_gid)
        made[home(name)] = own
    return made


def home(name: str) -> Path:
    """Return the path of an account's home."""
    return Path(pwd.getpwnam(name).pw_dir)


def own_name() -> str:
    """Return the name of the user that this process runs as. Raises CannotRun if the user id has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise CannotRun(f"a name for user id {os.geteuid()} (an entry in /etc/passwd)") from None


@contextmanager
def changing(homes: Path = HOMES) -> Iterator[None]:
    """Hold a lock during the block, so that only one process at a time changes accounts.

    Without the lock, two `useradd` of one name at the same moment both succeed, and the home then has another user id
    than the account. Programs that change accounts also give up after 15 s if another one is at work.
    """
    homes.mkdir(parents=True, exist_ok=True)
    held = os.open(homes, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _locked(name: str) -> bool:
    lines = Path("/etc/shadow").read_text().splitlines()
    return any(line.startswith(f"{name}:!") for line in lines)


def _add(name: str, home: Path) -> None:
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is None:
        raise CannotRun("the program useradd (package passwd)")
    argv = [
        useradd, "--create-home", "--home-dir", str(home), "--user-group", "--shell", "/bin/bash",
        "--password", NOTHING_MATCHES, name,
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise CannotRun(f"the Unix user {name}: useradd says {done.stderr.strip()!r}")


def check_readable(folder: Path) -> None:
    """Raise CannotRun if site accounts cannot enter ``folder`` or any folder above it, to run programs there."""
    if os.geteuid() != 0:
        return
    for step in (folder, *folder.parents):
        if not step.stat().st_mode & 0o001:
            raise CannotRun(f"a folder that site accounts can read: {step} is closed to others (give another --state)")
