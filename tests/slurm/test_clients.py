"""Programs outside of a site that use a session's kernels: the recipes of docs/clients.md, run with the real clients.

Requests that must be refused are tested, too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from factorygate.session.tokens import REFUSAL
from testbed.install import environments as install
from tests.support.gateway import Gateway, eventually

CHECKOUT = Path(__file__).parents[2]
PAGE, LAB = CHECKOUT / "docs" / "clients.md", CHECKOUT / "extensions" / "lab"
RECIPE = re.compile(r'^```python title="([a-z_]+\.py)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
FACTORY = "it4lia"
# The first lines of jupyter_kernel_client's own documentation.
AS_DOCUMENTED_BY_ITSELF = """
import os
from jupyter_kernel_client import JupyterKernelClient

with JupyterKernelClient(server_url=os.environ["SESSION_URL"], token=os.environ["SESSION_TOKEN"]) as kernel:
    print(kernel.execute("print(6 * 7)")["outputs"][0]["text"], end="")
"""


@dataclass
class Place:
    """A running session, as a program on somebody's machine uses it."""

    gateway: Gateway
    user: str
    server: str
    url: str
    token: str
    folder: Path

    def program(self, *words: str, by: Path = Path(sys.executable)) -> subprocess.CompletedProcess[str]:
        """Run a program, such as one of docs/clients.md, without environment variables of Jupyter and of this project.

        ``words``: the arguments; ``by``: the interpreter. The program runs in the folder with the page's files.
        """
        env = {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTER", "FACTORYGATE"))}
        env |= {
            "SESSION_URL": self.url.rstrip("/"),
            "SESSION_TOKEN": self.token,
            "PYTHONPATH": "",
            "HOME": str(self.folder),
        }
        return subprocess.run(
            [by, *words], cwd=self.folder, env=env, capture_output=True, text=True, timeout=200, check=False
        )

    def ran(self, name: str) -> str:
        """Run a program of docs/clients.md; assert that it succeeds, and return its output."""
        done = self.program(name)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request with the token in the header."""
        headers = {"Authorization": f"token {self.token}"}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=60, **more)

    def kernels(self) -> list[str]:
        """Return the ids of the running kernels."""
        return [kernel["id"] for kernel in self.request("GET", "api/kernels").json()]

    def job_log(self) -> str:
        """Return the session's log, as its site account may read it."""
        session = self.gateway.session(self.user, self.server)
        assert session is not None
        path = f".factorygate/sessions/{session['id']}/job.log"
        code = f"import pathlib; print(pathlib.Path.home().joinpath({path!r}).read_text(errors='replace'))"
        return self.gateway.notebook(self.user, self.server).run(code)


def started(gateway: Gateway, folder: Path, server: str, **more: Any) -> Place:
    """Start a session of a new person, and return it with a token that is valid for this session only.

    The programs of docs/clients.md are written into ``folder``; ``more``: further options of the start.
    """
    user = gateway.make_user()
    answer = gateway.start(user, server, token=gateway.token(user), factory=FACTORY, size="gpu-1", hours=0.5, **more)
    assert answer.status_code in (201, 202), answer.text
    url = answer.json()["url"]
    gateway.wait_ready(user, server)
    scopes = [f"access:servers!server={user}/{server}"]
    made = gateway.api("POST", f"/users/{user}/tokens", json={"note": "client", "scopes": scopes})
    assert made.status_code == 201, made.text
    for name, text in RECIPE.findall(PAGE.read_text(encoding="utf-8")):
        (folder / name).write_text(text, encoding="utf-8")
    return Place(gateway, user, server, url, made.json()["token"], folder)


@pytest.fixture(scope="module")
def place(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Return a session with the default settings."""
    made = started(gateway, tmp_path_factory.mktemp("clients"), "tools")
    yield made
    gateway.stopped(made.user, made.server)


@pytest.fixture(scope="module")
def open_place(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Return a session whose owner allowed tokens in URLs."""
    made = started(gateway, tmp_path_factory.mktemp("open"), "", url_tokens=True)
    (made.folder / "as_documented.py").write_text(AS_DOCUMENTED_BY_ITSELF)
    yield made
    gateway.stopped(made.user, made.server)


def notebook_in(folder: Path, *cells: Any) -> None:
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(metadata={"kernelspec": spec}, cells=list(cells)), folder / "in.ipynb")


def printed(folder: Path) -> list[str]:
    """Return the texts that the cells of the executed notebook, ``out.ipynb`` in ``folder``, have printed."""
    notebook = nbformat.read(folder / "out.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output["text"].strip() for output in outputs if output["output_type"] == "stream"]


def test_jupyter_kernel_client(place: Place) -> None:
    assert place.ran("with_kernel_client.py") == f"{FACTORY}\n"
    eventually(lambda: not place.kernels(), what="the client's kernel ended")


def test_nbclient(place: Place) -> None:
    cell = nbformat.v4.new_code_cell
    notebook_in(
        place.folder, cell("import os; here = os.environ['SLURM_CLUSTER_NAME']"), cell("print(here, os.getcwd())")
    )
    place.ran("with_nbclient.py")
    [line] = printed(place.folder)
    assert line.startswith(f"{FACTORY} /")
    eventually(lambda: not place.kernels(), what="the client's kernel ended")


def test_papermill(place: Place) -> None:
    cell = nbformat.v4.new_code_cell
    parameters = cell("rounds = 1", metadata={"tags": ["parameters"]})
    notebook_in(place.folder, parameters, cell("import os; print(rounds, os.environ['SLURM_CLUSTER_NAME'])"))
    place.ran("with_papermill.py")
    assert printed(place.folder) == [f"3 {FACTORY}"]


def test_a_cell_that_fails_leaves_no_kernel(place: Place) -> None:
    notebook_in(place.folder, nbformat.v4.new_code_cell("1 / 0"))
    done = place.program("with_nbclient.py")
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
    eventually(lambda: not place.kernels(), what="the client's kernel ended")


def test_vs_code(place: Place) -> None:
    """Send the requests of VS Code's Jupyter extension for an "existing Jupyter server" at URL?token=TOKEN.

    The requests follow the extension's source of July 2026. The extension asks whether the server requires a password
    (``jupyterPasswordConnect.ts``), and does everything else with JupyterLab's own client. The test uses the real
    client with the extension's settings, since VS Code itself cannot run here.
    """
    if not (LAB / "node_modules" / "@jupyterlab" / "services").exists():
        pytest.skip("needs JupyterLab's client (bin/test installs it)")
    # With a token it needs no password, whatever these two requests return.
    keep = {"Connection": "keep-alive"}
    assert httpx.get(place.url, headers=keep, follow_redirects=True, timeout=60).status_code == 200
    assert httpx.get(f"{place.url}tree?", headers=keep, timeout=60).status_code == 302
    code = "import os; print(6 * 7, os.environ['SLURM_CLUSTER_NAME'])"
    done = place.program(
        str(CHECKOUT / "tests" / "support" / "vscode.mjs"), code, by=install.node(Path(sys.executable))
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"42 {FACTORY}"
    asked = re.findall(r"^ASKED (\w+) (\S+)$", done.stderr, re.MULTILINE)
    [socket] = [address for method, address in asked if method == "WS"]
    assert socket.endswith("&token=TOKEN")  # also in the header, which is what counts
    eventually(lambda: not place.kernels(), what="the client's kernel ended")
    assert place.token not in place.job_log()


def test_a_token_in_the_address_is_refused_unless_the_owner_allows_it(place: Place) -> None:
    kernel = place.request("POST", "api/kernels", json={"name": "python3"}).json()["id"]
    address = f"{place.url.replace('http', 'ws', 1)}api/kernels/{kernel}/channels"
    with pytest.raises(InvalidStatus) as refused, connect(f"{address}?token={place.token}", open_timeout=60):
        pass
    assert refused.value.response.status_code == 403
    assert refused.value.response.body.decode() == REFUSAL
    with connect(address, additional_headers={"Authorization": f"token {place.token}"}, open_timeout=60):
        pass
    assert place.request("DELETE", f"api/kernels/{kernel}").status_code == 204


def test_jupyter_kernel_client_as_its_own_documentation_has_it(open_place: Place) -> None:
    assert open_place.ran("as_documented.py") == "42\n"


def test_an_allowed_token_opens_kernels_and_nothing_else(open_place: Place) -> None:
    assert httpx.get(f"{open_place.url}api/kernels?token={open_place.token}", timeout=60).status_code == 403
    # redirected to the login
    assert httpx.get(f"{open_place.url}lab?token={open_place.token}", timeout=60).status_code == 302
    kernel = open_place.request("POST", "api/kernels", json={"name": "python3"}).json()["id"]
    address = f"{open_place.url.replace('http', 'ws', 1)}api/kernels/{kernel}/channels"
    with pytest.raises(InvalidStatus) as refused, connect(f"{address}?token=nobodys", open_timeout=60):
        pass
    assert refused.value.response.status_code == 403
    assert open_place.request("DELETE", f"api/kernels/{kernel}").status_code == 204


def test_no_log_holds_a_token_of_an_address(open_place: Place) -> None:
    """Failed requests are tested, too.

    They fail in the session (unknown kernel, a handler's error), or at proxy and hub, for a person without a session.
    """
    gateway, token = open_place.gateway, open_place.token
    path = f"/user/{open_place.user}/"
    address = f"{open_place.url.replace('http', 'ws', 1)}api/kernels/{uuid.uuid4()}/channels?token={token}"
    with pytest.raises(InvalidStatus), connect(address, open_timeout=60):
        pass
    for asked in ("api/contents/nothing.txt", "api/kernels", "nowhere"):
        httpx.get(f"{open_place.url}{asked}?token={token}", timeout=60)
        open_place.request("GET", f"{asked}?token={token}")
    of_session = open_place.job_log()
    assert token not in of_session
    assert "nothing.txt" in of_session  # its failed requests are in the log
    other = gateway.make_user()  # a person without a session
    for who in (path, f"/user/{other}/"):
        httpx.get(f"{gateway.root}{who}nowhere?token={token}", timeout=60)
    socket = f"{gateway.root.replace('http', 'ws', 1)}/user/{other}/api/kernels/{uuid.uuid4()}/channels?token={token}"
    with pytest.raises(InvalidStatus), connect(socket, open_timeout=60):
        pass
    httpx.get(f"{gateway.root}/services/factories/api/nowhere?token={token}", timeout=60)
    httpx.get(f"{gateway.hub}/nowhere?token={token}", timeout=60)
    logs = sorted(gateway.path.parent.glob("log/*"))
    assert {log.name.partition(".")[0] for log in logs} >= {"hub", "link", "proxy"}
    assert [log.name for log in logs if token in log.read_text(errors="replace")] == []


def test_notebook_7(place: Place) -> None:
    answer = place.request("GET", "tree")
    assert answer.status_code == 200, answer.text
    assert '"notebookPage": "tree"' in answer.text
