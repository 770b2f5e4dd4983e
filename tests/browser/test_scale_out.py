"""In a real browser, a notebook gets four workers at its own factory, then at one without outbound connections."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.test_first_session import log_in
from tests.browser.test_widgets import USER, Lab, taken
from tests.support.gateway import Gateway, eventually

pytestmark = [pytest.mark.slurm, pytest.mark.root, pytest.mark.timeout(400)]

HERE, THERE = "lumi-aif", "it4lia"


@pytest.fixture(scope="module")
def gateway(two_isolated: Gateway) -> Gateway:
    """Return the demo of ``two_isolated`` instead of the default demo."""
    return two_isolated


@pytest.fixture
def lab(gateway: Gateway, page: Page) -> Lab:
    server = f"w{uuid.uuid4().hex[:6]}"
    gateway.started(USER, server, factory=HERE)
    log_in(page, gateway, USER)
    return Lab(page, gateway, server)


def workers(gateway: Gateway, factory: str) -> list[str]:
    """Return the ids of the clusters' worker jobs that have not ended, from the factory's batch scheduler."""
    return [job for job, told in gateway.factories[factory].jobs().items() if told["comment"].startswith("fgb:")]


def heads(gateway: Gateway, factory: str) -> list[str]:
    """Return the ids of the jobs of Dask schedulers at a factory where no notebook runs.

    Their comments are like those of sessions' jobs.
    """
    return [job for job, told in gateway.factories[factory].jobs().items() if told["comment"].startswith("fg:")]


def four_workers_and_none(lab: Lab, gateway: Gateway, factory: str, name: str) -> None:
    """Create a cluster with the picker's choice, and scale it to four workers and to none with its panel."""
    lab.run("from factorygate import FactoryCluster")
    cell = lab.run(f"{name} = FactoryCluster(**picker.value)\n{name}")
    panel = cell.get_by_role("region", name=re.compile("^Cluster"))
    number = panel.get_by_label("Jobs wanted", exact=True)
    expect(number).to_be_visible(timeout=90000)
    say(number, "4")
    expect(panel.locator("[data-figure='running']")).to_have_text("4", timeout=120_000)
    assert len(workers(gateway, factory)) == 4
    lab.run(f"client = {name}.get_client(); client.wait_for_workers(4, timeout=100)")
    assert lab.value("sum(client.gather(client.map(pow, range(100), [2] * 100)))") == 328350

    def nodes() -> list[str]:
        found = [worker["node"] for cluster in gateway.clusters(USER) for worker in cluster["workers"]]
        return found if all(found) else []

    known = eventually(nodes, what="the gateway knows on which nodes they are")
    row = panel.get_by_role("listitem").first
    expect(row).to_contain_text(re.compile("|".join(map(re.escape, known))), timeout=60000)
    with lab.page.expect_popup() as opened:
        panel.get_by_role("link", name="Open the Dask dashboard").click()
    # drawn with data from its WebSocket
    expect(opened.value.get_by_text("Data Transfer").first).to_be_visible(timeout=60000)
    opened.value.close()
    say(number, "0")
    eventually(lambda: not workers(gateway, factory), 60, what="no worker is left")
    expect(panel.locator("[data-figure='running']")).to_have_text("0", timeout=60000)


def say(number: Locator, wanted: str) -> None:
    number.click()
    number.press("Control+a")
    number.press_sequentially(wanted)
    number.press("Enter")


def test_four_workers_here_and_four_at_a_factory_that_lets_nothing_out(lab: Lab, gateway: Gateway) -> None:
    page = lab.page
    cell = lab.run("from factorygate import FactoryPicker\npicker = FactoryPicker()\npicker")
    picker = cell.get_by_role("form", name="Factory picker")
    expect(picker).to_have_attribute("data-kind", "ready", timeout=60000)
    picker.locator("label[for='size-gcd-1-dev']").click()  # by mouse
    taken(picker)
    four_workers_and_none(lab, gateway, HERE, "near")

    picker.locator(f"#factory-{HERE}").focus()  # by keyboard
    for _ in range(4):
        if lab.page.evaluate("document.activeElement.shadowRoot.activeElement.value") == THERE:
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    taken(picker)
    assert lab.value("picker.value['factory']") == THERE
    expect(picker).to_contain_text("needs a token of your own")
    lab.run(f"import factorygate\nfactorygate.use_token({gateway.token(USER)!r})")
    four_workers_and_none(lab, gateway, THERE, "far")
    assert len(heads(gateway, THERE)) == 1
    lab.run("near.close(); far.close()")
    eventually(lambda: not heads(gateway, THERE), 60, what="its scheduler ended, too")
