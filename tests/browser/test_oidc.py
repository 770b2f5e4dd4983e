"""Log in by OpenID Connect as a member of two projects and of an antenna; start a session; lose the groups."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from playwright.sync_api import Page, expect

from testbed.demo.login import GROUPS, claims
from tests.browser.test_first_session import choose, open_start
from tests.conftest import CHECKOUT, PORTS, started
from tests.faults.test_kill import kill
from tests.support.gateway import Gateway, eventually
from tests.support.prometheus import DASHBOARDS, MONITORING, Query, queries, watching

AXE = Path(__file__).resolve().parents[2] / "extensions/lab/node_modules/axe-core/axe.min.js"
PROJECTS = {"EHPC-AIF-2026PG01-101": "lumi-aif", "EHPC-AIF-2026FL01-202": "it4lia"}


@pytest.fixture(scope="module")
def gateway(demo_folder: Path) -> Iterator[Gateway]:
    """Return a demo with a login provider instead of passwords.

    ``FACTORYGATE_TEST_OIDC`` may name the demo.json of a running demo.
    """
    given = os.environ.get("FACTORYGATE_TEST_OIDC")
    yield from started(given, demo_folder.with_name("tested-oidc"), PORTS["oidc"], "--login", "oidc")


@pytest.fixture(autouse=True)
def no_sessions(gateway: Gateway) -> Iterator[None]:
    yield
    for name, groups in GROUPS.items():
        provider_says(gateway, name, *groups)
    for session in gateway.everybody():
        gateway.stop(session["user"], session["server"], remove=True)
    eventually(lambda: not gateway.everybody(), what="no session is left")


def provider_says(gateway: Gateway, name: str, *groups: str) -> None:
    url = f"{gateway.demo['login_provider']}/users/{name}"
    httpx.put(url, json=claims(name, groups), timeout=60).raise_for_status()


def sign_in(page: Page, name: str) -> None:
    """Log in as ``name``, from the hub's login page by the provider's page."""
    page.get_by_role("link", name=re.compile("^Sign in with")).click()
    page.get_by_role("button", name=name, exact=True).click()


def accept_terms(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Your checklist")
    page.get_by_role("checkbox", name=re.compile("terms of use of this gateway")).check()
    page.get_by_role("button", name="Continue").click()


def violations(page: Page) -> list[str]:
    page.add_script_tag(path=AXE)
    found: list[str] = page.evaluate("async () => (await axe.run()).violations.map(one => one.id + ': ' + one.help)")
    return found


def test_login_by_an_antenna_start_and_loss_of_the_group(gateway: Gateway, page: Page) -> None:
    page.goto(f"{gateway.hub}/login")
    page.get_by_text("Sign in through your country’s antenna").click()
    page.get_by_role("link", name=re.compile("HunAIFA")).click()
    page.get_by_role("button", name="ada", exact=True).click()
    page.wait_for_url(re.compile(r"/hub/checklist"))
    assert violations(page) == []
    # the person's projects, which the link finds by the groups of this login, and the site accounts of the projects
    listed = page.get_by_role("region", name="Your projects").get_by_role("link")
    assert sorted(listed.all_inner_texts()) == sorted(PROJECTS)
    accounts = page.get_by_role("region", name="Your accounts at the factories")
    there = re.compile("you have an account there|you work under")  # depends on whether root runs the demo
    expect(accounts.get_by_role("listitem").filter(has_text=there)).to_have_count(len(PROJECTS))
    assert "terms of use" in gateway.refusal("ada", "oidc", status=403, factory="it4lia", hours=1)
    page.get_by_role("button", name="Continue").click()  # without the tick, the browser does not send the form
    assert "/hub/checklist" in page.url
    accept_terms(page)
    page.wait_for_url(re.compile(r"/hub/(home|spawn)"))
    person = gateway.api("GET", "/users/ada").json()
    assert sorted(person["groups"]) == ["antenna:hunaifa", "climate", "language-models"]
    assert not person["admin"]

    # only factories of their projects are shown
    open_start(page, gateway, "ada", "oidc")
    offered = page.locator("#fg-factories input[name='factory']")
    assert sorted(one.get_attribute("value") or "" for one in offered.all()) == sorted(PROJECTS.values())
    message = gateway.refusal("ada", "elsewhere", gateway.token("ada"), status=403, factory="brainpp", hours=1)
    assert "None of your projects may use" in message

    # the projects' budgets
    headers = {"Authorization": f"Bearer {gateway.token('ada')}"}
    listed = httpx.get(f"{gateway.root}/services/factories/api/projects", headers=headers, timeout=60)
    assert {one["id"]: one["granted"] for one in listed.json()} == dict.fromkeys(PROJECTS, 500)

    choose(page, "factory", "it4lia")
    choose(page, "size", "gpu-1")
    page.locator("#hours").fill("2")
    summary = page.locator("#fg-summary")
    expect(summary).to_contain_text(re.compile(r"2 GPU-hours: 2 hours on 1 GPU"))
    expect(summary).to_contain_text("Charged to EHPC-AIF-2026FL01-202. You may still use 500 of its 500 GPU-hours.")
    page.locator("#fg-start-button").click()
    page.wait_for_url(re.compile(r"/user/ada/oidc/lab"), timeout=120_000)
    session = gateway.session("ada", "oidc")
    assert session is not None
    assert session["choice"]["project"] == "EHPC-AIF-2026FL01-202"
    assert session["choice"]["factory"] == "it4lia"

    # the person loses the groups, and is refused at the next refresh
    token = gateway.token("ada")
    provider_says(gateway, "ada")

    def asked_to_sign_in() -> bool:
        page.goto(f"{gateway.hub}/home")
        return "/hub/login" in page.url

    eventually(asked_to_sign_in, every=1, what="the hub asks the provider again")
    sign_in(page, "ada")
    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text("not, or no longer, in a group")
    expect(refusal).to_contain_text("manager of your project")
    assert violations(page) == []
    assert gateway.api("GET", "/user", token=token).status_code == 403
    message = gateway.refusal("ada", "again", status=403, factory="it4lia", hours=1)
    assert "not, or no longer, in a group" in message
    # running sessions go on for the grace time, and show that
    [left] = [one for one in gateway.everybody() if one["user"] == "ada"]
    assert left["id"] == session["id"] and left["state"] == "running"
    eventually(
        lambda: any(
            "project" in line["text"]
            for one in gateway.everybody()
            if one["id"] == session["id"]
            for line in one["log"][len(session["log"]) :]
        ),
        what="the session says that it ends",
    )

    # the person gets the groups again
    provider_says(gateway, "ada", "climate")
    sign_in(page, "ada")
    page.wait_for_url(re.compile(r"/hub/(home|spawn)|/user/ada"))
    open_start(page, gateway, "ada", "oidc-back")
    assert [one.get_attribute("value") for one in offered.all()] == ["lumi-aif"]


def test_the_page_by_keyboard_and_screen_reader(gateway: Gateway, page: Page) -> None:
    page.goto(f"{gateway.hub}/login?next=%2Fhub%2Ftoken")
    assert violations(page) == []
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name=re.compile("HunAIFA"))).to_be_visible()
    assert violations(page) == []

    def focused() -> str:
        return str(page.evaluate("document.activeElement.getAttribute('href') || ''"))

    page.reload()
    for _ in range(20):
        page.keyboard.press("Tab")
        if "/oidc/demo/login" in focused():
            break
    page.keyboard.press("Enter")
    page.get_by_role("button", name="grace", exact=True).click()
    accept_terms(page)
    page.wait_for_url(re.compile(r"/hub/token"))
    assert gateway.api("GET", "/users/grace").json()["groups"] == ["climate"]


def test_a_login_cancelled_at_the_provider_is_explained(gateway: Gateway, page: Page) -> None:
    page.goto(f"{gateway.hub}/login")
    page.get_by_role("link", name=re.compile("^Sign in with")).click()
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("alert")).to_contain_text("you cancelled")


def rules_at(gateway: Gateway, factory: str, version: str | None) -> None:
    """Use this version of a site's rules in the gateway's catalogue from now on; None: the original rules.

    The link is killed, and the function returns when the next one answers.
    """
    shipped, own = CHECKOUT / "hub_config", gateway.path.parent / "catalogue"
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(shipped / "factories", own / "factories")
    shutil.copy(shipped / "antennas.yaml", own)
    entry = own / "factories" / f"{factory}.yaml"
    told = yaml.safe_load(entry.read_text())
    told["site"]["rules"] = {"version": version, "text": "Leave it as you found it."}
    entry.write_text(yaml.safe_dump(told))
    link = gateway.path.parent / "link.yaml"
    config = yaml.safe_load(link.read_text())
    config["catalogue"] = str((own if version is not None else shipped) / "factories")
    link.write_text(yaml.safe_dump(config))
    kill(gateway, "link")


def test_a_sites_rules_come_after_the_login_and_again_when_they_change(gateway: Gateway, page: Page) -> None:
    factory = "it4lia"
    rules_at(gateway, factory, "1")
    try:
        page.goto(f"{gateway.hub}/login?next=%2Fhub%2Ftoken")
        sign_in(page, "emmy")
        expect(page.get_by_role("checkbox")).to_have_count(2)
        assert violations(page) == []
        accept_terms(page)  # the sites' rules stay open
        page.wait_for_url(re.compile(r"/hub/token"))
        message = gateway.refusal("emmy", "ruled", status=403, factory=factory, hours=1)
        assert "have not accepted the present terms of use" in message
        assert "/hub/checklist" in message

        open_start(page, gateway, "emmy", "ruled")
        page.get_by_role("link", name="To your checklist").click()
        page.get_by_role("checkbox", name=re.compile("accept the terms of use of Leonardo")).check()
        page.get_by_role("button", name="Continue").click()
        page.wait_for_url(re.compile(r"/hub/spawn/emmy/ruled"))
        expect(page.locator("#fg-start-button")).to_have_attribute("aria-disabled", "false")
        gateway.started("emmy", "ruled", factory=factory, hours=1)
        gateway.stopped("emmy", "ruled")

        page.context.clear_cookies()
        page.goto(f"{gateway.hub}/login?next=%2Fhub%2Ftoken")
        sign_in(page, "emmy")
        page.wait_for_url(re.compile(r"/hub/token"))  # nothing is left to accept

        rules_at(gateway, factory, "2")
        page.context.clear_cookies()
        page.goto(f"{gateway.hub}/login?next=%2Fhub%2Ftoken")
        sign_in(page, "emmy")
        page.wait_for_url(re.compile(r"/hub/checklist"))
        expect(page.get_by_role("checkbox", name=re.compile("version 2"))).not_to_be_checked()
        expect(page.get_by_role("region", name="The terms of use of this gateway")).to_contain_text("Accepted on")
        assert "terms of use" in gateway.refusal("emmy", "again", status=403, factory=factory, hours=1)
    finally:
        rules_at(gateway, factory, None)


def test_each_query_of_each_dashboard_has_data(gateway: Gateway, tmp_path: Path) -> None:
    """Debian's Prometheus scrapes a demo that has projects."""
    asked = [query for path in DASHBOARDS for query in queries(path)]
    assert len(asked) > 70
    rules = (MONITORING / "alerts.yml").read_text()
    with watching(gateway, tmp_path, rules) as prometheus:
        factory = next(iter(gateway.factories))

        def without_data() -> list[Query]:
            return [one for one in asked if not prometheus.query(one.expression.replace("$factory", factory))]

        eventually(lambda: not without_data(), every=1, what="each query has data")
        assert (
            prometheus.query('factorygate_gpu_hours_granted{project="EHPC-AIF-2026PG01-101"}')[0]["value"][1] == "500"
        )
        assert prometheus.alerts() == set()
