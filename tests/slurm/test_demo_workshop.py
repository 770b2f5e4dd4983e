"""A real start of ``bin/demo --workshop``, with all that ``demo.json`` and the greeting promise.

A stranger joins the workshop with the code, and the trainer's room shows the stranger's seat.
"""

from __future__ import annotations

import email
import email.policy
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import PORTS, started
from tests.support.gateway import TRUST, Gateway, eventually

pytestmark = pytest.mark.slurm
SEATS = 8
MAIL = "zoe@example.org"
PLACES = ["it4lia", "brainpp"]


@pytest.fixture(scope="module")
def gateway(demo_folder: Path) -> Iterator[Gateway]:
    """Start a demo with a workshop at two factories."""
    folder = demo_folder.with_name("tested-workshop")
    yield from started(None, folder, PORTS["base_url"], "--workshop", "--factories", ",".join(PLACES))


class TrainersApi:
    """The workshop's API, with the token of its trainer."""

    def __init__(self, gateway: Gateway) -> None:
        self._url = f"{gateway.root}/services/workshops/api/workshops/{gateway.demo['workshop']['slug']}"
        self._headers = {"Authorization": f"Bearer {gateway.demo['trainer']['token']}"}

    def get(self, path: str = "") -> Any:
        answer = httpx.get(f"{self._url}{path}", headers=self._headers, timeout=60, verify=TRUST)
        assert answer.status_code == 200, answer.text
        return answer.json()


def digits(mailbox: Path) -> str:
    """Return the one-time code of the newest mail to the stranger; "" if there is none."""
    mails = [email.message_from_bytes(one.read_bytes(), policy=email.policy.default) for one in mailbox.glob("*.eml")]
    mine = sorted((one for one in mails if one["To"] == MAIL), key=lambda one: str(one["Date"]))
    found = [code[0] for one in mine if (code := re.match(r"\d{8}\b", str(one["Subject"])))]
    return found[-1] if found else ""


class Stranger:
    """The browser (without scripts) of a person whom neither the hub nor a factory knows."""

    def __init__(self, page: str) -> None:
        self._http = httpx.Client(timeout=60, verify=TRUST, follow_redirects=True)
        self.page = self._http.get(page)

    def send(self, step: str, **fields: str) -> None:
        """Send the form of a step; if the form has a box to accept terms, tick the box."""
        (form,) = [one for one in re.findall(r"<form.*?</form>", self.page.text, re.S) if f'value="{step}"' in one][:1]
        action = html.unescape(re.findall(r'action="([^"]*)"', form)[0])
        fields["_xsrf"] = re.findall(r'name="_xsrf" value="([^"]*)"', form)[0]
        if box := re.findall(r'id="accept" name="accept" value="([^"]*)"', form):
            fields["accept"] = html.unescape(box[0])
        self.page = self._http.post(str(self.page.url.join(action)), data={"step": step, **fields})


def test_the_demo_has_a_trainer_a_code_and_eight_seats(gateway: Gateway) -> None:
    trainer, workshop = gateway.demo["trainer"], gateway.demo["workshop"]
    assert gateway.api("GET", "/user", trainer["token"]).json()["name"] == trainer["name"]
    greeting = (gateway.path.parent / "greeting.txt").read_text()
    assert f"Workshop: {workshop['join_url']}, code {workshop['code']}, led by {trainer['name']}" in greeting
    assert f"{trainer['name']:6} {trainer['password']}" in greeting

    shown = TrainersApi(gateway).get()
    assert (shown["state"], shown["seats"], shown["role"]) == ("open", SEATS, "lead")
    assert [one["factory"] for one in shown["places"]] == PLACES
    seats = TrainersApi(gateway).get("/room")["seats"]
    assert [(one["seat"], one["person"]) for one in seats] == [(number, None) for number in range(1, SEATS + 1)]

    with httpx.Client(base_url=gateway.root, timeout=60, verify=TRUST, follow_redirects=True) as browser:
        xsrf = re.findall(r'name="_xsrf" value="([^"]*)"', browser.get("/hub/login").text)[0]
        form = {"username": trainer["name"], "password": trainer["password"], "_xsrf": xsrf}
        browser.post("/hub/login", data=form)
        page = browser.get(f"/hub/workshops/{workshop['slug']}")
        assert (page.status_code, 'data-state="open"' in page.text) == (200, True)


def test_a_stranger_joins_with_the_code_and_their_seat_comes_up(gateway: Gateway) -> None:
    workshop, mailbox = gateway.demo["workshop"], Path(gateway.demo["mailbox"])
    stranger = Stranger(workshop["join_url"])
    stranger.send("code", code=workshop["code"], mail=MAIL)
    code = eventually(lambda: digits(mailbox), what="the one-time code is mailed")
    stranger.send("join", digits=code, name="Zoe")
    assert stranger.page.status_code == 200, stranger.page.text

    def seat() -> dict[str, Any]:
        found: dict[str, Any] = TrainersApi(gateway).get("/room")["seats"][0]
        return found if found["state"] in ("running", "ended") else {}

    mine = eventually(seat, 120, what="the seat runs")
    assert (mine["state"], mine["factory"], mine["name"]) == ("running", PLACES[0], "Zoe")
    assert mine["person"].startswith("guest.zoe.")

    gateway.stop(mine["person"])
    gateway.stopped(mine["person"])

    def settled() -> bool:
        return [one["state"] for one in TrainersApi(gateway).get("/seats")["seats"]] in (["running"], ["over"])

    eventually(settled, what="the service knows of the session, also if that ended before it was noticed")
    assert gateway.session(mine["person"]) is None  # no second one
