from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from factorylink import asking, groups, pacing
from factorylink.asking import Breaker, NotAsked
from factorylink.errors import Expired, Gone, Misread, NotLetIn, Refused, Unreachable
from factorylink.models import End, Estimate, Job, JobState, Reservation
from factorylink.schedulers import pbs
from factorylink.schedulers.ask import Output
from factorylink.site import Site
from tests.unit import site_fakes as fakes
from tests.unit.site_fakes import FakeTransport, job, request


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest_asyncio.fixture
async def site(transport: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(asking, "SILENCE", 0.05)
    monkeypatch.setattr(asking, "SILENCE_AGAIN", 0.05)
    made = fakes.site(transport)
    yield made
    await made.stop()


def count(transport: FakeTransport, kind: str) -> int:
    return transport.asked.count(kind)


async def test_an_answer_is_kept_and_told(site: Site, transport: FakeTransport) -> None:
    told: asyncio.Queue[list[Job]] = asyncio.Queue()

    async def tell(jobs: list[Job], account: str | None) -> None:
        assert account is None
        await told.put(jobs)

    site.on_answer = tell
    transport.answers["jobs"] = [job("1"), job("2", JobState.RUNNING)]
    assert site.health.state == "starting"
    await site.start()
    assert [found.id for found in await told.get()] == ["1", "2"]
    assert set(site.jobs) == {"1", "2"}
    assert site.health.state == "ok"
    assert site.health.answered_at is not None


async def test_a_failed_question_changes_only_the_health(site: Site, transport: FakeTransport) -> None:
    transport.answers["jobs"] = [job("1")]
    await site.start()
    await site.ask_jobs_now()
    transport.answers["jobs"] = Unreachable("gave no answer within 20 s.")
    for _ in range(2):
        with pytest.raises(Unreachable):
            await site.ask_jobs_now()
    assert set(site.jobs) == {"1"}
    assert site.health.state == "unreachable"
    assert site.health.words is not None
    assert site.health.words.code == "silent"
    transport.answers["jobs"] = []
    await site.ask_jobs_now()
    assert site.health.state == "ok"
    assert site.health.words is None


async def test_one_failure_of_a_scheduler_that_lives_is_no_outage(site: Site, transport: FakeTransport) -> None:
    await site.start()
    await site.ask_jobs_now()
    transport.answers["jobs"] = Unreachable("gave no answer within 20 s.")
    with pytest.raises(Unreachable):
        await site.ask_jobs_now()
    assert site.health.state == "ok"


async def test_health_is_told_when_it_changes_and_only_then(site: Site, transport: FakeTransport) -> None:
    states: list[str] = []
    site.on_health = lambda: states.append(site.health.state)
    await site.start()
    for _ in range(3):
        await site.ask_jobs_now()
    transport.answers["jobs"] = Unreachable("x")
    for _ in range(3):
        with pytest.raises(Unreachable):
            await site.ask_jobs_now()
    assert states == ["ok", "unreachable"]


async def test_a_scheduler_that_is_down_is_known_at_once(site: Site, transport: FakeTransport) -> None:
    await site.start()
    await site.ask_jobs_now()
    transport.answers |= {"jobs": None, "alive": Unreachable("Slurmctld(primary) at a is DOWN")}
    with pytest.raises(Unreachable, match="DOWN"):
        await asyncio.wait_for(site.ask_jobs_now(), 2)
    assert site.health.state == "unreachable"


async def test_a_slow_scheduler_that_lives_is_waited_for(site: Site, transport: FakeTransport) -> None:
    async def slow() -> str:
        await asyncio.sleep(0.3)
        return "7"

    transport.answers["submit"] = slow
    assert await site.submit("alice", request()) == "7"
    assert count(transport, "alive") >= 2


async def test_submits_share_the_question_whether_it_lives(site: Site, transport: FakeTransport) -> None:
    async def down() -> None:
        await asyncio.sleep(1)  # by then each of them has come to doubt
        raise Unreachable("is DOWN")

    transport.answers |= {"submit": None, "alive": down}
    results = await asyncio.gather(*(site.submit("alice", request()) for _ in range(4)), return_exceptions=True)
    assert all(isinstance(result, Unreachable) for result in results)
    assert count(transport, "alive") == 1


async def test_a_refusal_is_passed_on(site: Site, transport: FakeTransport) -> None:
    transport.answers["submit"] = Refused("invalid partition specified")
    with pytest.raises(Refused, match="partition"):
        await site.submit("alice", request())


async def test_many_who_ask_at_once_share_one_question(site: Site, transport: FakeTransport) -> None:
    await site.start()
    await site.ask_jobs_now()
    before = count(transport, "jobs")
    await asyncio.gather(*(site.ask_jobs_now() for _ in range(50)))
    assert count(transport, "jobs") <= before + 2


async def test_an_answer_asked_for_now_is_newer_than_the_call(site: Site, transport: FakeTransport) -> None:
    gate = asyncio.Event()

    async def stale() -> list[Job]:
        await gate.wait()
        return []

    transport.answers["jobs"] = stale
    await site.start()
    await transport.until(lambda: count(transport, "jobs") == 1)
    asked = asyncio.create_task(site.ask_jobs_now())
    await asyncio.sleep(0)
    transport.answers["jobs"] = [job("1")]
    gate.set()
    assert [found.id for found in await asked] == ["1"]


async def test_what_happens_hastens_the_next_question(site: Site, transport: FakeTransport) -> None:
    transport.answers["submit"] = "1"
    await site.start()
    await site.ask_jobs_now()
    began, before = time.monotonic(), count(transport, "jobs")
    await site.submit("alice", request())
    await transport.until(lambda: count(transport, "jobs") >= before + 3)
    assert time.monotonic() - began < 4 * pacing.QUICK


async def test_expecting_from_inside_an_answer_is_no_event(site: Site, transport: FakeTransport) -> None:
    transport.answers["jobs"] = [job("1")]

    async def expects(jobs: list[Job], account: str | None) -> None:
        site.expect(True)

    site.on_answer = expects
    await site.start()
    await site.ask_jobs_now()
    await asyncio.sleep(3 * pacing.QUICK)
    assert count(transport, "jobs") <= 2


async def test_a_listener_that_fails_does_not_end_the_watch(site: Site, transport: FakeTransport) -> None:
    async def fails(jobs: list[Job], account: str | None) -> None:
        raise RuntimeError("a fault of the listener")

    site.on_answer = fails
    await site.start()
    await site.ask_jobs_now()
    await site.ask_jobs_now()
    assert site.health.state == "ok"


async def test_why_ended_prefers_what_is_at_hand(site: Site, transport: FakeTransport) -> None:
    transport.answers["jobs"] = [job("1", JobState.ENDED, exit_code=3)]
    await site.start()
    await site.ask_jobs_now()
    asked = len(transport.asked)
    end = await site.why_ended("alice", "1")
    assert end is not None
    assert end.exit_code == 3
    assert len(transport.asked) == asked


async def test_why_ended_asks_the_accounting_last(site: Site, transport: FakeTransport) -> None:
    transport.answers |= {"jobs": [], "accounting": [End(job="9", raw_state="TIMEOUT")]}
    end = await site.why_ended("alice", "9")
    assert end is not None
    assert end.raw_state == "TIMEOUT"
    assert await site.why_ended("alice", "10") is None
    transport.answers["accounting"] = Gone("Slurm accounting storage is disabled")
    assert await site.why_ended("alice", "9") is None
    transport.answers |= {
        "accounting": Refused("not on the list"),
        "accounting/alice": [End(job="9", raw_state="FAILED")],
    }
    end = await site.why_ended("alice", "9")
    assert end is not None
    assert end.raw_state == "FAILED"
    assert await site.why_ended("ben", "9") is None  # it is told to neither
    transport.answers["accounting"] = Unreachable("x")
    with pytest.raises(Unreachable):
        await site.why_ended("alice", "9")


async def test_estimates_are_shared_and_remembered(site: Site, transport: FakeTransport) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    transport.answers["estimate"] = Estimate(start=start, basis="test-only", asked_at=datetime.fromtimestamp(0, UTC))
    await site.start()
    await site.ask_jobs_now()
    got = await asyncio.gather(*(site.estimate("alice", request(comment=f"fg:{i}")) for i in range(5)))
    assert {estimate.start for estimate in got} == {start}
    assert got[0].asked_at.year > 2000
    assert count(transport, "estimate") == 1
    await site.estimate("alice", request(walltime=7200))
    assert count(transport, "estimate") == 2


async def test_a_scheduler_that_cannot_be_asked_for_an_estimate_is_not(site: Site, transport: FakeTransport) -> None:
    await site.start()
    await site.ask_jobs_now()
    site.dialect = pbs
    estimate = await site.estimate("alice", request(gpu_syntax="gres", gpu_type=None))
    assert (estimate.start, estimate.basis) == (None, "none")
    assert set(transport.asked) <= {"jobs", "nodes", "waiting"}


async def test_an_estimate_that_fails_says_nothing(site: Site, transport: FakeTransport) -> None:
    transport.answers["estimate"] = Refused("Requested node configuration is not available")
    await site.start()
    await site.ask_jobs_now()
    estimate = await site.estimate("alice", request())
    assert (estimate.start, estimate.basis) == (None, "none")


async def test_an_unreachable_factory_is_asked_for_no_estimate(site: Site, transport: FakeTransport) -> None:
    transport.answers["jobs"] = Unreachable("x")
    await site.start()
    with pytest.raises(Unreachable):
        await site.ask_jobs_now()
    assert (await site.estimate("alice", request())).basis == "none"
    assert count(transport, "estimate") == 0


async def test_positions_come_from_all_waiting_jobs_once_known(site: Site, transport: FakeTransport) -> None:
    transport.answers["jobs"] = [job("5"), job("6")]
    surveyed = asyncio.Event()
    site.survey.on_loads = surveyed.set
    gate = asyncio.Event()

    async def waiting() -> dict[str, list[tuple[int, str]]]:
        await gate.wait()
        return {"gpu": [(9, "1"), (8, "2"), (1, "5"), (1, "6")]}

    transport.answers["waiting"] = waiting
    await site.start()
    await site.ask_jobs_now()
    assert (site.position("5"), site.position("6"), site.position("7")) == (1, 2, None)
    gate.set()
    await surveyed.wait()
    assert (site.position("5"), site.position("6")) == (3, 4)


async def test_what_is_free_is_asked_only_while_somebody_wants_to_know(
    site: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "SURVEY", 0.02)
    monkeypatch.setattr(pacing, "LOOKED", 0.1)
    await site.start()
    await transport.until(lambda: count(transport, "nodes") >= 2)
    await asyncio.sleep(0.2)
    before = count(transport, "nodes")
    await asyncio.sleep(0.1)
    assert count(transport, "nodes") == before
    site.look()
    await transport.until(lambda: count(transport, "nodes") > before)
    assert site.view_loads() == ()
    assert site.fits_now(site.factory.sizes[0]) == 0


async def test_factories_do_not_wait_for_each_other(transport: FakeTransport) -> None:
    other = FakeTransport()
    transport.answers |= {"jobs": None, "alive": None}
    first, second = fakes.site(transport), fakes.site(other)
    await first.start()
    await second.start()
    await asyncio.wait_for(second.ask_jobs_now(), 1)
    assert (first.health.state, second.health.state) == ("starting", "ok")
    await first.stop()
    await second.stop()


# --- a factory that does not answer


async def test_after_some_failures_commands_fail_at_once_until_the_watcher_hears_again(
    site: Site, transport: FakeTransport
) -> None:
    await site.start()
    await site.ask_jobs_now()
    await transport.until(lambda: "reservations" in transport.asked)  # the survey's last: what is answered counts, too
    transport.answers |= {"jobs": Unreachable("no route"), "submit": "7"}
    for _ in range(Breaker.MOST):
        with pytest.raises(Unreachable):
            await site.ask_jobs_now()
    asked = len(transport.asked)
    for order in (site.cancel("alice", ["1"]), site.submit("alice", request()), site.turn()):
        with pytest.raises(NotAsked, match="no route"):
            await order
    assert transport.asked[asked:].count("cancel") == transport.asked[asked:].count("submit") == 0
    transport.answers["jobs"] = []
    await site.ask_jobs_now()
    await site.turn()
    assert await site.submit("alice", request()) == "7"


async def test_a_no_is_an_answer(site: Site, transport: FakeTransport) -> None:
    await site.start()
    transport.answers["submit"] = Refused("Invalid account")
    for _ in range(2 * Breaker.MOST):
        with pytest.raises(Refused):
            await site.submit("alice", request())
    await site.turn()


@pytest.mark.parametrize(
    "trouble", [Expired("over"), NotLetIn("not as alice"), Unreachable("alice's shell says what alice likes")]
)
async def test_an_account_in_trouble_says_nothing_of_the_factory(
    site: Site, transport: FakeTransport, trouble: Unreachable
) -> None:
    await site.start()
    transport.answers |= {"submit/alice": trouble, "submit": "7"}
    for _ in range(2 * Breaker.MOST):
        with pytest.raises(type(trouble)):
            await site.submit("alice", request())
    assert await site.submit("bob", request()) == "7"


# --- where accounts see only their own jobs


@pytest_asyncio.fixture
async def private(transport: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(pacing, "QUICK", 0.01)
    monkeypatch.setattr(pacing, "IDLE", 0.01)
    monkeypatch.setattr(pacing.Budget, "SECONDS_FEW", 0.01)
    made = fakes.site(transport, private_jobs=True)
    yield made
    await made.stop()


async def test_each_account_is_asked_for_its_own(private: Site, transport: FakeTransport) -> None:
    told: dict[str | None, list[str]] = {}

    async def tell(jobs: list[Job], account: str | None) -> None:
        told[account] = [found.id for found in jobs]

    private.on_answer = tell
    private.private_to(lambda: {"a", "b"}, ["z"])
    both = [job("1", account="a"), job("2", account="b")]  # the site shows more than it was said to
    transport.answers |= {"jobs/a": both, "jobs/b": [job("2", account="b")], "jobs/z": []}
    await private.start()
    await transport.until(lambda: ("jobs", "b") in transport.asked_as[3:])
    await private.ask_jobs_now()
    assert told == {"a": ["1"], "b": ["2"], "z": []}
    assert set(private.jobs) == {"1", "2"}
    assert {account for kind, account in transport.asked_as if kind == "jobs"} == {"a", "b", "z"}
    assert transport.asked_as.count(("jobs", "z")) == 1


async def test_one_account_s_trouble_is_not_the_factory_s(private: Site, transport: FakeTransport) -> None:
    private.private_to(lambda: {"a", "b"}, [])
    transport.answers |= {"jobs/a": Expired("over"), "jobs/b": [job("2", account="b")]}
    await private.start()
    await transport.until(lambda: transport.asked_as.count(("jobs", "a")) >= 3)
    assert private.health.state == "ok"
    assert set(private.jobs) == {"2"}


async def test_nobody_s_jobs_are_asked_for_as_the_watcher_and_say_nothing(
    private: Site, transport: FakeTransport
) -> None:
    told: list[str | None] = []

    async def tell(jobs: list[Job], account: str | None) -> None:
        told.append(account)

    private.on_answer = tell
    await private.start()
    await transport.until(lambda: transport.asked_as.count(("jobs", None)) >= 2)
    assert private.health.state == "ok"
    assert not told


# --- reservations


def course(**chosen: tuple[str, ...]) -> Reservation:
    now = datetime.now(UTC)
    return Reservation(id="c", name="c", start=now - timedelta(hours=1), end=now + timedelta(hours=1), **chosen)


async def test_a_reservation_is_for_the_account_that_pays(site: Site) -> None:
    site.survey.reservations = [course(accounts=("p1",))]
    assert [one.id for one in site.reservations("alice", "p1")] == ["c"]
    assert site.reservations("alice", "p2") == site.reservations("alice", None) == ()


async def test_who_is_in_a_group_is_asked_of_the_site_once(
    site: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "PACE", 0.01)
    transport.answers["reservations"] = [course(groups=("school",))]
    transport.answers["groups"] = {"alice": frozenset({"users", "school"})}
    await site.start()
    async with asyncio.timeout(10):
        while not site.survey.reservations:
            await asyncio.sleep(0)
    assert site.reservations("alice", None) == ()  # not known yet
    assert site.reservations("bob", None) == ()
    await transport.until(lambda: transport.asked.count("groups") == 2)
    assert [one.id for one in await site.reservations_now("alice", None)] == ["c"]
    assert await site.reservations_now("bob", None) == ()
    assert [who for kind, who in transport.asked_as if kind == "groups"] == [None, None]  # as the watcher, and once


async def test_a_start_waits_a_moment_to_be_told_the_groups(
    site: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.survey.reservations = [course(groups=("school",))]
    transport.answers["groups"] = frozenset({"school"})
    assert [one.id for one in await site.reservations_now("alice", None)] == ["c"]
    monkeypatch.setattr(groups, "PATIENCE", 0.05)
    transport.answers["groups"] = None  # silence
    assert await site.reservations_now("bob", None) == ()


async def test_groups_that_the_site_does_not_tell_are_none_and_asked_for_again_later(
    site: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.survey.reservations = [course(groups=("school",))]
    transport.answers["groups"] = Refused("id only of an account on the site's list")
    for _ in range(2):
        assert await site.reservations_now("alice", None) == ()
    assert count(transport, "groups") == 1
    monkeypatch.setattr(groups, "AGAIN", -1.0)
    await site.reservations_now("bob", None)
    transport.answers["groups"] = frozenset({"school"})
    assert await site.reservations_now("bob", None) != ()


def test_what_id_prints() -> None:
    ask = groups.question("alice")
    assert ask.argv == ("id", "-Gnz", "--", "alice")
    assert ask.parse(Output("users\0domain users\0", "", 0)) == {"users", "domain users"}
    for cut in ("", "users", "users\0domain us"):
        with pytest.raises(Misread):
            ask.parse(Output(cut, "", 0))
    with pytest.raises(Refused, match="no such user"):
        ask.parse(Output("", "id: 'alice': no such user", 1))
