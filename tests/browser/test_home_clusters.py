"""A notebook's Dask cluster on Home: the page shows it at once, closes it, and its jobs end."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_session import log_in
from tests.support.gateway import Gateway, eventually

pytestmark = pytest.mark.slurm
USER, HERE, THERE = "ada", "lumi-aif", "it4lia"

MADE = """
from dask.distributed import Client
from factorygate import FactoryCluster
cluster = FactoryCluster({what}, workers=1, name={name!r}, hours=0.3, cap_gpu_hours=50, silence_logs="critical")
client = Client(cluster)
client.wait_for_workers(1, timeout=100)
"""


class Home:
    """The page Home of a person with a session in which a kernel runs."""

    def __init__(self, gateway: Gateway, page: Page) -> None:
        self.gateway = gateway
        self.server, self.name = f"c{uuid.uuid4().hex[:6]}", f"sweep-{uuid.uuid4().hex[:6]}"
        gateway.started(USER, self.server, factory=HERE, size="gcd-1", hours=0.5)
        self.notebook = gateway.notebook(USER, self.server)
        self.kernel = self.notebook.kernel()
        log_in(page, gateway, USER)
        page.goto(f"{gateway.hub}/home")
        self.session = page.get_by_role("article", name=self.server)
        self.card = page.get_by_role("article", name=self.name)
        self.ended = page.get_by_role("listitem").filter(has_text=self.name)
        self.dialog = page.get_by_role("dialog", name=f"Close the cluster {self.name}?")
        expect(self.session).to_be_visible()
        expect(self.card).to_have_count(0)

    def make(self, what: str) -> None:
        """Create a cluster with one worker; assert that the page shows the cluster without a reload.

        ``what``: arguments of ``FactoryCluster``, as Python code.
        """
        self.run(MADE.format(what=what, name=self.name))
        expect(self.card).to_contain_text("1 job running", timeout=60000)

    def run(self, code: str) -> str:
        return self.notebook.run(code, self.kernel, timeout=180).strip()

    def close(self) -> None:
        self.card.get_by_role("button", name="Close…").click()
        self.dialog.get_by_role("button", name="Close it").click()
        expect(self.card).to_have_count(0, timeout=60000)

    def jobs(self, factory: str) -> list[str]:
        """Return an entry for each live job of a cluster: "fgb" for a worker, "fg:" for a scheduler in its own job."""
        session = self.gateway.session(USER, self.server)
        assert session is not None
        comments = [told["comment"] for told in self.gateway.factories[factory].jobs().values()]
        return [comment[:3] for comment in comments if comment.startswith("fg") and session["id"] not in comment]


@pytest.fixture
def home(gateway: Gateway, page: Page) -> Iterator[Home]:
    made = Home(gateway, page)
    yield made
    gateway.stopped(USER, made.server)


def test_a_cluster_is_seen_on_home_and_closed_there(home: Home) -> None:
    home.make("size='gcd-1-dev'")
    machine = home.session.locator(".fg-session-what strong").inner_text()
    for text in (
        *(machine, "Running", f"belongs to {home.server}"),
        *("of at most 50 GPU-hours used", "GPU-hours reserved"),
    ):
        expect(home.card).to_contain_text(text)
    assert home.jobs(HERE) == ["fgb"]
    home.close()
    expect(home.ended).to_contain_text(re.compile("1 job · 0.* of at most 50 GPU-hours used"))
    eventually(lambda: not home.jobs(HERE), 60, what="its job is gone")
    eventually(lambda: home.run("print(cluster.view().status)") == "closed", 60, what="the notebook's panel says so")
    assert home.gateway.session(USER, home.server) is not None  # the session of the cluster goes on


def test_a_cluster_at_another_factory_has_its_scheduler_there_and_ends_with_it(home: Home) -> None:
    # the session's own token is valid for its own factory only
    home.make(f"factory={THERE!r}, token={home.gateway.token(USER)!r}")
    standing = re.compile(r"Dask scheduler runs in a job of its own: .* ends (tomorrow )?\d\d:\d\d")
    expect(home.card).to_contain_text(standing)
    assert home.session.locator(".fg-session-what strong").inner_text() not in home.card.inner_text()
    assert sorted(home.jobs(THERE)) == ["fg:", "fgb"]
    home.close()
    eventually(lambda: not home.jobs(THERE), 60, what="worker and scheduler are gone")
    expect(home.ended).to_contain_text("Closed")
