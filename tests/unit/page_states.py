"""A scripted link's data for pages that show all their parts: factories in every health, sessions and clusters in all
states."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from unittest.mock import Mock

from playwright.async_api import BrowserContext, Page, expect

from factorycommon.messages import Message
from factorycommon.models import (
    Accelerator,
    AccountView,
    Bounds,
    End,
    EndReason,
    Environment,
    Estimate,
    FactoryOverview,
    FactoryView,
    FailureCount,
    Folder,
    GpuHours,
    Health,
    IdleLimits,
    Job,
    JobState,
    LogLine,
    MaintenanceView,
    NetworkView,
    NodeSize,
    Notice,
    Offer,
    OperatorView,
    Outcome,
    PartitionLoad,
    Price,
    ProjectView,
    ReadyView,
    ReasonCount,
    ReservationView,
    Session,
    SessionBounds,
    SessionState,
    SiteInfo,
    SizeView,
    UsageLine,
    WaitingSession,
)
from factorylink.api.network_view import network as whole_network
from factorylink.catalogue import catalogue as federation
from factorylink.explain import explain
from factorylink.site.offered_factories import OfferedFactories
from tests.unit.checklist_states import fill_checklist
from tests.unit.fake_link import CHOICE, FakeLink
from tests.unit.hub_process import HubProcess, is_stopped

CATALOGUE = Path(__file__).parents[2] / "hub_config" / "factories"
DRAIN = "Closed for cooling work until Monday."


def asked_line(size: str, machine: str) -> Message:
    """Return the first line of a session's log."""
    return Message("asked", "Asked for {size} at {factory}.").format(size=size, factory=machine)


ASKED = asked_line("small", "One")
START = "/hub/spawn/ada"
INSIDE = re.compile("/hub/(?!login)")  # the page to which a login leads
# Names from the catalogue, the scheduler and the person, which are not translated.
DATA = re.compile(
    r"Be kind|No mining|Write to the desk"
    r"|EHPC-AIF-2026(PG|SC)01-(756|001)|factorygate"
    r"|\bada\b|One|Two|Three|Four|ONE|TWO|THREE|FOUR|Kajaani|NVIDIA|A100|GPU(-h|s)?|PyTorch|JAX|x86_64"
    r"|busy|lost|\bup\b|old|done|one|two|sweep|afar|going|quiet|before|closed|English|Deutsch|timed out|Priority"
)
PAYS = "EHPC-AIF-2026PG01-756"
PAGES = {
    "start": START,
    "home": "/hub/home",
    "gone": "/hub/user/ada/nowhere/",
    "project": f"/hub/project/{PAYS}",
    "checklist": "/hub/checklist",
}


@cache
def _shipped() -> federation.Catalogue:
    return federation.load(CATALOGUE, CATALOGUE.parent / "antennas.yaml")


def network(now: datetime) -> NetworkView:
    """Return the data of the map: the shipped catalogue, of which five factories are offered.

    At least one of the five is in each health.
    """
    found = whole_network(OfferedFactories(Mock(), {}, _shipped()))
    silent = explain.unreachable("timed out")
    healths = {
        "lumi-aif": Health(state="ok", since=now, answered_at=now),
        "it4lia": Health(state="unreachable", since=now, words=silent, answered_at=now - timedelta(hours=2)),
        "czai": Health(
            state="draining", since=now - timedelta(hours=1), words=silent.model_copy(update={"what": DRAIN})
        ),
        "jaif": Health(state="starting", since=now),
        "bsc-aif": Health(state="ok", since=now, answered_at=now),
    }
    load = PartitionLoad(name="gpu", gpus_total=1200, gpus_free=31, cores_total=9600, cores_free=4000, pending=214,
                         nodes_out=3, out_since=now - timedelta(days=2))  # fmt: skip
    windows = tuple(
        MaintenanceView(name="", start=now + timedelta(hours=hours), end=now + timedelta(hours=9), nodes=8)
        for hours in (-1, 4)
    )
    return found.model_copy(
        update={
            "factories": tuple(
                one.model_copy(
                    update={
                        "health": healths[one.id],
                        "partitions": () if one.id == "bsc-aif" else (load,),
                        "loads_at": None if one.id == "bsc-aif" else now,
                        "maintenance": {"lumi-aif": windows, "bsc-aif": windows[1:]}.get(one.id, ()),
                    }
                )
                if one.id in healths
                else one
                for one in found.factories
            )
        }
    )


def names() -> list[str]:
    """Return the texts on the map and the status page that no language translates, the longest first.

    These are names, among others of factories, antennas, operators and cities, and a site's own words.
    """
    known = network(datetime.now(UTC))
    found = {one.name for one in (*known.factories, *known.antennas)}
    for one in known.factories:
        found |= {one.machine or "", one.coming or "", one.host, one.city, *(load.name for load in one.partitions)}
    return sorted((found | {DRAIN, "UTC", "JSON", "Server at /user/ada/"}) - {""}, key=len, reverse=True)


def fill(link: FakeLink) -> None:
    """Add data for all pages: factories, projects, checklist, operators' page, and ada's sessions and clusters."""
    _shipped()  # loaded first, since this takes time, and the data below use the present time
    now = datetime.now(UTC)
    link.network = network(now)
    silent = explain.unreachable("timed out")
    link.factories = [
        _factory("one", Health(state="ok", since=now, answered_at=now)),
        _factory("two", Health(state="unreachable", since=now, words=silent, answered_at=now)),
        _factory("three", Health(state="draining", since=now)),
        _factory("four", Health(state="starting", since=now)),
    ]
    link.usage = [
        UsageLine(day=now.date(), project=PAYS, factory="one", person="ada", gpu_seconds=5400, jobs=2),
        UsageLine(
            day=now.date() - timedelta(days=3), project=PAYS, factory="two", person="ada", gpu_seconds=60, jobs=1
        ),
    ]
    link.projects = [
        ProjectView(id="EHPC-AIF-2026PG01-756", title="", mode="playground", role="member", usable=True, granted=5000,
                    spent=100, left=4900, ends=now + timedelta(days=30), factories=("one", "four")),
        ProjectView(id="EHPC-AIF-2026SC01-001", title="", mode="large-scale", role="manager", usable=True, granted=9,
                    spent=8.5, left=0.5, factories=("one",)),
    ]  # fmt: skip
    fill_checklist(link)
    link.operator = operator(now)
    kinds = ("own", "lent", "shared", "missing")
    link.ready = ReadyView(accounts=tuple(
        AccountView(project="EHPC-AIF-2026PG01-756", factory="one", machine="ONE", account=kind) for kind in kinds
    ))  # fmt: skip
    asked = (_line(ASKED),)
    link.add("1" * 32, "ada", created=now, position=3, waits_for=_waits("Priority"), log=asked)
    link.add("2" * 32, "ada", "busy", state=SessionState.RUNNING, created=now, started=now, ready=now, reachable=True,
             ends=now + timedelta(hours=1), last_activity=now - timedelta(minutes=20), node="n1",
             ends_idle=now + timedelta(minutes=40), extend_hours=3.0,
             notice=Notice(kind="walltime", at=now + timedelta(minutes=4), minutes=5))  # fmt: skip
    link.add("3" * 32, "ada", "lost", state=SessionState.UNREACHABLE, before=SessionState.RUNNING, created=now,
             choice={"factory": "two"}, waits_for=explain.unreachable("timed out"))  # fmt: skip
    link.add("4" * 32, "ada", "up", state=SessionState.STARTING, created=now, started=now)
    reason, words = explain.ended(None)
    link.add("5" * 32, "ada", "old", state=SessionState.ENDED, created=now, started=now, ended=now, end_reason=reason,
             end=words, log_tail=("one", "two"), log=asked)  # fmt: skip
    link.add("6" * 32, "ada", "done", state=SessionState.ENDED, created=now, ended=now, end_reason=EndReason.STOPPED)

    hours = GpuHours(spent=3.5, committed=4.5, cap=20, at=now - timedelta(minutes=30), per_hour=4)
    link.add_cluster("a1" * 16, "ada", "sweep", created=now - timedelta(hours=2), session="2" * 32, gpus=2,
                     counts={"running": 2, "pending": 1, "asked": 2, "ended": 7}, gpu_hours=hours,
                     waits_for=_waits("Resources"))  # fmt: skip
    there = CHOICE.model_copy(update={"factory": "two"})
    link.add_cluster("a2" * 16, "ada", "afar", created=now, counts={"unreachable": 3}, wrong=silent, choice=there)
    link.add_cluster("a3" * 16, "ada", "going", created=now, state="ending", counts={"running": 1})
    head = link.add("a4" * 16, "ada", "dask/quiet", state=SessionState.RUNNING, created=now, started=now,
                    ends=now + timedelta(hours=2))  # fmt: skip
    del link.sessions[head.id]  # this session belongs to a cluster, so people do not see it
    link.add_cluster(head.id, "ada", "quiet", created=now, session=head.id, head=head)
    link.add_cluster("a5" * 16, "ada", "before", created=now, state="ended", ended=now, counts={"ended": 4},
                     end=explain.own("cluster-session-over"))  # fmt: skip
    link.add_cluster("a6" * 16, "ada", "closed", created=now, state="ended", ended=now)


def _waits(reason: str) -> object:
    return explain.pending(
        Job(id="1", name="n", account="a", comment="c", state=JobState.PENDING, raw_state="PENDING", reason=reason)
    )


def _line(text: str) -> LogLine:
    return LogLine(at=datetime.now(UTC), text=text)


def _factory(factory: str, health: Health) -> FactoryView:
    now = datetime.now(UTC)
    later = Estimate(start=now + timedelta(hours=3), basis="test-only", asked_at=now)

    projects = ("EHPC-AIF-2026PG01-756", "EHPC-AIF-2026SC01-001") if factory == "one" else ()

    def fitting(name: str) -> tuple[str, ...]:
        return ("base", "other") if name == "full" else ("base",)

    def size(name: str, gpus: int, fits: int, estimate: Estimate | None = None) -> SizeView:
        shape = NodeSize(
            id=name, gpus=gpus, cores=gpus * 8 or 1, memory_gb=60 * max(gpus, 1), partition="p", max_hours=24,
            default_hours=2, billed_as=f"{gpus} GPU-hours per hour" if gpus else "", whole_node=gpus == 4,
        )  # fmt: skip
        label = f"{gpus} x A100 40 GB" if gpus else "no GPU"
        offer = Offer(
            environments=fitting(name), environment=fitting(name)[0], project=next(iter(projects), None),
            hours=Bounds(least=0.25, most=24, preset=2),
        )  # fmt: skip
        price = Price(gpu_hours=gpus, counted=gpus, charged_for="gpus" if gpus else "cores", number=gpus or 1)
        return SizeView(size=shape, gpu_label=label, fits_now=fits, estimate=estimate, billed_gpus=gpus, offer=offer,
                        price=price, projects=projects, fits_until=closes.start)  # fmt: skip

    closes = MaintenanceView(
        name="cooling", start=now + timedelta(hours=1), end=now + timedelta(hours=9), nodes=8, closes=("p",)
    )
    partly = MaintenanceView(name="disks", start=now + timedelta(days=2), end=now + timedelta(days=3), nodes=1)

    return FactoryView(
        id=factory,
        name=factory.title(),
        projects=projects,
        site=SiteInfo(machine=factory.upper(), host="h", city="Kajaani", country="FI"),
        scheduler="slurm",
        accelerator=Accelerator(vendor="NVIDIA", model="A100", memory_gb=40, per_node=4),
        health=health,
        partitions=(
            PartitionLoad(
                name="p",
                gpus_total=8,
                gpus_free=3,
                cores_total=9,
                cores_free=9,
                pending=2,
                node_gpus_free=2,
                node_cores_free=9,
                nodes_out=2,
                out_since=now - timedelta(hours=5),
            ),
        ),
        maintenance=(closes, partly),
        reservations=(ReservationView(id="course", name="course", end=now + timedelta(hours=2)),),
        largest_now="small",
        sizes=(size("small", 1, 3), size("full", 4, 0, later), size("cpu", 0, 1), size("later", 2, 0)),
        environments=(
            Environment(id="base", title="PyTorch 2", kind="venv", python="/e"),
            Environment(id="other", title="JAX", kind="venv", python="/e", sizes=("full",)),
        ),
        default_environment="base",
        default_size="small",
        folder=Folder(quota="20 GB"),
        outbound="none",
        idle=IdleLimits(),
        bounds=SessionBounds(
            idle_minutes=Bounds(least=1, most=480, preset=60),
            unopened_minutes=Bounds(least=1, most=120, preset=30),
            give_up_hours=Bounds(least=0.05, most=720),
        ),
    )


# --- all pages, in a browser


@dataclass(frozen=True)
class Shown:
    """A page at ``path``, for the person ``who``, or without a login if that is None.

    ``ready``: a selector that exists once the page shows its data.
    """

    path: str
    ready: str
    who: str | None = "ada"

    async def open(self, page: Page, language: str) -> None:
        """Open the page; return when it is complete."""
        await page.goto(f"{self.path}{'&' if '?' in self.path else '?'}lang={language}")
        await expect(page.locator(self.ready).first).to_be_visible()


ALL = {
    "login": Shown("/hub/login", "#login_submit", who=None),
    "map": Shown("/hub/factories?antenna=be-aifa", ".fg-map .fg-spot", who=None),
    "status": Shown("/hub/status", "#fg-status table", who=None),
    "check": Shown("/hub/check", "#fg-copy", who=None),
    "start": Shown(START, "#fg-summary p"),
    "first": Shown("/hub/spawn/bob", "#fg-asked p", who="bob"),
    "waiting": Shown("/hub/spawn-pending/ada/waits", "#fg-waiting .fg-facts"),
    "home": Shown("/hub/home", "#fg-clusters-ended li"),
    "checklist": Shown("/hub/checklist", "#fg-rules-head"),
    "not-running": Shown("/hub/user/bob/", "#start", who="bob"),
    "ended": Shown("/hub/user/ada/brief/", "#fg-waiting strong"),
    "error": Shown("/hub/no-such-page", ".error h1"),
    "token": Shown("/hub/token", "#api-tokens-table"),
    "admin": Shown("/hub/admin", "#react-admin-hook table"),
    "operator": Shown("/hub/operator", "#fg-failed-head"),
}

# The page's controls, in order. One of a group of radio buttons stands for all.
USABLE = """() => (window.usable = [...document.querySelectorAll(
  "a[href]:not([aria-hidden] *), button, input:not([type=hidden]), select, summary, [tabindex='0']")]
  .filter((one) => one.checkVisibility() && !one.disabled && !one.closest(".modal, dialog:not([open])")
    && !(one.type === "radio" && !one.checked)))
  .map((one) => one.outerHTML.slice(0, 200))"""
FOCUSED = """() => {
  const one = document.activeElement;
  if (!window.usable.includes(one)) return null;
  const shown = one.type === "radio" ? one.closest("label").querySelector(".fg-card-body") ?? one : one;
  const style = getComputedStyle(shown);
  const box = one.getBoundingClientRect();
  return {
    mark: window.usable.indexOf(one), html: one.outerHTML.slice(0, 200),
    ring: (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) || style.boxShadow !== "none",
    seen: box.bottom > 0 && box.top < innerHeight,
  };
}"""


def operator(now: datetime) -> OperatorView:
    """Return data for every part of the operators' page."""
    health = Health(state="ok", since=now, answered_at=now)
    refused = explain.refused("sbatch: error: Invalid qos specification")
    numbers = {SessionState.RUNNING: 4, SessionState.PENDING: 1}
    return OperatorView(
        closed=None,
        banner="Upgrade on Monday at 14:00.",
        factories=(
            FactoryOverview(
                id="one", machine="ONE", health=health, drained=None, paused=None, sessions=numbers,
                waits=(ReasonCount(words=_waits("Priority"), count=1),),
            ),
            FactoryOverview(id="three", machine="THREE", health=health, drained=DRAIN, paused="Talks.", sessions={}),
        ),
        waiting=(
            WaitingSession(
                id="1" * 32, user="ada", server="busy", factory="one", size="gpu-1", state=SessionState.PENDING,
                since=now, position=3, expected_start=now + timedelta(hours=1), words=_waits("Priority"),
            ),
        ),
        more_waiting=2,
        failures=(FailureCount(factory="one", reason=EndReason.REFUSED, count=3, last=now, words=refused),),
        hours=24,
    )  # fmt: skip


def crowded(now: datetime) -> OperatorView:
    """Return the operators' page with the largest amounts that the link can send, in texts as a site or a person can
    write them."""
    few = operator(now)
    hostile = "<img src=x onerror=alert(1)>" + "x" * 170
    name = "\N{FULLWIDTH LATIN SMALL LETTER W}" * 200
    words = _waits("Priority").model_copy(update={"what": hostile * 10, "scheduler": "y" * 2000})
    reasons = tuple(ReasonCount(words=words, count=12_345) for _ in range(3))
    numbers = {SessionState.RUNNING: 2000, SessionState.PENDING: 40_000, SessionState.UNREACHABLE: 7}
    factories = tuple(
        few.factories[0].model_copy(
            update={
                "id": f"factory-{number}",
                "machine": (name, hostile, "LUMI")[number % 3],
                "drained": hostile if number % 4 == 1 else None,
                "sessions": numbers,
                "waits": reasons,
                "other_waits": 2965,
            }
        )
        for number in range(20)
    )
    waiting = tuple(
        few.waiting[0].model_copy(update={"id": f"{number:032x}", "user": name, "server": hostile[:40], "words": words})
        for number in range(200)
    )
    failures = tuple(
        few.failures[0].model_copy(update={"factory": one.id, "reason": reason, "count": 4321, "words": words})
        for one in factories
        for reason in EndReason
    )
    update = {"factories": factories, "waiting": waiting, "more_waiting": 39_800, "failures": failures}
    return few.model_copy(update=update)


async def signed_in(context: BrowserContext, who: str = "ada") -> None:
    """Log in as ada or bob."""
    page = await context.new_page()
    await page.goto("/hub/login")
    await page.locator("#username_input").fill(who)
    await page.locator("#password_input").fill(f"{who}-secret")
    await page.locator("#login_submit").click()
    await page.wait_for_url(INSIDE)
    await page.close()


async def asked_for(hub: HubProcess, link: FakeLink) -> None:
    """Give ada a token, a session that waits, and one that has ended because it exceeded its memory."""
    link.auto = False
    await hub.api("POST", "/users/ada/tokens", json={"note": "nightly runs"})
    await _session(hub, link, "waits")
    ended = await _session(hub, link, "brief")
    reason, words = explain.ended(End(job="7", outcome=Outcome.OUT_OF_MEMORY, raw_state="OUT_OF_MEMORY"))
    now = datetime.now(UTC)
    told = {"end_reason": reason, "end": words, "log_tail": ("Loading the model", "Killed")}
    await link.end(ended.id, started=now - timedelta(minutes=45), ready=now - timedelta(minutes=44), ended=now, **told)
    await hub.until("ada", is_stopped, "brief")


async def _session(hub: HubProcess, link: FakeLink, server: str) -> Session:
    answer = await hub.api("POST", f"/users/ada/servers/{server}", json={"factory": "one", "size": "small"})
    assert answer.status_code in (201, 202), answer.text
    session = await link.until(None, lambda one: one.server == server)
    return await link.change(
        session.id,
        created=datetime.now(UTC),
        position=3,
        waits_for=_waits("Priority"),
        log=(_line(ASKED),),
    )
