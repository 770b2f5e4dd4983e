"""``factorygate upgrade``: the order of its steps, its refusals, and its rollback after a failure.

Hub and link are scripted here; tests/faults/test_upgrade.py upgrades a gateway of the recorded release."""

from __future__ import annotations

import pwd
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from factorylink.ledger import migrations
from factoryoperator import restore, upgrade
from factoryoperator.restore import opened
from factoryoperator.upgrade import UpgradeError
from tests.unit.test_check import Configured
from tests.unit.test_check_tls import separate
from tests.unit.test_check_workshops import add_workshops
from tests.unit.test_store_schemas import BEFORE_NAMES_OF_SERVERS, head_of_installed, old, set_step, step
from tests.unit.upgrade_world import ADAS, CLUSTER, GRACES, NEW, OLD, World, session

__all__ = ["old", "separate"]  # fixtures

ORDER = [f"stop hub {OLD}", f"stop link {OLD}", f"start link {NEW}", f"start hub {NEW}"]
BACK = [f"stop hub {NEW}", f"stop link {NEW}", f"start link {OLD}", f"start hub {OLD}"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Make a machine with two releases whose stores have the same tables."""
    (tmp_path / "gateway").mkdir()
    made = World(tmp_path, Configured(tmp_path / "gateway"))
    yield made
    made.units.end()


@pytest.fixture
def older(tmp_path: Path, old: Configured) -> Iterator[World]:
    """Make a machine with two releases, of which the new one changes the tables of all stores."""
    made = World(tmp_path, old)
    yield made
    made.units.end()


@pytest.fixture
def apart(tmp_path: Path, separate: Configured) -> Iterator[World]:
    """Make a machine with two releases, on which hub and link authenticate each other by certificates."""
    made = World(tmp_path, separate)
    yield made
    made.units.end()


def steps(world: World) -> list[object]:
    folder = world.configured.folder
    with closing(sqlite3.connect(folder / "hub" / "people.sqlite")) as names:
        version = names.execute("PRAGMA user_version").fetchone()[0]
    return [step(folder / "hub" / "jupyterhub.sqlite"), version, step(folder / "link" / "ledger.sqlite")]


BEFORE = [BEFORE_NAMES_OF_SERVERS, 0, "0009"]
AFTER = [head_of_installed(), 1, migrations.head()]


def test_hub_and_link_are_taken_to_the_new_release_and_the_proxy_goes_on(world: World) -> None:
    world.upgrade.to(world.new)
    assert world.units.did == ORDER
    assert "Stopping hub and link; sessions continue." in world.said
    assert world.current == NEW
    (backup,) = world.backups.iterdir()
    with opened(backup) as found:
        assert any(kept.what == "link.yaml" for kept in found.manifest.stores)
    assert not world.asked
    assert world.said[-1] == f"Release {NEW} is in use. 2 sessions continue. The backup is {backup}."
    assert not (world.layout.root / "upgrade.json").exists()
    world.units.did.clear()
    world.upgrade.to(world.new)
    assert world.said[-1] == f"Release {NEW} is in use already."
    assert world.units.did == []


def test_a_release_with_another_proxy_starts_it_anew(world: World) -> None:
    world.upgrade.to(world.make(NEW, proxy="another"))
    assert world.units.did == [*ORDER[:2], f"stop proxy {NEW}", *ORDER[2:], f"start proxy {NEW}"]


def test_a_hub_with_a_certificate_is_asked_with_one(apart: World) -> None:
    apart.upgrade.to(apart.new)
    assert apart.units.did == ORDER
    assert "2 sessions continue" in apart.said[-1]
    (apart.configured.folder / "tls" / "hub" / "ca.crt").unlink()
    with pytest.raises(UpgradeError, match=r"ca\.crt"):
        apart.upgrade.to(apart.old)


def test_a_host_of_the_hub_alone_has_no_link_to_start(apart: World) -> None:
    apart.units.parts = ("hub",)
    replace(apart.upgrade, link=None).to(apart.make(NEW, proxy="another"))
    assert apart.units.did == [f"stop hub {OLD}", f"start hub {NEW}"]
    assert apart.current == NEW


def test_a_host_of_the_link_alone_has_no_hub_to_start(apart: World) -> None:
    replace(apart.upgrade, hub=None).to(apart.new)
    assert apart.units.did == [f"stop link {OLD}", f"start link {NEW}"]
    assert "Stopping link; sessions continue." in apart.said
    assert "2 sessions continue" in apart.said[-1]


def test_all_parts_that_are_stopped_are_named(world: World) -> None:
    add_workshops(world.configured)
    for version in (OLD, NEW):
        world.units.scripts[version].fails["hub"] = "no such module"
    with pytest.raises(UpgradeError) as failed:
        world.upgrade.to(world.new)
    assert world.units.did[:3] == [f"stop {part} {OLD}" for part in ("hub", "workshops", "link")]
    assert "Stopping hub, workshops service and link; sessions continue." in world.said
    assert "By hand: stop hub, workshops service and link, let " in str(failed.value)
    assert str(failed.value).endswith("and start link, workshops service and hub")


def test_old_stores_are_migrated_after_a_question_and_a_copy(older: World) -> None:
    older.answer = False
    with pytest.raises(UpgradeError, match="Nothing was changed"):
        older.upgrade.to(older.new)
    (question,) = older.asked
    assert "the tables of the hub's database and who has which name and the ledger" in question
    assert older.units.did == []
    assert not older.backups.exists()
    older.answer = True
    older.upgrade.to(older.make(NEW, checks=True))
    assert steps(older) == AFTER
    assert older.units.did == ORDER
    assert older.current == NEW


def lose_a_session(world: World) -> str:
    world.units.scripts[NEW].sessions.pop(0)
    return f"session {ADAS} of ada: the link does not know it any more"


def end_a_session(world: World) -> str:
    world.units.scripts[NEW].sessions[0] |= {"state": "ended", "end_reason": "failed"}
    return f"session {ADAS} of ada: it ended (failed)"


def submit_again(world: World) -> str:
    world.units.scripts[NEW].sessions[1] |= {"job": "9"}
    return f"session {GRACES} of grace: it had the job 8, and has 9"


def lose_a_door(world: World) -> str:
    world.units.scripts[NEW].sessions[0] |= {"reachable": False}
    return f"session {ADAS} of ada: its notebook cannot be reached"


def forget_a_server(world: World) -> str:
    world.units.scripts[NEW].ready.clear()
    return "the server ada/: the hub does not show it as ready"


def lose_a_cluster(world: World) -> str:
    world.units.scripts[NEW].clusters.clear()
    return f"cluster {CLUSTER} of ada: the link does not know it any more"


def break_the_hub(world: World) -> str:
    world.units.scripts[NEW].fails["hub"] = "factorygate-hub.service is failed: no such module"
    return "no such module"


@pytest.mark.parametrize(
    "spoil",
    [lose_a_session, end_a_session, submit_again, lose_a_door, forget_a_server, lose_a_cluster, break_the_hub],
)  # fmt: skip
def test_an_upgrade_after_which_something_is_missing_is_undone(spoil: Callable[[World], str], world: World) -> None:
    why = spoil(world)
    with pytest.raises(UpgradeError) as failed:
        world.upgrade.to(world.new)
    assert why in str(failed.value)
    assert f"It was undone: release {OLD} runs again" in str(failed.value)
    assert world.units.did == [*ORDER, *BACK]
    assert world.current == OLD
    assert not (world.layout.root / "upgrade.json").exists()


def test_stores_that_were_migrated_are_put_back_when_an_upgrade_is_undone(older: World) -> None:
    lose_a_session(older)
    with pytest.raises(UpgradeError, match="It was undone"):
        older.upgrade.to(older.new)
    assert older.units.did == [*ORDER, *BACK]
    assert (older.current, steps(older)) == (OLD, BEFORE)


def test_a_session_that_ended_by_itself_meanwhile_stops_no_upgrade(world: World) -> None:
    world.units.scripts[NEW].sessions[0] |= {"state": "ended", "end_reason": "walltime"}
    world.units.scripts[NEW].ready.clear()
    world.units.scripts[NEW].clusters[0] |= {"state": "ended"}
    world.units.scripts[NEW].sessions.append(session("d" * 32, "emmy"))  # and another session started
    world.upgrade.to(world.new)
    assert world.current == NEW


def test_many_clusters_that_ended_meanwhile_stop_no_upgrade(world: World) -> None:
    ids = [f"{index:032x}" for index in range(12)]
    for version, state in ((OLD, "live"), (NEW, "ended")):
        clusters = world.units.scripts[version].clusters
        clusters[:] = [clusters[0] | {"id": one, "state": state} for one in ids]
    world.upgrade.to(world.new)
    assert world.current == NEW


def test_a_migration_that_fails_is_undone(older: World) -> None:
    set_step(older.configured.folder / "hub" / "jupyterhub.sqlite", "be8ecf03ddac")  # its next step will fail
    with pytest.raises(UpgradeError, match=r"hub's database.*could not be migrated.*It was undone"):
        older.upgrade.to(older.new)
    assert older.units.did == [*ORDER[:2], f"stop hub {OLD}", f"stop link {OLD}", *BACK[2:]]
    assert steps(older) == ["be8ecf03ddac", *BEFORE[1:]]


def test_stores_that_were_migrated_before_another_failed_are_put_back(older: World) -> None:
    with closing(sqlite3.connect(older.configured.folder / "link" / "ledger.sqlite")) as ledger:
        ledger.execute("ALTER TABLE charges RENAME TO lost")  # the ledger comes after the hub's database
    with pytest.raises(UpgradeError, match=r"(?s)could not be migrated.*It was undone"):
        older.upgrade.to(older.new)
    assert any(line.startswith("Migrating the hub's database from step") for line in older.said)
    assert (older.current, steps(older)) == (OLD, BEFORE)


@pytest.mark.parametrize("order", [ORDER[1], ORDER[3]])
def test_an_upgrade_that_was_broken_off_is_undone_by_the_next_one(order: str, world: World) -> None:
    break_off(world, order)
    world.upgrade.to(world.new)
    assert f"An upgrade from {OLD} to {NEW} was broken off. It is undone first." in world.said
    assert world.units.did[-6:] == [f"start link {OLD}", f"start hub {OLD}", *ORDER]
    assert world.current == NEW


def test_stores_of_an_upgrade_that_was_broken_off_are_put_back(older: World) -> None:
    break_off(older, ORDER[2])
    assert steps(older) == AFTER
    older.answer = False  # the next upgrade is declined
    with pytest.raises(UpgradeError, match="Nothing was changed"):
        older.upgrade.to(older.new)
    assert (older.current, steps(older)) == (OLD, BEFORE)


def break_off(world: World, order: str) -> None:
    world.units.breaks_at = order
    with pytest.raises(SystemExit):
        world.upgrade.to(world.new)
    assert (world.layout.root / "upgrade.json").exists()
    world.units.breaks_at = ""
    world.units.did.clear()


def test_an_upgrade_can_be_taken_back_later(older: World) -> None:
    older.upgrade.to(older.new)
    older.units.did.clear()
    older.answer = False
    with pytest.raises(UpgradeError, match="Nothing was changed"):
        older.upgrade.back()
    assert "what was written since is lost" in older.asked[-1]
    assert older.units.did == []
    older.answer = True
    older.upgrade.back()
    assert older.units.did == BACK
    assert (older.current, steps(older)) == (OLD, BEFORE)
    with pytest.raises(UpgradeError, match="There is no upgrade to take back"):
        older.upgrade.back()


def test_an_upgrade_is_taken_back_though_files_that_changed_are_read_only(
    older: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    older.upgrade.to(older.new)
    changed = [older.configured.folder / name for name in ("hub.yaml", "link.yaml")]
    for file in changed:
        file.write_text(f"{file.read_text()}# changed since the upgrade\n")
    monkeypatch.setattr(restore, "_is_read_only", lambda target: target in changed)
    older.upgrade.back()
    assert (older.current, steps(older)) == (OLD, BEFORE)
    assert all(file.read_text().endswith("# changed since the upgrade\n") for file in changed)


def test_an_upgrade_is_not_taken_back_if_a_database_is_read_only(older: World, monkeypatch: pytest.MonkeyPatch) -> None:
    older.upgrade.to(older.new)
    monkeypatch.setattr(restore, "_is_read_only", lambda target: target.name == "people.sqlite")
    with pytest.raises(UpgradeError, match=r"could not be brought back: .*read-only file system: .*people\.sqlite"):
        older.upgrade.back()
    assert (older.current, steps(older)) == (NEW, AFTER)


def test_a_release_before_that_refuses_the_configuration_is_not_gone_back_to(world: World) -> None:
    """The test gives a file wrong permissions; in reality, the earlier release may not know one of the keys."""
    world.upgrade.to(world.new)
    world.units.did.clear()
    world.make(OLD, checks=True)
    (world.configured.folder / "proxy-token").chmod(0o644)
    with pytest.raises(UpgradeError, match=r"(?s)must be 0600.*Release 0.1.0 would not start. Nothing was changed"):
        world.upgrade.back()
    assert (world.units.did, world.current) == ([], NEW)
    (world.configured.folder / "proxy-token").chmod(0o600)
    world.upgrade.back()
    assert world.current == OLD


@pytest.mark.root
def test_a_store_is_migrated_by_the_account_that_owns_it() -> None:
    code = "import os, sys; print(os.getuid(), os.getgid(), 0 in os.getgroups()); sys.exit(1)"
    argv = ["/usr/bin/python3", "-c", code]  # every account may run this Python
    nobody = pwd.getpwnam("nobody")
    assert upgrade._as_owner(nobody.pw_uid, argv) == f"{nobody.pw_uid} {nobody.pw_gid} False"
    assert upgrade._as_owner(0, argv).startswith("0 0")
    assert upgrade._as_owner(nobody.pw_uid, ["/usr/bin/true"]) == ""
    assert "no account has this number" in upgrade._as_owner(54321, argv)


# --- what is refused before anything is changed


def untouched(world: World) -> bool:
    return world.units.did == [] and world.current == OLD and not (world.layout.root / "upgrade.json").exists()


def test_a_configuration_that_the_new_release_refuses_is_named(world: World) -> None:
    (world.configured.folder / "proxy-token").chmod(0o644)
    with pytest.raises(UpgradeError, match=r"(?s)must be 0600.*Release 0.2.0 would not start. Nothing was changed"):
        world.upgrade.to(world.make(NEW, checks=True))
    assert untouched(world)


def test_a_store_of_a_newer_release_is_refused(older: World) -> None:
    set_step(older.configured.folder / "hub" / "jupyterhub.sqlite", "9999")
    with pytest.raises(UpgradeError, match=r"step 9999.*Nothing was changed"):
        older.upgrade.to(older.new)
    assert untouched(older)


def test_a_gateway_that_does_not_run_is_not_upgraded(world: World) -> None:
    world.units.stop("link")
    world.units.did.clear()
    with pytest.raises(UpgradeError, match=r"The link does not answer.*Mend release 0.1.0 first.*Nothing was changed"):
        world.upgrade.to(world.new)
    assert untouched(world)


def test_a_backup_that_cannot_be_made_stops_the_upgrade(world: World) -> None:
    world.backups.write_text("a file")
    with pytest.raises(UpgradeError, match="Nothing was changed"):
        world.upgrade.to(world.new)
    assert untouched(world)
