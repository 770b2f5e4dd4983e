"""Help from a real notebook server: what its handlers ask the gateway, and what JupyterLab is told."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.support.lab import TOKEN, in_minutes, lab_server
from tests.unit.test_help_notebook import code, notebook
from tests.unit.test_workshop_help import HOSTILE


async def test_a_person_raises_a_hand_and_lets_helpers_see_a_notebook(tmp_path: Path) -> None:
    async with (
        lab_server(tmp_path, "jupyterlab") as server,
        httpx.AsyncClient(base_url=f"{server.url}/api/factorygate", timeout=30) as http,
    ):
        server.gateway.helped = {"open": True, "hand": {"since": in_minutes(0), "place": 2}}
        assert (await http.put("/hand", json={})).status_code == 403  # without access to the server
        http.headers["Authorization"] = f"token {TOKEN}"
        answer = await http.put("/hand", json={"question": "Why?", "error": "\x1b[31mx"})
        assert (answer.status_code, answer.json()["help"]["hand"]["place"]) == (200, 2)
        assert server.gateway.asked.pop() == ("PUT /hand", {"question": "Why?", "error": "x"})
        shown = (await http.get("/overview")).json()["help"]
        assert (shown["open"], shown["hand"]["place"], shown["look"]) == (True, 2, None)
        for wrong in ({"html": "x"}, {"question": 5}, [], "x" * 100_000):
            assert (await http.put("/hand", content=json.dumps(wrong))).status_code == 400

        (server.root / "work").mkdir()
        (server.root / "work" / "first.ipynb").write_text(notebook(code(source=HOSTILE)))
        (server.root / "broken.ipynb").write_text("{")
        (tmp_path / "outside.ipynb").write_text(notebook())
        server.gateway.helped["look"] = {"file": "first.ipynb", "until": in_minutes(30)}
        for path, status in (
            ("missing.ipynb", 404), ("../outside.ipynb", 404), ("broken.ipynb", 400), ("notes.txt", 400),
        ):  # fmt: skip
            assert (await http.put("/look", json={"path": path})).status_code == status, path
        assert (await http.put("/look", json={"path": "work/first.ipynb", "minutes": 31})).status_code == 400
        assert server.gateway.asked == []
        answer = await http.put("/look", json={"path": "work/first.ipynb"})
        assert answer.json()["help"]["look"]["file"] == "first.ipynb"
        what, body = server.gateway.asked.pop()
        assert (what, body["snapshot"]["file"], body["snapshot"]["cells"][0]["source"]) == (
            "PUT /look", "first.ipynb", HOSTILE,
        )  # fmt: skip
        assert (await http.delete("/look")).status_code == 200
        assert (await http.delete("/hand")).status_code == 200
        assert [one[0] for one in server.gateway.asked] == ["DELETE /look", "DELETE /hand"]
