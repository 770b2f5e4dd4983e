"""A Dask cluster of a notebook on Home: there as it is made, closed there, and its jobs are gone."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_session import log_in
from tests.support.gateway import Gateway, eventually

pytestmark = pytest.mark.slurm
USER, FACTORY, SIZE = "ada", "lumi-aif", "gcd-1-dev"

MADE = """
from dask.distributed import Client
from factorygate import FactoryCluster
cluster = FactoryCluster(size={size!r}, workers=1, name={name!r}, hours=0.3, cap_gpu_hours=5, silence_logs="critical")
client = Client(cluster)
client.wait_for_workers(1, timeout=60)
"""


def test_a_cluster_is_seen_on_home_and_closed_there(gateway: Gateway, page: Page) -> None:
    server, name = f"c{uuid.uuid4().hex[:6]}", f"sweep-{uuid.uuid4().hex[:6]}"
    gateway.started(USER, server, factory=FACTORY, size="gcd-1", hours=0.5)
    notebook = gateway.notebook(USER, server)
    kernel = notebook.kernel()
    log_in(page, gateway, USER)
    page.goto(f"{gateway.hub}/home")
    expect(page.get_by_role("article", name=server)).to_be_visible()
    card = page.get_by_role("article", name=name)
    expect(card).to_have_count(0)

    notebook.run(MADE.format(size=SIZE, name=name), kernel, timeout=110)
    expect(card).to_contain_text("1 job running", timeout=15000)  # told, without a reload
    machine = page.get_by_role("article", name=server).locator(".fg-session-what strong").inner_text()
    for text in (
        machine,
        "Running",
        f"belongs to {server}",
        "of at most 5 GPU-hours used",
        "more promised to its jobs",
    ):
        expect(card).to_contain_text(text)
    assert len(workers(gateway)) == 1

    card.get_by_role("button", name="Close…").click()
    page.get_by_role("dialog", name=f"Close the cluster {name}?").get_by_role("button", name="Close it").click()
    expect(card).to_have_count(0, timeout=30000)
    expect(page.get_by_role("listitem").filter(has_text=name)).to_contain_text(re.compile("1 job · 0.* GPU-hours used"))
    eventually(lambda: not workers(gateway), 30, what="its job is gone")
    assert gateway.session(USER, server) is not None  # what it belonged to goes on


def workers(gateway: Gateway) -> list[str]:
    """Jobs of clusters that wait or run."""
    return [job for job, told in gateway.factories[FACTORY].jobs().items() if told["comment"].startswith("fgb:")]
