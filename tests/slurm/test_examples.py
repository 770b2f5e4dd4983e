"""The example notebooks in a session: each is run cell by cell, and leaves nothing behind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.bed import SIZE as WORKERS
from tests.support.bed import Bed
from tests.support.gateway import Gateway, eventually

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]
CELL_SECONDS = 200
ALL = {"workers": 2, "hours": 0.3}


class Session(Bed):
    """A running session of a person who has just copied the examples."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway)
        self.folder = f"examples-{uuid.uuid4().hex[:8]}"  # the account's home outlives this demo
        self.run(f"from factorygate import copy_examples\ncopy_examples({self.folder!r})")

    def jobs(self) -> set[str]:
        """Return ``FACTORY JOB`` for all jobs at all factories: of this session, of workers and schedulers."""
        return {f"{one.id} {job}" for one in self.gateway.factories.values() for job in one.jobs()}

    def end(self) -> None:
        self.run(f"import shutil\nshutil.rmtree({self.folder!r})")
        self.gateway.stopped(self.user)

    def files(self) -> list[str]:
        """Return the names of the notebooks and of all files beside them."""
        found = self.notebook.request("GET", f"/api/contents/{self.folder}").json()["content"]
        return sorted(one["name"] for one in found)

    def cells(self, name: str, parameters: dict[str, Any]) -> Iterator[str]:
        """Yield the code of each code cell of a notebook.

        After the cell with the notebook's parameters, a text with assignments of these ``parameters`` follows.
        """
        found = self.notebook.request("GET", f"/api/contents/{self.folder}/{name}.ipynb").json()["content"]
        for cell in found["cells"]:
            if cell["cell_type"] != "code":
                continue
            yield cell["source"]
            if "parameters" in cell["metadata"].get("tags", ()):
                yield "\n".join(f"{one} = {value!r}" for one, value in parameters.items())

    def wrong(self, code: str, kernel: str) -> str:
        """Return the error of a cell; empty if it has none."""
        try:
            self.notebook.run(code, kernel, CELL_SECONDS)
        except (AssertionError, TimeoutError) as error:
            return str(error) or f"It took more than {CELL_SECONDS} s."
        return ""

    def work_through(self, name: str, token: str = "", **parameters: Any) -> None:
        """Run all cells of a notebook in a new kernel, and wait until no job of the notebook is left.

        A cell that fails is shown with its traceback. ``token``: the person's own, for which the notebook would
        otherwise ask; ``parameters``: values that replace the notebook's own.
        """
        before = self.jobs()
        answer = self.notebook.request("POST", "/api/kernels", json={"name": "python3", "path": self.folder})
        assert answer.status_code == 201, answer.text
        kernel = answer.json()["id"]
        try:
            if token:
                assert not self.wrong(f"import os\nos.environ['FACTORYGATE_TOKEN'] = {token!r}", kernel)
            for code in self.cells(name, ALL | parameters):
                wrong = self.wrong(code, kernel)
                if wrong:
                    pytest.fail(f"{name}, in the cell\n\n{code}\n\n{wrong}", pytrace=False)
            eventually(lambda: self.jobs() <= before, 90, what=f"{name} gave all back")
        finally:
            self.notebook.request("DELETE", f"/api/kernels/{kernel}")


@pytest.fixture(scope="module")
def session(gateway: Gateway) -> Iterator[Session]:
    made = Session(gateway)
    yield made
    made.end()


@pytest.fixture(autouse=True)
def tidy(session: Session) -> Iterator[None]:
    """Assert that no notebook leaves a file."""
    before = session.files()
    yield
    assert session.files() == before


def test_first_steps(session: Session) -> None:
    session.work_through("1-first-steps", size=WORKERS)


def test_arrays_and_tables(session: Session) -> None:
    session.work_through("2-arrays-and-tables", size=WORKERS, gigabytes=0.05)


def test_training_with_pytorch(session: Session) -> None:
    if session.run("import importlib.util\nprint(importlib.util.find_spec('torch') is not None)") == "False":
        pytest.skip("the notebooks' environment has no PyTorch: python3 -m testbed.install torch")
    session.work_through("3-training-with-pytorch", size=WORKERS, images=6000, rounds=3)


def test_hyperparameter_search(session: Session) -> None:
    session.work_through("4-hyperparameter-search", size=WORKERS, candidates=12, epochs=9)


def test_two_factories(session: Session) -> None:
    own = session.gateway.token(session.user)
    session.work_through("5-two-factories", own, size=WORKERS, far="it4lia", far_size="gpu-1-debug", rows=200_000)
