"""Runs the system's git so that a repository can run nothing here: no hook, no filter, no prompt.

Git uses no other protocols than those that ``environment_of`` allows.

No command line contains a secret: a deploy token is in git's environment variables, which only this account can read.
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_MOST_ERRORS = 16_384  # bytes of git's messages that are read


class GitFailed(Exception):
    """Raised if git fails. ``said``: git's own words, or another text that says what failed."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


class GitTooMuch(GitFailed):
    """Raised if git prints more than is allowed."""


@dataclass(frozen=True)
class GitRepository:
    """A git repository without a work tree.

    ``folder``: a folder for this repository only, empty at first; ``environment``: the environment variables of every
    git command.
    """

    folder: Path
    environment: Mapping[str, str]

    def run(self, *argv: str, most: int = 1 << 20) -> bytes:
        """Run git and return what it prints. Raises GitFailed; GitTooMuch for more than ``most`` bytes."""
        with self.start(*argv) as process:
            try:
                found = _read(process, most)
                self.finish(process)
            except BaseException:
                process.kill()
                raise
        return found

    def start(self, *argv: str, stdin: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        """Start git in the repository, with a pipe for its output. Raises GitFailed if git is not installed.

        ``stdin``: the file that git reads; None: git gets no input.
        """
        try:
            with (self.folder / "errors").open("wb") as errors:
                return subprocess.Popen(
                    ["git", *argv],
                    cwd=self.folder,
                    env=dict(self.environment),
                    stdin=subprocess.DEVNULL if stdin is None else stdin,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                )
        except FileNotFoundError as error:
            raise GitFailed("git is not installed") from error

    def finish(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a process of ``start`` has ended. Raises GitFailed if git failed."""
        if process.wait() != 0:
            with (self.folder / "errors").open("rb") as file:
                said = file.read(_MOST_ERRORS).decode(errors="replace").strip()
            raise GitFailed(said or f"git ended with {process.returncode}")


def _read(process: subprocess.Popen[bytes], most: int) -> bytes:
    if process.stdout is None:
        raise AssertionError
    found = process.stdout.read(most + 1)
    if len(found) > most:
        raise GitTooMuch(f"more than {most} bytes")
    return found


def environment_of(folder: Path, schemes: Sequence[str], token: tuple[str, str, str] | None = None) -> dict[str, str]:
    """Return all environment variables for git.

    ``folder``: git's home; ``schemes``: the protocols that git may use; ``token``: the deploy token that git sends:
    prefix of the addresses that get it, user, and token; None: git sends none.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "GIT_ALLOW_PROTOCOL": ":".join(schemes),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TEMPLATE_DIR": "",
    }
    if token is not None:
        address, user, secret = token
        basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
        environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{address}.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
        }
    return environment


def init(commit: str) -> list[str]:
    """Return git's arguments that make an empty repository.

    ``commit``: the id of the commit that is fetched later. If this id is as long as a SHA-1 id, the repository uses
    SHA-1 ids for its objects, else SHA-256 ids.
    """
    kind = "sha1" if len(commit) == 40 else "sha256"
    return ["init", "--quiet", "--bare", "--template=", f"--object-format={kind}", "."]


def fetch(url: str, commit: str, pin: str | None, ca_file: Path | None) -> list[str]:
    """Return git's arguments that fetch the commit with the id ``commit`` from the repository at ``url``.

    ``pin``: ``HOST:PORT:ADDRESS,...``, the addresses that git uses for the host of ``url`` without a lookup, None: the
    URL has no host; ``ca_file``: CA certificates for the operator's own servers, None: the system's.
    """
    options = {
        "http.followRedirects": "false",
        "http.lowSpeedLimit": "1000",
        "http.lowSpeedTime": "30",
        "http.proxy": "",
        "core.hooksPath": os.devnull,
        "core.bigFileThreshold": "16m",
        "credential.helper": "",
        "fetch.unpackLimit": "1",
        "transfer.bundleURI": "false",
        "pack.threads": "1",
        "pack.windowMemory": "256m",
        "gc.auto": "0",
        "maintenance.auto": "false",
    }
    if pin is not None:
        options["http.curloptResolve"] = pin
    if ca_file is not None:
        options["http.sslCAInfo"] = str(ca_file)
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    what = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance"]
    return [*settings, *what, "--", url, commit]
