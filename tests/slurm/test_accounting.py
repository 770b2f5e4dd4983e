"""A cluster with slurmdbd and its own MariaDB; ``tests/catalogue`` tests which limits the accounting enforces."""

from __future__ import annotations

import json
import pwd
import shutil
from pathlib import Path

import pytest

from testbed import processes
from testbed.install import environments as install
from testbed.slurm import cluster, database
from tests.support.door import held
from tests.support.trial import CHECKOUT, FACTORY, ORDINARY, ensure_ordinary_user, python

pytestmark = [pytest.mark.slurm, pytest.mark.root]


def test_nothing_of_a_cluster_with_accounting_is_left() -> None:
    programs = install.program_folder()
    state = programs / "tested-accounting"
    shutil.rmtree(state, ignore_errors=True)
    made = cluster.up(FACTORY, state, programs / "slurm", gpu_nodes=1, accounting=True)
    try:
        assert {"slurmdbd", "mariadbd"} <= made.pids.keys()
        data = made.folder / database.FOLDER
        assert data.stat().st_mode & 0o777 == 0o700
        # Each server that starts removes the temporary tables that it finds in its folder for them, so none is shared.
        base = made.folder.resolve()
        opened = held(made.pids["mariadbd"])
        removed = [Path(name) for name in opened if name.endswith("(deleted)")]
        assert removed and all(file.is_relative_to(base) for file in removed), opened
        before = made.pids
        assert cluster.up(FACTORY, state, programs / "slurm", gpu_nodes=1, accounting=True).pids == before
        without = cluster.up(FACTORY, state, programs / "slurm", gpu_nodes=1)
        assert {"slurmdbd", "mariadbd"}.isdisjoint(without.pids)
        assert not before.items() & without.pids.items()
        assert "disabled" in without.run("sacct").stderr
        assert not data.exists()
    finally:
        made.down()
    assert processes.of_cluster(made.folder) == []
    shutil.rmtree(state)


def test_an_ordinary_user_has_accounts_too() -> None:
    ensure_ordinary_user()
    programs, home = install.program_folder(), Path(pwd.getpwnam(ORDINARY).pw_dir)
    own, code = home / "testbed-accounting", programs / "tested-code"
    shutil.rmtree(code, ignore_errors=True)
    # Others may not be able to read the checkout.
    for package in ("testbed", "spawners/factorycommon", "spawners/factorylink"):
        shutil.copytree(CHECKOUT / package, code / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    program = f"""
import json, sys
from pathlib import Path
from testbed.slurm import cluster
from factorycommon.models import Factory
found = cluster.up(Factory.model_validate_json({FACTORY.model_dump_json()!r}), Path({str(own)!r}),
                   Path({str(programs / "slurm")!r}), gpu_nodes=1, accounting=True)
try:
    jobs = [found.run("srun", "-t", "1", *more, "true") for more in (("-A", "project_1"), ("-A", "nobodys"))]
    told = found.run("sacct", "-n", "-P", "-X", "-o", "Account,QOS,User")
    print(json.dumps([[job.returncode for job in jobs], told.stdout.split()]))
finally:
    found.down()
    assert not found.pids
"""
    done = python("-c", program, user=ORDINARY, code=(code,))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[0, 1], [f"project_1|normal|{ORDINARY}"]]
    shutil.rmtree(code)
