"""The poller of a factory in its site: the effects of answers and failures, and the frequency of its questions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from factorycommon.models import Job, JobState, PendingPhase
from factorylink.errors import Expired, FactoryError, Misread, Refused, Unreachable
from factorylink.site import job_orders, job_poller
from factorylink.site.site import Site
from factorylink.util import rate_limiter
from tests.unit import site_fakes as fakes
from tests.unit.site_fakes import FakeTransport, job, request


async def test_an_answer_is_stored_and_sent_to_listeners(site: Site, transport: FakeTransport) -> None:
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
        await asyncio.wait_for(site.ask_jobs_now(), 10)  # and not only after the 20 s of silence
    assert site.health.state == "unreachable"


async def test_a_slow_scheduler_that_lives_is_waited_for(site: Site, transport: FakeTransport) -> None:
    async def slow() -> str:
        await transport.until(lambda: transport.count("alive") >= 2)
        return "7"

    transport.answers["submit"] = slow
    assert await site.submit("alice", request()) == "7"


async def test_one_late_answer_delays_no_question(
    site: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But a scheduler whose answers are usually late is asked less often."""
    answer_seconds = 0.0
    pauses: list[float] = []
    interval = rate_limiter.interval

    def note(awaited: rate_limiter.Awaited) -> float:
        pauses.append(interval(awaited))
        return pauses[-1]

    async def answer() -> list[Job]:
        await asyncio.sleep(answer_seconds)
        return []

    async def pause_after_an_answer() -> float:
        await site.ask_jobs_now()
        pauses.clear()
        site.expect(True)
        while not pauses:
            await asyncio.sleep(0)
        return pauses[-1]

    monkeypatch.setattr(rate_limiter, "interval", note)
    transport.answers["jobs"] = answer
    await site.start()
    for _ in range(2):
        await site.ask_jobs_now()
    answer_seconds = 0.5
    assert await pause_after_an_answer() == rate_limiter.QUICK
    assert await pause_after_an_answer() >= 4 * answer_seconds


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[rate_limiter.Awaited]:
    """Return a list to which the poller's facts are appended when it computes a pause."""
    facts: list[rate_limiter.Awaited] = []
    interval = rate_limiter.interval

    def note(awaited: rate_limiter.Awaited) -> float:
        facts.append(awaited)
        return interval(awaited)

    monkeypatch.setattr(rate_limiter, "interval", note)
    return facts


async def unchanged_after_an_answer(site: Site, noted: list[rate_limiter.Awaited]) -> int:
    """Return what the poller counts as unchanged answers after one more answer."""
    noted.clear()
    await site.ask_jobs_now()
    while not noted:
        await asyncio.sleep(0)
    return noted[-1].unchanged


async def test_unchanged_answers_are_counted_after_a_burst_of_events(
    site: Site, transport: FakeTransport, noted: list[rate_limiter.Awaited], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limiter, "AT_A_TIME", 600.0)
    waiting = [job(str(id)) for id in range(20)]
    transport.answers["jobs"] = waiting
    await site.start()
    assert [await unchanged_after_an_answer(site, noted) for _ in range(2)] == [0, 0]
    for _ in range(rate_limiter.MANY_EVENTS):
        site.expect(True)
    assert [await unchanged_after_an_answer(site, noted) for _ in range(3)] == [1, 2, 3]
    site.expect(True)  # the burst goes on
    assert await unchanged_after_an_answer(site, noted) == 2
    monkeypatch.setattr(rate_limiter, "AT_A_TIME", 0.0)
    site.expect(True)  # an event alone
    assert [await unchanged_after_an_answer(site, noted) for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ([], [job("1")], False),
        ([job("1")], [job("1"), job("2")], False),
        ([job("1")], [job("1", JobState.RUNNING)], True),
        ([job("1")], [job("1", phase=PendingPhase.NODE_STARTING)], True),
        ([job("1")], [], True),
        ([], [job("1", JobState.RUNNING)], True),
        ([job("1", JobState.RUNNING)], [job("1", JobState.RUNNING)], False),
        ([job("1", JobState.RUNNING)], [job("1", JobState.ENDED)], True),
        ([job("1", JobState.RUNNING)], [], True),
        ([job("1", JobState.ENDED)], [], False),
    ],
)
async def test_an_answer_is_unchanged_if_no_job_started_or_ended(
    site: Site,
    transport: FakeTransport,
    noted: list[rate_limiter.Awaited],
    monkeypatch: pytest.MonkeyPatch,
    before: list[Job],
    after: list[Job],
    changed: bool,
) -> None:
    monkeypatch.setattr(rate_limiter, "AT_A_TIME", 600.0)
    transport.answers["jobs"] = before
    await site.start()
    await unchanged_after_an_answer(site, noted)
    for _ in range(rate_limiter.MANY_EVENTS):
        site.expect(True)
    assert await unchanged_after_an_answer(site, noted) == 1
    transport.answers["jobs"] = after
    assert await unchanged_after_an_answer(site, noted) == (0 if changed else 2)


async def test_answers_count_once_per_round_of_all_accounts(
    transport: FakeTransport, noted: list[rate_limiter.Awaited], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limiter, "AT_A_TIME", 600.0)
    private = fakes.site(transport, private_jobs=True)
    private.private_to(lambda: {"a", "b"}, [])
    transport.answers |= {"jobs/a": [job("1", account="a")], "jobs/b": [job("2", account="b")]}
    try:
        await private.start()
        await unchanged_after_an_answer(private, noted)
        for _ in range(rate_limiter.MANY_EVENTS):
            private.expect(True)
        assert [await unchanged_after_an_answer(private, noted) for _ in range(4)] == [0, 1, 1, 2]
    finally:
        await private.stop()


async def test_concurrent_callers_share_one_question(site: Site, transport: FakeTransport) -> None:
    await site.start()
    await site.ask_jobs_now()
    before = transport.count("jobs")
    await asyncio.gather(*(site.ask_jobs_now() for _ in range(50)))
    assert transport.count("jobs") <= before + 2


async def test_an_answer_asked_for_now_is_newer_than_the_call(site: Site, transport: FakeTransport) -> None:
    gate = asyncio.Event()

    async def stale() -> list[Job]:
        await gate.wait()
        return []

    transport.answers["jobs"] = stale
    await site.start()
    await transport.until(lambda: transport.count("jobs") == 1)
    asked = asyncio.create_task(site.ask_jobs_now())
    await asyncio.sleep(0)
    transport.answers["jobs"] = [job("1")]
    gate.set()
    assert [found.id for found in await asked] == ["1"]


async def test_events_make_the_next_question_earlier(
    site: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limiter, "FAR", 600.0)
    monkeypatch.setattr(rate_limiter, "IDLE", 600.0)
    transport.answers["submit"] = "1"
    await site.start()
    await site.ask_jobs_now()
    before = transport.count("jobs")
    await site.submit("alice", request())
    await transport.until(lambda: transport.count("jobs") >= before + 3)


async def test_a_listener_that_expects_a_change_causes_no_extra_question(site: Site, transport: FakeTransport) -> None:
    transport.answers["jobs"] = [job("1")]

    async def expects(jobs: list[Job], account: str | None) -> None:
        site.expect(True)

    site.on_answer = expects
    await site.start()
    await site.ask_jobs_now()
    began = time.monotonic()
    await asyncio.sleep(3 * rate_limiter.QUICK)
    assert transport.count("jobs") <= 2 + (time.monotonic() - began) // rate_limiter.AWAITED


async def test_a_listener_that_fails_does_not_end_the_watch(site: Site, transport: FakeTransport) -> None:
    async def fails(jobs: list[Job], account: str | None) -> None:
        raise RuntimeError("a fault of the listener")

    site.on_answer = fails
    await site.start()
    await site.ask_jobs_now()
    await site.ask_jobs_now()
    assert site.health.state == "ok"


# --- accounts that see only their own jobs


@pytest_asyncio.fixture
async def private(transport: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(rate_limiter, "QUICK", 0.01)
    monkeypatch.setattr(rate_limiter, "IDLE", 0.01)
    monkeypatch.setattr(rate_limiter.QuestionRateLimiter, "SECONDS_FEW", 0.01)
    made = fakes.site(transport, private_jobs=True)
    yield made
    await made.stop()


async def test_each_account_is_asked_for_its_own(private: Site, transport: FakeTransport) -> None:
    told: dict[str | None, list[str]] = {}

    async def tell(jobs: list[Job], account: str | None) -> None:
        told[account] = [found.id for found in jobs]

    private.on_answer = tell
    private.private_to(lambda: {"a", "b"}, ["z"])
    both = [job("1", account="a"), job("2", account="b")]  # the site shows more than the configuration says
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


async def test_without_sessions_the_watcher_asks_and_the_answer_is_ignored(
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


async def test_callers_that_wait_are_released_at_the_end(site: Site, transport: FakeTransport) -> None:
    await site.start()
    await site.ask_jobs_now()
    transport.answers["jobs"] = None  # no answer
    before = transport.count("jobs")
    asked = asyncio.create_task(site.ask_jobs_now())
    await transport.until(lambda: transport.count("jobs") > before)
    again = asyncio.create_task(site.ask_jobs_now())
    await asyncio.sleep(0)
    await site.stop()
    done, _ = await asyncio.wait({asked, again}, timeout=60)
    assert done == {asked, again}


async def test_an_account_that_never_answers_costs_its_turn_a_limited_time(
    private: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question by id is not answered either."""
    monkeypatch.setattr(job_poller, "ACCOUNT_SECONDS", 0.2, raising=False)
    told: dict[str | None, list[str]] = {}

    async def tell(jobs: list[Job], account: str | None) -> None:
        told[account] = [found.id for found in jobs]

    private.on_answer = tell
    private.private_to(lambda: {"a", "b", "c"}, [])
    private.knows_ids(lambda account: ["3"] if account == "c" else [])
    transport.answers |= {"jobs/a": None, "jobs/b": [job("2", account="b")], "jobs/c": [], "by id/c": None}
    async with asyncio.timeout(60):
        await private.start()
        await transport.until(lambda: transport.asked_as.count(("jobs", "c")) >= 3)
        await transport.until(lambda: transport.asked_as[-1] == ("jobs", "a"))
    assert private.health.state == "ok"
    assert told == {"b": ["2"], "c": []}


@pytest.mark.parametrize("error", [Unreachable("mine"), Misread("mine")])
async def test_an_account_s_words_are_not_the_factory_s(
    private: Site, transport: FakeTransport, error: FactoryError
) -> None:
    private.private_to(lambda: {"a"}, ["b"])
    transport.answers |= {"jobs/a": error, "jobs/b": []}
    await private.start()
    await transport.until(lambda: transport.asked_as.count(("jobs", "a")) >= 4)
    assert (private.health.state, private.health.words) == ("ok", None)
    transport.answers["alive"] = Unreachable("nobody there")
    before = transport.count("jobs")
    await transport.until(lambda: transport.count("jobs") >= before + 3)
    assert private.health.state == "unreachable"
    assert private.health.words is not None
    assert "mine" not in private.health.words.model_dump_json()


async def test_a_failed_question_by_id_leaves_its_jobs_unknown(
    site: Site, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_orders, "MOST_IDS", 2)
    answers = iter([Refused("no"), [job("3")], Refused("no"), [job("3")]])

    async def by_id() -> list[Job]:
        told = next(answers)
        if isinstance(told, FactoryError):
            raise told
        return told

    transport.answers["by id"] = by_id
    site.knows_ids(lambda _account: ["1", "2", "3", "4"])
    await site.start()
    assert [found.id for found in await site.ask_jobs_now()] == ["3"]
    assert site.silent == {"1", "2"}
