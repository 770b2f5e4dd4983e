"""A real PostgreSQL for the tests: in a temporary folder, as an account without privileges, on a Unix socket only.

Debian's package provides the programs. A database cluster that the package has made is not used.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from factorycommon.service.database import Database

PATIENCE = 60  # seconds
ADMIN, PASSWORD = "administrator", "not-for-logs-81c5"


def programs() -> Path | None:
    """Return the folder of ``initdb`` and ``postgres`` of the newest version; None if none is installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda folder: int(folder.parent.name), default=None)


class Postgres:
    """The server. Call ``up`` before use. It requires a password, like a server elsewhere."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a short path, since a socket's path is limited
        self.passfile = self.folder / "pgpass"
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        bin = programs()
        assert bin is not None
        given = self.folder / "given"
        given.write_text(f"{PASSWORD}\n")
        self.passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
        self.passfile.chmod(0o600)
        for path in (self.folder, given):
            os.chown(path, self._account.pw_uid, self._account.pw_gid)
        made = self._run(
            *(bin / "initdb", "--pgdata", self.data, "--username", ADMIN, "--pwfile", given, "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
        )
        output, _ = made.communicate(timeout=PATIENCE)
        assert made.returncode == 0, output.decode()
        self.start()

    def start(self) -> None:
        bin = programs()
        assert bin is not None
        # The data need not survive a crash: without fsync the tests' commits need no disk writes.
        quick = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "deadlock_timeout=100ms")
        # Nobody reads the later output: messages of the many refused statements would fill the pipe and block the
        # server.
        calm = ("-c", "log_min_messages=log")
        self._process = self._run(
            bin / "postgres", "-D", self.data, "-k", self.folder, "-c", "listen_addresses=", *quick, *calm
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:  # until the server reports that it is ready
            if b"ready to accept connections" in line:
                return
        raise AssertionError("PostgreSQL did not come up")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT closes its connections; SIGQUIT is like a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.communicate(timeout=PATIENCE)

    def down(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def new(self) -> Database:
        """Make an empty schema that belongs to a new user; return its URL, in the form of a link's configuration.

        Making both takes less time than making a database.
        """
        name = f"ledger{next(self._numbers)}"
        with self.connect() as db:
            db.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
            db.execute(f"CREATE SCHEMA {name} AUTHORIZATION {name}")
        return Database.parse(f"postgresql://{name}@/postgres?host={self.folder}&passfile={self.passfile}")

    def connect(self) -> psycopg.Connection:
        """Return a connection as the administrator."""
        return psycopg.connect(host=str(self.folder), user=ADMIN, password=PASSWORD, dbname="postgres")

    def _run(self, *argv: str | Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [os.fspath(word) for word in argv],
            cwd=self.folder,
            user=self._account.pw_uid if os.geteuid() == 0 else None,
            group=self._account.pw_gid if os.geteuid() == 0 else None,
            extra_groups=[] if os.geteuid() == 0 else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
        )
