"""Rules for the layout of the code: folders of limited size, imports in one direction, unique class names."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from factorylink.schedulers.registry import DIALECTS

CHECKOUT = Path(__file__).parents[2]
PACKAGES = (
    "factorycommon",
    "factorylink",
    "factoryspawner",
    "factoryoperator",
    "factoryinstaller",
    "factorygate",
    "workshops",
    "testbed",
)
MOST = 26  # maximum entries of a folder
# Folders with many similar entries, which nobody reads one after the other.
ALIKE = re.compile(r"tests/.*|hub_config/(factories|locale).*|docs/pictures|extensions/factorygate/locale.*")


def sources() -> list[Path]:
    """Return the Python files that ship, and the testbed's."""
    return [
        path
        for top in ("spawners", "extensions/factorygate", "extensions/workshops", "testbed")
        for path in sorted((CHECKOUT / top).rglob("*.py"))
    ]


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_no_folder_is_longer_than_can_be_looked_over() -> None:
    entries: defaultdict[str, set[str]] = defaultdict(set)
    for name in tracked():
        parts = name.split("/")
        for depth in range(1, len(parts)):
            entries["/".join(parts[:depth])].add(parts[depth])
    long = {folder: len(held) for folder, held in entries.items() if len(held) > MOST and not ALIKE.fullmatch(folder)}
    assert not long


def test_each_package_has_a_docstring() -> None:
    silent = [
        str(path)
        for path in sources()
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    graph = grimp.build_graph(package)
    order = TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules})
    try:
        order.prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml on the copy of the code in ``folder``; return the finished process."""
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}/spawners:{folder}/extensions:{folder}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "imports", "contract"),
    [
        ("spawners/factorylink/util/clock.py", "factorylink.sessions.service", "The rooms of the link"),
        ("spawners/factorylink/schedulers/slurm/script.py", "os", "Dialects do no I/O"),
        ("spawners/factorylink/transports/local.py", "factorylink.schedulers.slurm.dialect", "Transports know no"),
        ("spawners/factoryspawner/options.py", "factorylink.ledger.ledger", "The hub uses the link's"),
        ("extensions/factorygate/link.py", "factorylink.client", "The notebook side"),
        ("spawners/factorycommon/models/base.py", "factorylink.config", "What all share"),
        ("extensions/workshops/states.py", "factorylink.config", "The workshops service imports nothing"),
        ("extensions/workshops/times.py", "workshops.service", "The rooms of the workshops"),
        ("spawners/factoryspawner/options.py", "workshops.service", "The hub uses the workshops"),
    ],
)
def test_an_import_against_the_rules_is_found(tmp_path: Path, module: str, imports: str, contract: str) -> None:
    for top in ("spawners", "extensions/factorygate", "extensions/workshops", "testbed"):
        shutil.copytree(
            CHECKOUT / top,
            tmp_path / top,
            ignore=shutil.ignore_patterns("__pycache__", "locale", "notebooks", "built"),
        )
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    with (tmp_path / module).open("a") as file:
        file.write(f"\nimport {imports}\n")
    ran = lint_imports(tmp_path)
    kept = [line for line in ran.stdout.splitlines() if line.startswith(contract)]
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert len(kept) > 1, ran.stdout  # the output names a broken contract again, with the import


SCHEDULERS_VARIABLE = re.compile(rf"(?<![A-Z])({'|'.join(dialect.WORDS.variables for dialect in DIALECTS.values())})")
# Code outside the dialects that may name a scheduler's variables, with reasons.
KNOWS_SCHEDULERS = {
    "site/factorygate-act": "installed at a site, alone: it knows each order that a dialect gives, word for word",
    "extensions/factorygate/old_job_scripts.py": "for jobs whose script is older than FACTORYGATE_JOB_*",
}
SHIPPED = re.compile(r"(spawners|extensions|hub_config|site)/.*")
TEXTS = {".po", ".pot", ".md", ".ipynb", ".json", ".yaml", ".map"}


def variables_of_schedulers(folder: Path, names: list[str]) -> dict[str, list[str]]:
    """Return by file the lines of shipped code outside the dialects that name a scheduler's variable."""
    found: dict[str, list[str]] = {}
    for name in names:
        path = folder / name
        dialect = name.startswith("spawners/factorylink/schedulers/")
        if not SHIPPED.fullmatch(name) or dialect or path.suffix in TEXTS or not path.is_file():
            continue
        lines = path.read_bytes().decode(errors="replace").splitlines()
        if named := [line.strip() for line in lines if SCHEDULERS_VARIABLE.search(line)]:
            found[name] = named
    return found


def test_only_dialects_name_variables_of_a_scheduler() -> None:
    assert variables_of_schedulers(CHECKOUT, tracked()).keys() == KNOWS_SCHEDULERS.keys()


def test_a_variable_of_a_scheduler_would_be_found(tmp_path: Path) -> None:
    names = {
        "extensions/factorygate/gpus.py": "text = environment.get('SLURM_GPUS_ON_NODE')",
        "extensions/lab/src/watch.ts": "const node = env.SLURMD_NODENAME;",
        "spawners/factorylink/clusters/x.py": 'name = f"PBS_{what}"',
        "spawners/factorylink/schedulers/pbs/x.py": "PBS_JOBID",
        "tests/unit/x.py": "PBS_JOBID",
        "spawners/factorylink/clusters/y.py": "FACTORYGATE_JOB_ID",
    }
    for name, line in names.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{line}\n")
    assert list(variables_of_schedulers(tmp_path, list(names))) == list(names)[:3]


def test_no_two_classes_of_the_distribution_have_one_name() -> None:
    packages = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    found: defaultdict[str, list[str]] = defaultdict(list)
    for top in packages["packages"]:
        for path in sorted((CHECKOUT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(str(path.relative_to(CHECKOUT)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


CLUSTER = {"cluster", "self._cluster", "self.cluster"}  # names by which the helpers of a FactoryCluster refer to it
CHANGES = {"append", "clear", "pop", "popitem", "setdefault", "update"}


def writes_into_a_cluster(tree: ast.AST) -> set[str]:
    """Return the attributes of a cluster that the code sets, or whose content it changes."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=of, attr=name, ctx=ast.Store() | ast.Del()) if ast.unparse(of) in CLUSTER:
                found.add(name)
            case ast.Subscript(value=ast.Attribute(value=of, attr=name), ctx=ast.Store() | ast.Del()) if (
                ast.unparse(of) in CLUSTER
            ):
                found.add(name)
            case ast.Call(func=ast.Attribute(value=ast.Attribute(value=of, attr=name), attr=change)) if (
                ast.unparse(of) in CLUSTER and change in CHANGES
            ):
                found.add(name)
            case _:
                pass
    return found


def test_the_helpers_of_a_cluster_change_its_plan_and_nothing_else_of_it() -> None:
    helpers = [path for path in (CHECKOUT / "extensions/factorygate/cluster").glob("*.py") if path.name != "cluster.py"]
    found = {path.name: writes_into_a_cluster(ast.parse(path.read_text())) for path in helpers}
    assert {name: written for name, written in found.items() if written} == {}


def test_a_helper_that_writes_into_a_cluster_would_be_found() -> None:
    code = (
        "cluster.message = 1\nself._cluster.worker_spec['a'] = 2\nself.cluster.workers.pop('a')\ndel cluster.jobs['a']"
    )
    assert writes_into_a_cluster(ast.parse(code)) == {"message", "worker_spec", "workers", "jobs"}
    assert writes_into_a_cluster(ast.parse("cluster.worker_plan.message = 1\ncluster.worker_plan.drop(1)")) == set()
