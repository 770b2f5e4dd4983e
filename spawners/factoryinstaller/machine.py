"""The machine to install on: runs programs, writes files atomically, and reports each change."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from factoryinstaller.errors import InstallerError
from factoryinstaller.files import VAR, WantedFile, digest

STATE = f"{VAR}/install.json"
_LAST_LINES = 15

Numbers = Callable[[str, str], tuple[int, int]]  # returns the ids of a user and a group, by their names


def numbers(user: str, group: str) -> tuple[int, int]:
    """Return the numeric ids of a user and a group of this machine. Raises KeyError if a name is not known."""
    return pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid


class Machine:
    """The machine to install on.

    ``root``: the machine's root folder, or another folder that stands for it; ``changes``: descriptions of what this
    run has changed.
    """

    def __init__(self, root: Path = Path("/"), numbers: Numbers = numbers) -> None:
        self.root = root
        self.changes: list[str] = []
        self._numbers = numbers

    def path(self, name: str) -> Path:
        """Return the path below ``root`` of the file whose absolute path on this machine is ``name``."""
        return self.root / name.lstrip("/")

    # --- messages

    def changed(self, text: str) -> None:
        """Print a change for the operator, and add it to ``changes``."""
        self.changes.append(text)
        say(f"made  {text}")

    # --- programs

    def run(self, *argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run a program to its end, and return its stdout.

        ``cwd``: the folder in which it runs, None: this process's; ``env``: variables added to this process's
        environment variables. Raises InstallerError if the program is missing, or, with the last lines of its output,
        if its exit code is not 0.
        """
        try:
            done = subprocess.run(
                argv,
                cwd=cwd,
                env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise InstallerError(f"The program {argv[0]} is not there.") from error
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:])
            raise InstallerError(f"{' '.join(argv[:6])} failed with exit code {done.returncode}:\n{said}")
        return done.stdout

    def succeeds(self, *argv: str) -> bool:
        """Run a program; return whether it exists and has ended with exit code 0."""
        try:
            return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False

    # --- files

    def make_folder(self, name: str, mode: int, user: str, group: str) -> None:
        """Create a folder, or set mode and owner of an existing folder. ``name``: its absolute path on this machine."""
        folder = self.path(name)
        there = folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        if self._set_access(folder, mode, user, group) or not there:
            self.changed(f"the folder {name}")

    def write(self, wanted: WantedFile) -> bool:
        """Write a file, and set its mode and owner; return whether its content was written.

        A file that the operator may edit keeps its content if the content differs from what this installer last wrote.
        The file is replaced atomically, so that a killed run leaves the old file or the new one.
        """
        path = self.path(wanted.path)
        written = self.written()
        new = digest(wanted.text)
        try:
            there: str | None = digest(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            there = None
        except UnicodeDecodeError:
            there = ""
        if there is not None and there != new and wanted.edited_by_operator and there != written.get(wanted.path):
            if written.get(wanted.path, new) != new:
                say(f"note  {wanted.path} was changed after it was written, so it is kept; this run would write else.")
            if self._set_access(path, wanted.mode, wanted.owner, wanted.group):
                self.changed(f"mode and owner of {wanted.path}")
            return False
        if there != new:
            self._replace(path, wanted)
            self.changed(wanted.path)
        elif self._set_access(path, wanted.mode, wanted.owner, wanted.group):
            self.changed(f"mode and owner of {wanted.path}")
        if written.get(wanted.path) != new:
            self._keep("written", {**written, wanted.path: new})
        return there != new

    def written(self) -> dict[str, str]:
        """Return, by path, the digest of each file's content as this installer last wrote it."""
        return dict(self._state().get("written", {}))

    def remove(self, name: str) -> None:
        """Remove a file, symbolic link or folder, and print that it is gone; do nothing if it does not exist.

        ``name``: its absolute path on this machine.
        """
        path = self.path(name)
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            return
        say(f"gone  {name}")

    def _replace(self, path: Path, wanted: WantedFile) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchown(descriptor, *self._numbers(wanted.owner, wanted.group))
            os.fchmod(descriptor, wanted.mode)
            file.write(wanted.text)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)

    def _set_access(self, path: Path, mode: int, user: str, group: str) -> bool:
        found, owner = path.stat(), self._numbers(user, group)
        if (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (mode, *owner):
            return False
        os.chown(path, *owner)
        path.chmod(mode)
        return True

    # --- records of earlier runs

    def options_text(self) -> str:
        """Return the stored options as JSON; ``{}`` if none are stored."""
        return json.dumps(self._state().get("options", {}))

    def keep_options(self, text: str) -> None:
        """Store the options for later runs. ``text``: the options as JSON."""
        if json.loads(text) != self._state().get("options"):
            self._keep("options", json.loads(text))

    def started(self) -> dict[str, str]:
        """Return, by service, the digest of the files with which this installer last started the service."""
        return dict(self._state().get("started", {}))

    def keep_started(self, service: str, made_of: str) -> None:
        """Store the digest of the files with which a service was started.

        ``made_of``: the digest; "" lets the next run restart the service.
        """
        self._keep("started", {**self.started(), service: made_of})

    def forget_started(self) -> None:
        """Delete the stored digests of all services (see ``started``), since the services are removed."""
        if self.path(STATE).exists():
            self._keep("started", {})

    def _state(self) -> dict[str, dict[str, str]]:
        try:
            found = json.loads(self.path(STATE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise InstallerError(f"{STATE} cannot be read ({error}): remove it and run this again.") from error
        return found if isinstance(found, dict) else {}

    def _keep(self, key: str, value: object) -> None:
        text = json.dumps({**self._state(), key: value}, indent=1, sort_keys=True) + "\n"
        self._replace(self.path(STATE), WantedFile(STATE, text, 0o600))


def say(text: str) -> None:
    """Print a line for the operator, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
