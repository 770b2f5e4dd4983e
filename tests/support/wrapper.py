"""The wrapper for sites (``site/factorygate-act``), installed in a test's folder, and the link's requests to it."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factorycommon.models import JobRequest
from factorylink.schedulers.command import Command
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.sessions.submitter import make_folders, write_files
from testbed import accounts
from tests.support.trial import CHECKOUT

SOURCE = CHECKOUT / "site/factorygate-act"
ADA, GRACE, EMMY = accounts.NAMES  # the last one is on no list
REFUSED, STOPPED = 77, 75
HUB = "factorygate-trial"


@dataclass
class Wrapper:
    """An installed wrapper. ``slurm``: the cluster's environment variables, which act.conf sets."""

    folder: Path
    slurm: dict[str, str]
    made: list[Path] = field(default_factory=list)

    @property
    def program(self) -> Path:
        return self.folder / "factorygate-act"

    def write(self, name: str, text: str) -> Path:
        path = self.folder / "etc" / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def reset(self) -> None:
        shutil.rmtree(self.folder / "etc", ignore_errors=True)
        (self.folder / "etc").mkdir(mode=0o755)
        self.write("accounts", f"# those who agreed\n{ADA}\n{GRACE}  # since May\n")
        env = {name: value for name, value in self.slurm.items() if name != "PATH"}
        lines = [f"path = {self.slurm['PATH']}", f"log = {self.folder}/log"]
        self.write("act.conf", "\n".join(lines + [f"env.{name} = {value}" for name, value in env.items()]) + "\n")

    def run(self, *argv: str, stdin: str | bytes = b"", env: dict[str, str] | None = None) -> Any:
        return subprocess.run(
            [str(self.program), *argv],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            env={"PATH": "/usr/bin:/bin", **(env or {})},
            cwd="/",
            capture_output=True,
            timeout=60,
            check=False,
        )

    def ask(self, account: str, ask: Command[Any]) -> Any:
        """Run a command of the link through the wrapper, as the link does over SSH; return the finished process.

        The dialect's environment variables precede the command, as words of an ``env`` command.
        """
        env = ("env", *(f"{name}={value}" for name, value in ask.env.items())) if ask.env else ()
        return self.run(account, *env, *ask.argv, stdin=ask.stdin)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def session(self, account: str) -> str:
        """Make a session's folder in the way the link does; return its path."""
        home = pwd.getpwnam(account).pw_dir
        folder = f"{home}/.factorygate/sessions/{secrets.token_hex(16)}"
        sessions = os.path.dirname(folder)
        for ask in (
            make_folders(os.path.dirname(sessions), sessions),
            write_files(sessions, {f"{Path(folder).name}/session.json": "{}"}),
        ):
            asked = self.ask(account, ask)
            assert asked.returncode == 0, asked.stderr
        self.made.append(Path(folder))
        return folder

    def submit(self, account: str, command: str = "sleep 600") -> str:
        asked = self.ask(account, slurm.submit(slurm.script(request(self.session(account), command))))
        assert asked.returncode == 0, asked.stderr
        return str(asked.stdout.decode().strip())


def request(folder: str, command: str, **changes: Any) -> JobRequest:
    told = {
        "name": HUB,
        "comment": "fg:" + "0" * 32 + ":" + "0" * 16,
        "partition": "shared",
        "gpus": 0,
        "cores": 1,
        "memory_gb": 1,
        "walltime": 1200,
        "output": f"{folder}/job.log",
        "command": ("/bin/sh", "-c", command),
        **changes,
    }
    return JobRequest.model_validate(told)


def enter(job: str, account: str = ADA, *, socket: str | None = None) -> tuple[str, ...]:
    uid = pwd.getpwnam(account).pw_uid
    bridge = ("/opt/env/bin/python", "-P", "-m", "factorygate.session.bridge")
    return slurm.enter(job, (*bridge, socket or f"/tmp/factorygate-{uid}-01234567-abc_1/door.sock"))


def write_note(folder: str, note: str) -> Command[None]:
    return write_files(os.path.dirname(folder), {f"{os.path.basename(folder)}/session.json": note})


def output(done: Any) -> Any:
    return slurm.Output(done.stdout.decode(), done.stderr.decode(), done.returncode)


def refused(done: Any, words: str = "") -> None:
    assert done.returncode == REFUSED, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith(b"factorygate-act: refused: ")
    assert words in done.stderr.decode()
    assert done.stdout == b""
