"""Maintenances and reservations: the output of Slurm and PBS, and the effect on a person's session."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from factorycommon.models import Choice, Job, JobState, MaintenanceView, NodeState, Reservation, Words
from factorylink.catalogue.loading import ChoiceError, shortened
from factorylink.errors import FactoryError, Misread, Unreachable
from factorylink.explain import explain
from factorylink.schedulers.command import Command, Output
from factorylink.schedulers.complete_lists import MARK
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.schedulers.pbs.reservations import STATES
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.site import maintenance as windows
from factorylink.site.availability import loads
from tests.unit import pbs_output, slurm_output
from tests.unit.fake_factory import SIZE
from tests.unit.fake_factory import factory as other_factory
from tests.unit.site_fakes import factory

SLURM = slurm_output.recorded("reservations.stdout")
PBS = slurm_output.listed(pbs_output.recorded("pbs_rstat").stdout)
NOW = datetime(2026, 11, 25, 11, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-25T{text}Z")


def test_reservations_of_slurm() -> None:
    maintenance, course, later = slurm.reservations().parse(SLURM)
    assert (maintenance.id, maintenance.maintenance) == ("maint1", True)
    assert maintenance.nodes == ("gpu001", "gpu002")
    assert maintenance.end - maintenance.start == 2 * HOUR
    assert (course.maintenance, course.nodes, course.partition) == (False, ("gpu001",), "gpu")
    assert (course.users, course.accounts, course.groups) == (("fg-ada", "fg-emmy"), (), ())
    assert course.start == datetime.fromtimestamp(1795604651, UTC)
    assert later.users == ("root",)


@pytest.mark.parametrize(
    "line",
    [
        # Output of 22.05 with watts, and of 25.11 with partitions, a QOS and a comment.
        "Nodes=n1 NodeCnt=1 CoreCnt=4 Features=a PartitionName=gpu Flags=MAINT,SPEC_NODES TRES=cpu=4 Users=ada,-bob"
        " Groups=(null) Accounts=a1 Licenses=(null) State=ACTIVE BurstBuffer=(null) Watts=n/a MaxStartDelay=(null)",
        "Nodes=n1 NodeCnt=1 CoreCnt=4 Features=a PartitionName=gpu Flags=MAINT,SPEC_NODES   NodeName=n1 CoreIDs=0-3"
        " TRES=cpu=4 AllowedPartitions=(null) QOS=(null) Users=ada,-bob Groups=(null) Accounts=a1 Licenses=(null)"
        " State=ACTIVE BurstBuffer=(null) MaxStartDelay=(null) Comment=Users=eve State=INACTIVE",
    ],
)
def test_reservations_of_other_versions_of_slurm(line: str) -> None:
    text = f"ReservationName=x StartTime=1795604651 EndTime=1795608251 Duration=01:00:00 {line}\n"
    (found,) = slurm.reservations().parse(slurm_output.listed(text))
    assert (found.maintenance, found.users, found.accounts) == (True, ("ada", "-bob"), ("a1",))


def test_reservations_of_pbs() -> None:
    found = {one.name: one for one in pbs.reservations().parse(PBS)}
    assert set(found) == {"course", "maint", "now"}
    assert (found["course"].id, found["course"].users) == ("R17.vm", ("ada", "grace"))
    assert (found["course"].start, found["course"].end) == (at("16:00"), at("17:00"))
    maintenance = found["maint"]
    assert (maintenance.id, maintenance.maintenance, maintenance.nodes) == ("M18.vm", True, ("vm",))
    assert not found["now"].maintenance


@pytest.mark.parametrize(("state", "stands"), STATES.items())
def test_every_state_of_a_reservation(state: str, stands: bool) -> None:
    text = pbs_output.recorded("pbs_rstat").stdout.replace("RESV_RUNNING", state)
    assert ("now" in [one.name for one in pbs.reservations().parse(slurm_output.listed(text))]) is stands


def test_a_reservation_that_a_person_made_forges_no_other() -> None:
    """Recorded output: MAIL contains "x", an empty line, "Resv ID: M99.vm" and "Reserve_Name =
    evil", each on a line."""
    begin, variables, rest = pbs_output.recorded("pbs_rstat").stdout.partition("PBS_O_MAIL=/var/mail/ada")
    assert variables
    text = f"{begin}PBS_O_MAIL=x,,Resv ID: M99.vm,Reserve_Name = evil{rest}"
    found = pbs.reservations().parse(slurm_output.listed(text))
    assert [one.id for one in found if one.maintenance] == ["M18.vm"]


def test_no_reservations_are_an_empty_answer() -> None:
    assert slurm.reservations().parse(slurm_output.listed("No reservations in the system\n")) == []
    assert pbs.reservations().parse(slurm_output.listed("")) == []


@pytest.mark.parametrize(
    ("ask", "output"), [(slurm.reservations(), SLURM), (pbs.reservations(), PBS)], ids=["slurm", "pbs"]
)
def test_a_cut_list_is_misread(ask: Command[list[Reservation]], output: Output) -> None:
    for count in range(len(output.stdout)):
        with pytest.raises(Misread):
            ask.parse(Output(output.stdout[:count], "", 0))


@pytest.mark.parametrize(
    "change",
    [("ReservationName", "Reservation"), ("StartTime=1", "StartTime=x"), ("Users=", "User="), ("\n", "\n\n")],
)
def test_unparsable_reservations_of_slurm_are_misread(change: tuple[str, str]) -> None:
    with pytest.raises(Misread):
        slurm.reservations().parse(slurm_output.listed(SLURM.stdout.removesuffix(f"{MARK}\n").replace(*change, 1)))


@pytest.mark.parametrize(
    "change",
    [
        ("Resv ID", "Resv"), ("RESV_CONFIRMED", "RESV_NEW"), ("reserve_end", "ctime"), ("Wed Nov 25 16", "soon 16"),
        ("queue = ", "queue "), ("reserve_start = ", "x = "),
    ],
)  # fmt: skip
def test_unparsable_reservations_of_pbs_are_misread(change: tuple[str, str]) -> None:
    with pytest.raises(Misread):
        pbs.reservations().parse(slurm_output.listed(PBS.stdout.removesuffix(f"{MARK}\n").replace(*change, 1)))


def test_a_silent_server_does_not_count_as_one_without_reservations() -> None:
    """pbs_rstat ends with 0 even if the server refused."""
    for output in (
        Output(f"{MARK}\n", "pbs_rstat: Server shutting down", 0),
        Output("", "pbs_rstat: cannot connect", 162),
    ):
        with pytest.raises(FactoryError) as caught:
            pbs.reservations().parse(output)
        assert type(caught.value) is Unreachable


# --- the effect


def reservation(**changes: Any) -> Reservation:
    told = {"id": "r", "name": "r", "start": NOW - HOUR, "end": NOW + HOUR, "users": ("ada",)}
    return Reservation.model_validate(told | changes)


@pytest.mark.parametrize(
    ("changes", "yes"),
    [
        ({}, True),
        ({"users": ("bob", "ada")}, True),
        ({"users": ("bob",)}, False),
        ({"users": ()}, False),
        ({"users": (), "accounts": ("p1",)}, True),
        ({"users": (), "accounts": ("P1",)}, True),
        ({"users": (), "accounts": ("p2",)}, False),
        ({"accounts": ("p1",)}, True),
        ({"accounts": ("p2",)}, False),  # both conditions must hold
        ({"users": ("-bob",)}, True),
        ({"users": ("-ada",)}, False),
        ({"users": (), "accounts": ("-p1",)}, False),
        ({"users": (), "groups": ("g",)}, True),
        ({"users": (), "groups": ("h", "g2")}, True),
        ({"users": (), "groups": ("h",)}, False),
        ({"users": (), "groups": ("g", "-g2")}, False),  # a member of an excluded group is excluded
        ({"users": (), "groups": ("-h",)}, False),  # it is not clear who is admitted then
        ({"groups": ("h",)}, False),
        ({"users": (), "accounts": ("p2",), "groups": ("g",)}, False),
        ({"maintenance": True}, False),
        ({"end": NOW}, False),
        ({"start": NOW + HOUR, "end": NOW + 2 * HOUR}, False),
    ],
)
def test_a_reservation_is_offered_to_the_people_in_it(changes: dict[str, Any], yes: bool) -> None:
    def groups() -> frozenset[str]:
        return frozenset({"g", "g2"})

    assert [one.id for one in windows.offered([reservation(**changes)], "ada", "p1", groups, NOW)] == ["r"] * yes


def test_groups_are_asked_for_only_where_a_reservation_hangs_on_them() -> None:
    def groups() -> frozenset[str]:
        raise AssertionError

    by_group = {"users": (), "groups": ("g",)}
    for changes in ({}, by_group | {"end": NOW}, by_group | {"accounts": ("p2",)}, by_group | {"users": ("bob",)}):
        windows.offered([reservation(**changes)], "ada", "p1", groups, NOW)
    with pytest.raises(AssertionError):
        windows.offered([reservation(**by_group)], "ada", "p1", groups, NOW)


def test_without_an_account_the_payer_of_a_job_is_unknown() -> None:
    for accounts in (("p1",), ("-p1",)):
        assert windows.offered([reservation(accounts=accounts)], "ada", None, frozenset, NOW) == ()
    assert windows.offered([reservation()], "ada", None, frozenset, NOW)


def node(name: str, *partitions: str, **changes: Any) -> NodeState:
    has = {"cores": 32, "cores_free": 32, "memory": 1, "memory_free": 1, "gpus": 4, "gpus_free": 4}
    return NodeState.model_validate({"name": name, "partitions": partitions, "usable": True} | has | changes)


def maintenance(*nodes: str, start: datetime = NOW + HOUR) -> Reservation:
    return reservation(maintenance=True, nodes=nodes, start=start, end=start + HOUR)


def test_a_maintenance_closes_the_partitions_that_it_leaves_no_node_of() -> None:
    nodes = [node("n1", "gpu"), node("n2", "gpu", "all"), node("n3", "cpu", "all")]
    found = windows.maintenances(
        [maintenance("n1", "n2"), maintenance("n3", start=NOW + 9 * HOUR), maintenance("n1", start=NOW - 5 * HOUR)],
        nodes, ["gpu", "cpu", "all", "none"], NOW,
    )  # fmt: skip
    assert [(one.closes, one.nodes) for one in found] == [(("gpu",), 2), (("cpu",), 1)]
    assert (windows.closing(found, "cpu"), windows.closing(found, "all")) == (found[1], None)
    (unknown,) = windows.maintenances([maintenance()], nodes, ["gpu", "cpu"], NOW)
    assert unknown.closes == ("gpu", "cpu")


def test_maintenances_at_the_same_time_close_what_they_leave_no_node_of_together() -> None:
    nodes = [node("n1", "gpu"), node("n2", "gpu"), node("n3", "cpu"), node("n4", "cpu")]

    def closed(*announced: Reservation, now: datetime = NOW) -> list[tuple[str, ...]]:
        return [one.closes for one in windows.maintenances(announced, nodes, ["gpu", "cpu"], now)]

    first, second = maintenance("n1"), maintenance("n2", start=NOW + 1.5 * HOUR)
    assert closed(first, second) == [(), ("gpu",)]  # jobs have a node until the second begins
    assert closed(first, second, now=NOW + 1.75 * HOUR) == [(), ("gpu",)]
    assert closed(first, second, now=NOW + 2.25 * HOUR) == [()]  # the first is over
    assert closed(maintenance("n1"), maintenance("n2")) == [("gpu",), ("gpu",)]
    assert closed(maintenance("n1"), maintenance("n2", start=NOW + 2 * HOUR)) == [(), ()]  # one after the other
    assert closed(maintenance("n1", "n2"), maintenance("n3", start=NOW + 1.5 * HOUR)) == [("gpu",), ()]


def test_the_largest_free_size_is_on_one_node() -> None:
    nodes = [node("n1", "gpu", gpus_free=1, cores_free=30), node("n2", "gpu", gpus_free=2, cores_free=3)]
    (load, *_) = loads(factory(), nodes, {})
    assert (load.gpus_free, load.node_gpus_free, load.node_cores_free) == (3, 2, 3)


def test_hours_until() -> None:
    entry = other_factory()
    until = Choice(until=NOW + HOUR / 2)
    assert shortened(entry, until, NOW) == Choice(hours=0.5)
    assert shortened(entry, until.model_copy(update={"hours": 0.25}), NOW).hours == 0.25
    assert shortened(entry, Choice(until=NOW + 99 * HOUR), NOW).hours == SIZE.max_hours
    assert shortened(entry, Choice(hours=3), NOW) == Choice(hours=3)
    with pytest.raises(ChoiceError) as caught:
        shortened(entry, Choice(until=NOW), NOW)
    assert caught.value.field == "until"


def test_a_job_that_waits_for_a_maintenance_says_until_when() -> None:
    job = Job(
        id="1", name="n", account="a", comment="", state=JobState.PENDING, raw_state="PENDING",
        reason="ReqNodeNotAvail,_Reserved_for_maintenance",
    )  # fmt: skip
    window = MaintenanceView(name="m", start=at("13:50"), end=at("17:00"), nodes=1, closes=("gpu",))
    words = explain.pending(job)
    told = explain.before_maintenance(words, window)
    assert "2026-11-25 13:50" in told.what
    assert "2026-11-25 17:00" in told.what
    assert (told.code, told.do) == (words.code, words.do)
    behind = job.model_copy(update={"reason": "Not Running: Job would conflict with reservation or top job"})
    # recorded from a job that would have run into a maintenance
    of_pbs = explain.before_maintenance(explain.pending(behind), window)
    assert (of_pbs.code, of_pbs.what, of_pbs.scheduler) == ("maintenance", told.what, behind.reason)
    assert explain.before_maintenance(words, None) == words
    assert explain.before_maintenance(Words(code="priority", what="x"), window).what == "x"
