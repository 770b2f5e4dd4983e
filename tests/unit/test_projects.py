"""Who may use what: people as the hub knows them, projects, and what they become at a factory."""

from __future__ import annotations

from pathlib import Path

from factorylink.ledger import Ledger
from factorylink.models import PersonBody
from factorylink.projects import People


async def test_people_outlive_a_link(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.open()
    people, changed = People(ledger), []
    people.on_change = changed.append
    assert people.get("ada") is None
    both = PersonBody(groups=frozenset({"urn:x:group:a#y", "b"}))
    for told in (both, both, PersonBody(groups=frozenset({"b"}), blocked=True)):
        await people.put("ada", told)
    assert changed == ["ada", "ada"]  # the same again is no change
    await ledger.close()
    await (ledger := Ledger(tmp_path / "ledger.sqlite")).open()
    await (people := People(ledger)).load()
    assert people.get("ada") == PersonBody(groups=frozenset({"b"}), blocked=True)
    await ledger.close()
