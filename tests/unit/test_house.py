"""How the code is laid out: rooms of a size that can be looked over, imports that run one way, names used once."""

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

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("factorycommon", "factorylink", "factoryspawner", "factoryoperator", "factorygate", "testbed")
MOST = 26  # entries of a folder
# Folders whose entries are alike, and are not read one after the other.
ALIKE = re.compile(r"tests/.*|hub_config/(factories|locale).*|docs/pictures|extensions/factorygate/locale.*")


def sources() -> list[Path]:
    """Python that ships, and the testbed."""
    return [
        path
        for top in ("spawners", "extensions/factorygate", "testbed")
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


def test_each_room_says_what_lives_there() -> None:
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
    """Check the contracts of pyproject.toml on a copy of what ships."""
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
    ],
)
def test_an_import_against_the_rules_is_found(tmp_path: Path, module: str, imports: str, contract: str) -> None:
    for top in ("spawners", "extensions/factorygate", "testbed"):
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
    assert len(kept) > 1, ran.stdout  # a broken contract is named again, with the import


def test_no_two_classes_of_the_distribution_have_one_name() -> None:
    packages = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    found: defaultdict[str, list[str]] = defaultdict(list)
    for top in packages["packages"]:
        for path in sorted((CHECKOUT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(str(path.relative_to(CHECKOUT)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}
