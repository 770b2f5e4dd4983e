"""Several people at several factories at once; each sees and reaches only their own sessions."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from tests.support.gateway import Gateway, eventually

PEOPLE = ("ada", "grace", "emmy")
PLACES = {"lumi-aif": "gcd-1", "it4lia": "gpu-1", "brainpp": "gpu-1"}


@pytest.fixture(scope="module")
def nine(gateway: Gateway):  # type: ignore[no-untyped-def]
    for person in PEOPLE:
        for factory, size in PLACES.items():
            answer = gateway.start(person, f"at-{factory}", factory=factory, size=size, hours=0.5)
            assert answer.status_code in (201, 202), answer.text
    for person in PEOPLE:
        for factory in PLACES:
            gateway.wait_ready(person, f"at-{factory}")
    yield gateway
    for person in PEOPLE:
        for factory in PLACES:
            gateway.stop(person, f"at-{factory}")
    for person in PEOPLE:
        for factory in PLACES:
            eventually(lambda p=person, f=factory: gateway.session(p, f"at-{f}") is None)  # type: ignore[misc]


def test_each_sees_only_its_own(nine: Gateway) -> None:
    for person in PEOPLE:
        live = [s for s in nine.sessions(person) if s["state"] != "ended" and s["server"].startswith("at-")]
        assert {s["choice"]["factory"] for s in live} == set(PLACES)
        assert {s["user"] for s in live} == {person}


def test_another_persons_url_lets_nobody_in(nine: Gateway) -> None:
    url = f"{nine.root}/user/ada/at-it4lia/api/contents"
    answer = httpx.get(url, headers={"Authorization": f"token {nine.token('grace')}"}, timeout=60)
    assert answer.status_code in (401, 403), answer.status_code
    client = nine.browser_session("grace")
    page = client.get(f"{nine.root}/user/ada/at-it4lia/lab")
    assert page.status_code in (403, 404) or "/hub/" in str(page.url)
    assert "jupyter-config-data" not in page.text
    assert "You may not open this page" in page.text  # the gateway's own page, with the hub's message
    session = nine.session("ada", "at-it4lia")
    assert session is not None
    # the link's port, on the link's machine
    (port,) = [one["url"] for one in nine.everybody() if one["id"] == session["id"]]
    direct = httpx.get(f"{port}/user/ada/at-it4lia/api/contents", timeout=60)
    assert direct.status_code in (401, 403), direct.status_code
    other = {"Authorization": f"Bearer {nine.token('grace')}"}
    answer = httpx.get(f"{nine.root}/services/factories/api/sessions/{session['id']}", headers=other, timeout=60)
    assert answer.status_code in (403, 404)


@pytest.mark.skipif(os.getuid() != 0, reason="site accounts are apart only where the demo runs as root")
def test_another_site_account_reaches_neither_folder_nor_socket(nine: Gateway) -> None:
    where = "import os; print(os.getuid(), os.environ['JUPYTERHUB_API_URL'])"
    uid_ada, url = nine.notebook("ada", "at-it4lia").run(where).split()
    socket_path = os.path.dirname(unquote(urlsplit(url).netloc)) if url.startswith("http+unix") else None
    assert socket_path, url
    attack = f"""
import os, socket
print(os.getuid())
try:
    os.listdir({socket_path!r}); print("listed")
except PermissionError: print("refused")
try:
    s = socket.socket(socket.AF_UNIX); s.connect({socket_path + "/notebook.sock"!r}); print("connected")
except PermissionError: print("refused")
"""
    seen = nine.notebook("grace", "at-it4lia").run(attack).split()
    assert seen[0] != uid_ada
    assert seen[1:] == ["refused", "refused"]
