"""Makes a cluster's own MariaDB: a data folder, a Unix socket in it, no network, and no password.

Whoever can enter the folder (0700) is the database's administrator, so grant tables and passwords would protect
nothing. The data are kept only as long as the cluster, so the server does not wait for writes to reach the disk.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from testbed.errors import CannotRun
from testbed.install.packages import Packages

FOLDER = "database"  # name of the database's folder in the cluster's folder
NAME = "slurm"  # name of Slurm's database
_EMPTY = "empty"  # an empty data folder beside the unpacked programs, which new databases copy
_SECONDS = 60.0


def socket(base: Path) -> Path:
    """Return the path of the Unix socket for clients."""
    return base / FOLDER / "socket"


def argv(program: Path, packages: Packages, data: Path, base: Path, root: bool) -> list[str]:
    """Return the command that starts the server on the data folder ``data``.

    ``base``: a short path of the cluster's folder; ``root``: True if the server is started as root.
    """
    return [
        *_argv(program, packages, data, root),
        f"--socket={socket(base)}",
        f"--pid-file={base}/run/mariadbd.pid",
        f"--log-error={base}/log/mariadbd.log",
    ]


def prepare(packages: Packages) -> None:
    """Make an empty database, once for all clusters that use these packages; each cluster starts with a copy of it.

    Raises CannotRun.
    """
    # Slurm's database must exist: with some client libraries slurmdbd fails to create it.
    tables = (packages.root / "usr/share/mariadb/mariadb_system_tables.sql").read_text()
    orders = f"create database {NAME};\ncreate database mysql;\nuse mysql;\n{tables}"
    data = packages.root.parent / _EMPTY
    data.mkdir()
    words = [*_argv(packages.daemon("mariadbd"), packages, data, root=True), "--bootstrap"]
    env = {"LD_LIBRARY_PATH": str(packages.plugins), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        words, input=orders, env=env, cwd=data, capture_output=True, text=True, check=False, timeout=_SECONDS
    )
    if done.returncode != 0:
        raise CannotRun(f"a database: mariadbd says {done.stderr.strip().splitlines()[-3:]}")
    for path in data.rglob("*"):  # the files contain no secret, and other accounts may copy them
        path.chmod(0o755 if path.is_dir() else 0o644)


def lay(packages: Packages, folder: Path) -> None:
    """Put an empty database into the cluster's ``folder``, replacing an old one."""
    remove(folder)
    (folder / FOLDER).mkdir(mode=0o700)
    shutil.copytree(packages.root.parent / _EMPTY, folder / FOLDER, dirs_exist_ok=True)
    (folder / FOLDER).chmod(0o700)


def remove(folder: Path) -> None:
    """Remove the database; its server must have ended."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _argv(program: Path, packages: Packages, data: Path, root: bool) -> list[str]:
    share = packages.root / "usr/share/mariadb"
    return [
        str(program),
        "--no-defaults",  # must be the first argument
        *(["--user=root"] if root else []),
        f"--basedir={packages.root / 'usr'}",
        f"--datadir={data}",
        f"--tmpdir={data}",  # a server that starts removes the temporary tables of all servers that share its tmpdir
        f"--lc-messages-dir={share}",
        f"--character-sets-dir={share}/charsets",
        "--skip-networking",
        "--ssl=0",  # otherwise the server makes a key at each start, which takes a second
        "--skip-grant-tables",
        "--skip-log-bin",
        "--performance-schema=0",
        "--aria-log-file-size=8M",
        "--innodb-buffer-pool-size=32M",
        "--innodb-data-file-path=ibdata1:12M:autoextend",
        "--innodb-temp-data-file-path=ibtmp1:4M:autoextend",
        "--innodb-autoextend-increment=1",
        "--innodb-log-file-size=4M",
        "--innodb-undo-tablespaces=0",
        "--innodb-lock-wait-timeout=900",  # the value that slurmdbd requires
        "--innodb-flush-method=nosync",
        "--innodb-flush-log-at-trx-commit=2",  # a killed server loses nothing; a crash of the machine may lose data
        "--innodb-doublewrite=0",
        "--innodb-use-native-aio=0",
    ]
