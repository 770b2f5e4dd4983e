"""The example notebooks as files: valid, without outputs, with their cost; and how a person gets them."""

from __future__ import annotations

import ast
import resource
from pathlib import Path
from typing import Any

import nbformat
import pytest

from factorygate import copy_examples, examples
from factorygate.examples import FIRST

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_was_never_run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code(notebook))
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_what_it_costs_and_gives_all_back(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert "**What it costs.**" in cells[0].source
    parameters = [cell for cell in cells if "parameters" in cell.metadata.get("tags", ())]
    assert len(parameters) == 1
    assert all(isinstance(line, ast.Assign) for line in ast.parse(parameters[0].source).body)
    made = sum(cell.source.count("= FactoryCluster(") for cell in cells)
    assert made == sum(cell.source.count("cluster.close()") for cell in cells) > 0


def test_links_between_notebooks_lead_somewhere() -> None:
    names = {path.name for path in NOTEBOOKS}
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            linked = {part.partition(")")[0] for part in cell.source.split("](")[1:]}
            assert {one for one in linked if not one.startswith("https://")} <= names


def test_notebooks_that_the_environment_cannot_run_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "3-training-with-pytorch.ipynb"
    monkeypatch.setattr(examples, "NEEDS", {name: "no_such_module_anywhere"})
    folder = copy_examples(tmp_path / "without")
    assert [path.name for path in sorted(folder.iterdir())] == [one.name for one in NOTEBOOKS if one.name != name]
    assert not [path.name for path in folder.iterdir() if name in path.read_text()]  # no notebook links to it
    for path in folder.iterdir():
        nbformat.validate(nbformat.read(path, as_version=4))
    monkeypatch.setattr(examples, "NEEDS", {name: "json"})
    assert (copy_examples(tmp_path / "with") / name).exists()


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the environment has everything that the notebooks need."""
    monkeypatch.setattr(examples, "NEEDS", {})


@pytest.mark.usefixtures("everything")
def test_copies_what_is_missing_and_keeps_what_was_changed(tmp_path: Path) -> None:
    folder = copy_examples(tmp_path / "new" / "folder")
    assert [path.name for path in sorted(folder.iterdir())] == [path.name for path in NOTEBOOKS]
    assert (folder / FIRST).read_bytes() == (EXAMPLES / FIRST).read_bytes()
    (folder / FIRST).write_text("mine")
    (folder / NOTEBOOKS[1].name).unlink()
    copy_examples(folder)
    assert (folder / FIRST).read_text() == "mine"
    assert (folder / NOTEBOOKS[1].name).read_bytes() == NOTEBOOKS[1].read_bytes()


def test_a_full_disk_leaves_no_partial_notebook(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # the kernel's own "file too large"
    try:
        with pytest.raises(OSError, match="File too large"):
            copy_examples(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
