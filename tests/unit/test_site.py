"""A factory's site: orders and questions beside the poller's, and a factory that does not answer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from factorycommon.models import End, Estimate, JobState, NodeState, Outcome
from factorylink.errors import Expired, Gone, NotLetIn, Refused, Unreachable
from factorylink.schedulers.batch_script import TEMPLATE
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.site.scheduler_client import CircuitBreaker, NotAsked
from factorylink.site.site import Site
from factorylink.util import rate_limiter
from tests.unit import site_fakes as fakes
from tests.unit.site_fakes import FakeTransport, job, own, request


async def test_submissions_share_one_check_that_the_factory_answers(site: Site, transport: FakeTransport) -> None:
    async def down() -> None:
        await asyncio.sleep(1)  # by then each question has started its check
        raise Unreachable("is DOWN")

    transport.answers |= {"submit": None, "alive": down}
    results = await asyncio.gather(*(site.submit("alice", request()) for _ in range(4)), return_exceptions=True)
    assert all(isinstance(result, Unreachable) for result in results)
    assert transport.count("alive") == 1


async def test_a_link_that_was_killed_goes_on_at_the_pace_of_its_last_minute(site: Site) -> None:
    per_minute = site.access.submits_per_minute
    site.count_earlier([30.0] * per_minute + [70.0, -5.0])  # those of an hour ago, or of a wrong clock, do not count
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(site.turn("alice"), 0.2)


async def test_submissions_of_more_than_a_minute_ago_hold_up_nothing(site: Site) -> None:
    site.count_earlier([rate_limiter.MINUTE + 1] * site.access.submits_per_minute)
    await asyncio.wait_for(site.turn("alice"), 50)


async def test_a_refusal_is_passed_on(site: Site, transport: FakeTransport) -> None:
    transport.answers["submit"] = Refused("invalid partition specified")
    with pytest.raises(Refused, match="partition"):
        await site.submit("alice", request())


async def test_the_reason_of_an_end_comes_from_known_answers_first(site: Site, transport: FakeTransport) -> None:
    transport.answers["jobs"] = [job("1", JobState.ENDED, exit_code=3)]
    await site.start()
    await site.ask_jobs_now()
    asked = len(transport.asked)
    end = await site.why_ended("alice", "1")
    assert end is not None
    assert end.exit_code == 3
    assert len(transport.asked) == asked


async def test_why_ended_asks_the_accounting_last(site: Site, transport: FakeTransport) -> None:
    transport.answers |= {"jobs": [], "accounting": [End(job="9", outcome=Outcome.WALLTIME, raw_state="TIMEOUT")]}
    end = await site.why_ended("alice", "9")
    assert end is not None
    assert end.outcome is Outcome.WALLTIME
    assert await site.why_ended("alice", "10") is None
    transport.answers["accounting"] = Gone("Slurm accounting storage is disabled")
    assert await site.why_ended("alice", "9") is None
    transport.answers |= {
        "accounting": Refused("not on the list"),
        "accounting/alice": [End(job="9", outcome=Outcome.FAILED, raw_state="FAILED")],
    }
    end = await site.why_ended("alice", "9")
    assert end is not None
    assert end.outcome is Outcome.FAILED
    assert await site.why_ended("ben", "9") is None  # neither account may see the job
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
    assert transport.count("estimate") == 1
    await site.estimate("alice", request(walltime=7200))
    assert transport.count("estimate") == 2
    await site.estimate("alice", request(), TEMPLATE + "#SBATCH --licenses=one\n")
    assert transport.count("estimate") == 3


async def test_a_scheduler_without_estimates_is_not_asked_for_one(site: Site, transport: FakeTransport) -> None:
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
    assert transport.count("estimate") == 0


async def test_positions_come_from_all_waiting_jobs_once_known(site: Site, transport: FakeTransport) -> None:
    transport.answers["jobs"] = [job("5"), job("6")]
    surveyed = asyncio.Event()
    site.load_poller.on_loads = surveyed.set
    gate = asyncio.Event()

    async def waiting() -> dict[str, list[tuple[int, str]]]:
        await gate.wait()
        return {"gpu": [(9, "1"), (8, "2"), (1, "5"), (1, "6")]}

    transport.answers["waiting"] = waiting
    await site.start()
    await site.ask_jobs_now()
    assert (site.position("5"), site.position("6"), site.position("7")) == (None, None, None)
    gate.set()
    await surveyed.wait()
    assert (site.position("5"), site.position("6"), site.position("7")) == (3, 4, None)


async def test_the_place_of_a_new_job_is_unknown_until_the_queue_is_asked_early(
    site: Site, transport: FakeTransport
) -> None:
    transport.answers["jobs"] = [job("5")]
    transport.answers["waiting"] = {"gpu": [(1, "5")]}
    surveyed = asyncio.Event()
    site.load_poller.on_loads = surveyed.set
    await site.start()
    await site.ask_jobs_now()
    await surveyed.wait()
    assert site.position("5") == 1
    surveyed.clear()
    others = [(1, str(number)) for number in range(6, 506)]  # jobs that were submitted since
    transport.answers["waiting"] = {"gpu": [(1, "5"), *others, (1, "506")]}
    transport.answers["jobs"] = [job("5"), job("506")]
    await site.ask_jobs_now()
    assert (site.position("5"), site.position("506")) == (1, None)
    async with asyncio.timeout(120):
        while site.position("506") is None:
            await surveyed.wait()
            surveyed.clear()
    assert (site.position("5"), site.position("506")) == (1, 502)
    assert (transport.count("nodes"), transport.count("waiting")) == (1, 2)


async def test_a_job_of_ours_that_was_cancelled_is_ahead_of_nobody(site: Site, transport: FakeTransport) -> None:
    """PBS no longer lists the job, but the stored queue still has it."""
    transport.answers["jobs"] = [job("5"), job("6")]
    transport.answers["waiting"] = {"gpu": [(9, "1"), (1, "5"), (1, "6")]}
    surveyed = asyncio.Event()
    site.load_poller.on_loads = surveyed.set
    await site.start()
    await site.ask_jobs_now()
    await surveyed.wait()
    assert site.position("6") == 3
    transport.answers["jobs"] = [job("6")]
    await site.ask_jobs_now()
    assert (site.position("5"), site.position("6")) == (None, 2)
    await site.ask_jobs_now()
    assert site.position("6") == 2


async def test_a_survey_shows_that_all_nodes_of_a_partition_are_out(site: Site, transport: FakeTransport) -> None:
    assert not site.all_out("gpu")
    amounts: dict[str, Any] = dict.fromkeys(("cores", "cores_free", "memory", "memory_free", "gpus", "gpus_free"), 0)
    transport.answers["nodes"] = [
        NodeState(name="n1", usable=False, partitions=("gpu", "cpu"), **amounts),
        NodeState(name="n2", usable=True, partitions=("cpu",), **amounts),
    ]
    surveyed = asyncio.Event()
    site.load_poller.on_loads = surveyed.set
    await site.start()
    site.look()
    await surveyed.wait()
    assert site.all_out("gpu")
    assert not site.all_out("cpu")
    assert not site.all_out("gpu,cpu")
    assert not site.all_out("of-which-nothing-is-told")


async def test_free_resources_are_asked_for_only_while_needed(
    site: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limiter, "SURVEY", 0.02)
    monkeypatch.setattr(rate_limiter, "LOOKED", 0.1)
    await site.start()
    async with asyncio.timeout(30):
        while transport.count("nodes") < 2:
            site.look()  # repeated, since a busy machine may take all the time of one look for one question
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    before = transport.count("nodes")
    await asyncio.sleep(0.1)
    assert transport.count("nodes") == before
    site.look()
    await transport.until(lambda: transport.count("nodes") > before)
    assert site.view_loads() == ()
    assert site.fits_now(site.factory.sizes[0]) == 0


async def test_factories_do_not_wait_for_each_other(transport: FakeTransport) -> None:
    other = FakeTransport()
    transport.answers |= {"jobs": None, "alive": None}
    first, second = fakes.site(transport), fakes.site(other)
    await first.start()
    await second.start()
    await asyncio.wait_for(second.ask_jobs_now(), 60)  # the first caller waits longer
    assert (first.health.state, second.health.state) == ("starting", "ok")
    await first.stop()
    await second.stop()


# --- a factory that does not answer


async def test_after_some_failures_commands_fail_at_once_until_the_watcher_hears_again(
    site: Site, transport: FakeTransport
) -> None:
    await site.start()
    await site.ask_jobs_now()
    # the survey's last question; only answered questions count
    await transport.until(lambda: "reservations" in transport.asked)
    transport.answers |= {"jobs": Unreachable("no route"), "submit": "7"}
    for _ in range(CircuitBreaker.MOST):
        with pytest.raises(Unreachable):
            await site.ask_jobs_now()
    asked = len(transport.asked)
    for order in (site.cancel("alice", own("alice", "1")), site.submit("alice", request()), site.turn("alice")):
        with pytest.raises(NotAsked, match="no route"):
            await order
    assert transport.asked[asked:].count("cancel") == transport.asked[asked:].count("submit") == 0
    transport.answers["jobs"] = []
    await site.ask_jobs_now()
    await site.turn("alice")
    assert await site.submit("alice", request()) == "7"


async def test_a_refusal_counts_as_an_answer(site: Site, transport: FakeTransport) -> None:
    await site.start()
    transport.answers["submit"] = Refused("Invalid account")
    for _ in range(2 * CircuitBreaker.MOST):
        with pytest.raises(Refused):
            await site.submit("alice", request())
    await site.turn("alice")


@pytest.mark.parametrize(
    "trouble", [Expired("over"), NotLetIn("not as alice"), Unreachable("alice's shell says what alice likes")]
)
async def test_trouble_of_one_account_does_not_make_the_factory_unhealthy(
    site: Site, transport: FakeTransport, trouble: Unreachable
) -> None:
    await site.start()
    transport.answers |= {"submit/alice": trouble, "submit": "7"}
    for _ in range(2 * CircuitBreaker.MOST):
        with pytest.raises(type(trouble)):
            await site.submit("alice", request())
    assert await site.submit("bob", request()) == "7"
