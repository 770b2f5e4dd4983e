"""The pictures of the pages show one state: a factory looks the same on all of them."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

from factorylink.catalogue import catalogue as federation
from tests.support import pictures, workshop_pictures
from tests.unit import page_states
from tests.unit.fake_link import FakeLink


def test_a_factory_is_in_the_same_state_on_every_picture(tmp_path: Path) -> None:
    link = FakeLink(tmp_path / "link.sock")
    pictures.tell_one_state(link)
    known = federation.load(page_states.CATALOGUE).factories
    on_map = {one.id: one for one in link.network.factories}
    for view in link.factories:
        name = pictures.STANDS_FOR[view.id]
        assert view.site == known[name].site
        assert on_map[name].health == view.health
        assert on_map[name].machine == view.site.machine
        assert on_map[name].partitions in ((), view.partitions)
        assert [one.start for one in on_map[name].maintenance] == [one.start for one in view.maintenance]
    offered = {one.id for one in link.network.factories if one.health is not None}
    assert offered == set(pictures.STANDS_FOR.values())
    healths = {view.id: view.health.state for view in link.factories}
    for session in link.sessions.values():
        assert (session.state == "unreachable") == (healths[session.choice.factory] == "unreachable"), session.server


def test_no_picture_names_a_scripted_factory(tmp_path: Path) -> None:
    link = FakeLink(tmp_path / "link.sock")
    pictures.tell_one_state(link)
    told = [*link.factories, link.network, link.checklist, link.ready, *link.sessions.values()]
    for one in told:
        text = json.dumps(one.model_dump(mode="json"))
        assert not [name for name in ("One", "ONE", "TWO", "THREE", "FOUR") if f'"{name}' in text or f" {name}" in text]


def test_the_page_of_pictures_shows_files_that_are_there_and_all_of_the_workshops_pages() -> None:
    docs = Path(__file__).parents[2] / "docs"
    shown = re.findall(r'src="pictures/([^"]+)"', (docs / "pages.md").read_text(encoding="utf-8"))
    assert len(shown) == len(set(shown))
    for name in shown:
        assert (docs / "pictures" / name).read_bytes().startswith(b"\x89PNG\r\n"), name
    wanted = {"-".join(one) + ".png" for one in product(workshop_pictures.NAMES, ("light", "dark"), ("wide", "narrow"))}
    assert wanted <= set(shown)
