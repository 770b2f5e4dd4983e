"""Login by OpenID Connect in a real hub with a real provider: logins, regular checks, and attacks."""

from __future__ import annotations

import asyncio
import base64
import html
import re
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
import yaml

from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess, is_ready, is_stopped
from tests.unit.oidc_provider import CLIENT, OidcProvider

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUTHORITY = "aai.example.org"
REFRESH = 1  # seconds
LIFE = 15  # validity of an access token in seconds; a login must finish within it
ENTITLEMENT = "urn:example:org:group:{}#" + AUTHORITY
RULES = [
    {"entitlement": {"namespace": "urn:example:org", "authorities": [AUTHORITY]}},
    {"claim": {"name": "email", "value": "*@staff.example.org"}, "gives": "staff"},
]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    made = OidcProvider(tmp_path_factory.mktemp("provider"), seconds=LIFE)
    made.up()
    yield made
    made.down()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(
    tmp_path_factory: pytest.TempPathFactory,
    link: FakeLink,
    beside: Beside,
    provider: OidcProvider,
) -> AsyncIterator[HubProcess]:
    folder = tmp_path_factory.mktemp("hub")
    (folder / "crypt").write_text(secrets.token_hex(32))
    (folder / "crypt").chmod(0o600)
    made = HubProcess(
        folder,
        link.socket,
        beside,
        login={
            "people_file": "people.sqlite",
            "crypt_key_file": "crypt",
            "refresh_seconds": REFRESH,
            "admin_groups": ["operators"],
            "providers": [
                provider.settings(folder, rules=RULES, kind="myaccessid", names={"pinned": "grace"}),
                # Another issuer, served by the same process, which names itself by the requested address.
                provider.settings(
                    folder,
                    "other",
                    issuer=provider.issuer.replace("127.0.0.1", "localhost"),
                    rules=[{"everybody": True, "gives": "guests"}],
                    assurance="medium",
                    sign_out=True,
                ),
                {**provider.settings(folder, "dead", rules=RULES), "issuer": "http://127.0.0.1:1"},
            ],
        },
    )
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


class Browser:
    """A browser that stores cookies and follows redirects."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self.http = httpx.AsyncClient(base_url=hub.url, timeout=60, trust_env=False)

    async def get(self, url: str) -> httpx.Response:
        return await self.http.get(url, follow_redirects=True)

    async def begin(self, provider: str = "mine", query: str = "") -> str:
        """Begin a login; return the URL of the provider's page."""
        answer = await self.http.get(f"/hub/oidc/{provider}/login{query}")
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    async def login(self, sub: str, provider: str = "mine", query: str = "") -> httpx.Response:
        """Complete a login; return the last page."""
        answer = await self.http.post(await self.begin(provider, query), data={"sub": sub})
        assert answer.status_code == 302, answer.text
        return await self.get(answer.headers["Location"])

    async def name(self) -> str | None:
        """Return the name of the hub user who is logged in; None if nobody is."""
        answer = await self.http.get("/hub/home")
        found = re.search(r'user: "([^"]*)"', answer.text) if answer.status_code == 200 else None
        return found[1] if found else None


@pytest.fixture
def sub(request: pytest.FixtureRequest) -> str:
    """Return a new person's ``sub``."""
    return f"{abs(hash(request.node.name)) % 10**8:08d}@example.org"


async def person(hub: HubProcess, name: str) -> dict[str, Any]:
    answer = await hub.api("GET", f"/users/{name}?include_stopped_servers=1")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def refused(answer: httpx.Response, code: str, status: int = 403) -> None:
    assert answer.status_code == status, answer.text
    assert f'data-code="login-{code}"' in answer.text


async def test_an_entitlement_admits_and_is_checked_again(
    hub: HubProcess, link: FakeLink, provider: OidcProvider, sub: str
) -> None:
    said = [ENTITLEMENT.format("one:two:role=member"), ENTITLEMENT.format("three"), "urn:other:group:four#" + AUTHORITY]
    provider.says(sub, preferred_username="Zoë@home", eduperson_entitlement=said)
    browser = Browser(hub)
    answer = await browser.login(sub, query="?antenna=hunaifa&next=/hub/token")
    assert answer.url.path == "/hub/token"
    assert await browser.name() == "zoe-1"
    known = await person(hub, "zoe-1")
    assert sorted(known["groups"]) == ["antenna:hunaifa", "one:two", "three"]
    assert not known["admin"]
    await link.until_told("zoe-1", lambda told: told.groups == {"antenna:hunaifa", "one:two", "three"})

    provider.says(sub, preferred_username="admin", eduperson_entitlement=[ENTITLEMENT.format("operators")])
    await asyncio.sleep(REFRESH)  # the hub's own interval
    assert await browser.name() == "zoe-1"
    known = await person(hub, "zoe-1")
    assert sorted(known["groups"]) == ["antenna:hunaifa", "operators"]
    assert known["admin"]

    again = Browser(hub)
    await again.login(sub)
    assert await again.name() == "zoe-1"
    await hub.kill()
    await hub.up()
    third = Browser(hub)
    await third.login(sub)
    assert await third.name() == "zoe-1"
    assert "antenna:hunaifa" in (await person(hub, "zoe-1"))["groups"]


async def test_two_people_never_have_one_name(hub: HubProcess, provider: OidcProvider) -> None:
    assured = ["https://refeds.org/assurance/IAP/high"]
    names = []
    for at, subject in (("mine", "same"), ("other", "same"), ("mine", "same2"), ("mine", "SAME")):
        provider.says(subject, preferred_username="same", eduperson_assurance=assured,
                   eduperson_entitlement=[ENTITLEMENT.format("one")])  # fmt: skip
        browser = Browser(hub)
        await browser.login(subject, at)
        names.append(await browser.name())
    assert len(set(names)) == 4
    assert None not in names


async def test_a_name_of_somebody_in_the_hub_is_not_given_away(hub: HubProcess, provider: OidcProvider) -> None:
    assert (await hub.api("POST", "/users/kept-1")).status_code == 201
    provider.says("keeper", preferred_username="kept", eduperson_entitlement=[ENTITLEMENT.format("one")])
    browser = Browser(hub)
    await browser.login("keeper")
    assert await browser.name() == "kept-2"


async def test_a_name_that_an_operator_wrote(hub: HubProcess, provider: OidcProvider) -> None:
    provider.says("pinned", preferred_username="other", eduperson_entitlement=[ENTITLEMENT.format("one")])
    browser = Browser(hub)
    await browser.login("pinned")
    assert await browser.name() == "grace"


async def test_removal_takes_effect_at_the_next_refresh(
    hub: HubProcess, link: FakeLink, provider: OidcProvider, sub: str
) -> None:
    provider.says(sub, given_name="Leaver", eduperson_entitlement=[ENTITLEMENT.format("one")])
    browser = Browser(hub)
    await browser.login(sub)
    name = "leaver-1"
    token = (await hub.api("POST", f"/users/{name}/tokens", json={})).json()["token"]
    answer = await hub.api("POST", f"/users/{name}/server", token, json={"factory": "one"})
    assert answer.status_code in (201, 202), answer.text
    await hub.until(name, is_ready)
    [session] = link.live(name)
    of_server = link.environments[session.id].environment["JUPYTERHUB_API_TOKEN"]

    provider.says(sub, given_name="Leaver", eduperson_entitlement=[])
    await asyncio.sleep(REFRESH)
    answer = await browser.get("/hub/home")
    assert answer.url.path == "/hub/login"
    known = await person(hub, name)
    assert known["groups"] == []
    assert (await hub.api("GET", "/user", token)).status_code == 403
    await link.until_told(name, lambda told: told.blocked)
    # the session goes on; the link ends it after the grace time
    assert known["servers"][""]["ready"]
    assert (await hub.api("GET", "/user", of_server)).status_code == 200

    await refused(await browser.login(sub), "no-group")
    with hub.patient():
        answer = await hub.api("POST", f"/users/{name}/servers/more", json={"factory": "one"})
    assert answer.status_code == 403
    assert "not, or no longer, in a group" in answer.json()["message"]
    assert not [one for one in link.live(name) if one.server == "more"]

    provider.says(sub, given_name="Leaver", eduperson_entitlement=[ENTITLEMENT.format("one")])
    assert (await browser.login(sub, query="?next=/hub/token")).status_code == 200
    await link.until_told(name, lambda told: not told.blocked)
    answer = await hub.api("POST", f"/users/{name}/servers/more", json={"factory": "one"})
    assert answer.status_code in (201, 202), answer.text


async def test_removal_is_found_at_a_start_by_token_alone(
    hub: HubProcess, link: FakeLink, provider: OidcProvider, sub: str
) -> None:
    provider.says(sub, given_name="Robot", eduperson_entitlement=[ENTITLEMENT.format("one")])
    await Browser(hub).login(sub)
    token = (await hub.api("POST", "/users/robot-1/tokens", json={})).json()["token"]
    provider.says(sub, given_name="Robot", eduperson_entitlement=[])
    with hub.patient():
        answer = await hub.api("POST", "/users/robot-1/server", token, json={"factory": "one"})
    assert answer.status_code == 403, answer.text
    assert not link.live("robot-1")
    await link.until_told("robot-1", lambda told: told.blocked)
    assert (await hub.api("GET", "/user", token)).status_code == 403


async def test_an_expired_token_is_renewed_and_a_revoked_one_is_a_new_login(
    hub: HubProcess, provider: OidcProvider, sub: str
) -> None:
    provider.says(sub, given_name="Stay", eduperson_entitlement=[ENTITLEMENT.format("one")])
    browser = Browser(hub)
    await browser.login(sub)
    await asyncio.sleep(LIFE + 0.5)
    answers = await asyncio.gather(*(browser.http.get("/hub/home") for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    provider.revoke(sub)
    await asyncio.sleep(REFRESH)
    answer = await browser.get("/hub/home")
    assert answer.url.path == "/hub/login"
    assert (await person(hub, "stay-1"))["groups"] == ["one"]  # nobody reported that they lost the group
    await browser.login(sub)
    assert await browser.name() == "stay-1"


async def test_a_session_is_adopted_without_asking_for_a_new_login(
    hub: HubProcess, link: FakeLink, provider: OidcProvider, sub: str
) -> None:
    provider.says(sub, given_name="Seated", eduperson_entitlement=[ENTITLEMENT.format("one")])
    await Browser(hub).login(sub)
    provider.says(sub, given_name="Seated", eduperson_entitlement=[])
    seat = link.add("c" * 32, "seated-1")  # begun for a workshop; whether it goes on is for the link to decide
    answer = await hub.api("POST", "/users/seated-1/server", json={"adopt": seat.id})
    assert answer.status_code in (201, 202), answer.text
    assert answer.json()["id"] == seat.id
    with hub.patient():
        answer = await hub.api("POST", "/users/seated-1/servers/more", json={"factory": "one"})
    assert answer.status_code == 403, answer.text
    await link.end(seat.id)


async def test_a_person_who_never_logged_in_starts_nothing(hub: HubProcess, link: FakeLink) -> None:
    assert (await hub.api("POST", "/users/nobody")).status_code == 201
    with hub.patient():
        answer = await hub.api("POST", "/users/nobody/server", json={"factory": "one"})
    assert answer.status_code == 403
    assert "has not signed in yet" in answer.json()["message"]
    assert not link.live("nobody")


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"eduperson_entitlement": [ENTITLEMENT.format("one").replace(AUTHORITY, "evil.org")]}, "no-group"),
        ({"eduperson_entitlement": ["urn:example:org:group:one"]}, "no-group"),
        ({"email": "a@staff.example.org"}, "no-group"),
        ({"email": "a@staff.example.org", "email_verified": False}, "no-group"),
        ({"email": "a@staff.example.org", "email_verified": "true"}, "no-group"),
        ({"groups": ["one"]}, "no-group"),
    ],
)
async def test_claims_that_let_nobody_in(
    hub: HubProcess, provider: OidcProvider, claims: dict[str, Any], code: str
) -> None:
    provider.says("outsider", **claims)
    browser = Browser(hub)
    await refused(await browser.login("outsider"), code)
    assert await browser.name() is None
    with sqlite3.connect(hub.folder / "people.sqlite", timeout=60) as people:
        assert not people.execute("SELECT * FROM people WHERE sub = 'outsider'").fetchall()


async def test_a_verified_address_counts(hub: HubProcess, provider: OidcProvider) -> None:
    provider.says("staff", email="a@staff.example.org", email_verified=True)
    browser = Browser(hub)
    await browser.login("staff")
    assert await browser.name() == "user-1"  # an e-mail address is not used as a name


async def test_assurance_blocks_and_lets_nobody_in(hub: HubProcess, provider: OidcProvider) -> None:
    provider.says("weak", eduperson_assurance=["https://refeds.org/assurance/IAP/low", "https://evil/IAP/high"])
    answer = await Browser(hub).login("weak", "other", "?next=/hub/token")
    await refused(answer, "assurance")
    assert 'href="/hub/oidc/mine/login?next=%2Fhub%2Ftoken"' in answer.text
    provider.says("weak", eduperson_assurance="https://refeds.org/assurance/IAP/medium")
    assert (await Browser(hub).login("weak", "other")).status_code == 200


async def test_an_oversized_or_strange_sub_is_nobody(hub: HubProcess) -> None:
    await refused(await Browser(hub).login("x" * 100_000), "identity")
    await refused(await Browser(hub).login("a\nb"), "identity")


async def test_a_provider_that_is_away(hub: HubProcess, provider: OidcProvider, sub: str) -> None:
    answer = await Browser(hub).get("/hub/oidc/dead/login")
    await refused(answer, "away", 503)
    provider.says(sub, given_name="Patient", eduperson_entitlement=[ENTITLEMENT.format("one")])
    browser = Browser(hub)
    await browser.login(sub)
    provider.down()
    try:
        await asyncio.sleep(REFRESH)
        assert await browser.name() == "patient-1"  # its last answer counts for a while
        answer = await hub.api("POST", "/users/patient-1/server", json={"factory": "one"})
        assert answer.status_code in (201, 202), answer.text
    finally:
        provider.up()


@pytest.mark.parametrize(
    "next_url", ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "///evil.example/x"]
)
async def test_no_login_leads_elsewhere(hub: HubProcess, provider: OidcProvider, next_url: str) -> None:
    provider.says("surfer", eduperson_entitlement=[ENTITLEMENT.format("one")])
    browser = Browser(hub)
    begun = await browser.http.get("/hub/oidc/mine/login", params={"next": next_url})
    answer = await browser.http.post(begun.headers["Location"], data={"sub": "surfer"})
    answer = await browser.http.get(answer.headers["Location"])
    assert answer.status_code == 302
    target = urlsplit(answer.headers["Location"])
    assert not target.netloc and not target.scheme
    assert not answer.headers["Location"].startswith(("//", "/\\"))


async def test_only_the_browser_that_began_a_login_ends_it(hub: HubProcess, provider: OidcProvider) -> None:
    provider.says("victim", eduperson_entitlement=[ENTITLEMENT.format("one")])
    attacker, victim = Browser(hub), Browser(hub)
    back = (await attacker.http.post(await attacker.begin(), data={"sub": "victim"})).headers["Location"]
    await refused(await victim.get(back), "expired", 400)
    await refused(await victim.get("/hub/oidc/mine/callback?code=x"), "expired", 400)
    await victim.begin()
    await refused(await victim.get(back), "expired", 400)
    await refused(await victim.get("/hub/oidc/mine/callback?code=x&state=%ff%fe"), "expired", 400)
    assert await victim.name() is None


async def test_a_login_does_not_end_at_another_provider(hub: HubProcess, provider: OidcProvider) -> None:
    provider.says("mixed", eduperson_entitlement=[ENTITLEMENT.format("one")])
    browser = Browser(hub)
    back = (await browser.http.post(await browser.begin(), data={"sub": "mixed"})).headers["Location"]
    await refused(await browser.get(back.replace("/mine/", "/other/")), "expired", 400)


async def test_a_code_of_another_login_ends_none(hub: HubProcess, provider: OidcProvider) -> None:
    """The ID token for such a code has the nonce of the login for which the code was made."""
    provider.says("stolen", eduperson_entitlement=[ENTITLEMENT.format("one")])
    browser = Browser(hub)
    back = (await browser.http.post(await browser.begin(), data={"sub": "stolen"})).headers["Location"]
    code = parse_qs(urlsplit(back).query)["code"][0]
    state = parse_qs(urlsplit(await browser.begin()).query)["state"][0]
    answer = await browser.http.get("/hub/oidc/mine/callback", params={"code": code, "state": state})
    await refused(answer, "failed", 502)
    assert "its ID token is not believed: it is of another login" in hub.log
    assert await browser.name() is None


async def test_text_in_a_url_is_not_in_the_log(hub: HubProcess) -> None:
    browser = Browser(hub)
    await browser.begin()
    state = base64.urlsafe_b64encode(b"\n[I 2026-01-01] forged line").decode()
    await refused(await browser.get(f"/hub/oidc/mine/callback?code=x&state={state}"), "expired", 400)
    assert "forged line" not in hub.log


async def test_signing_out_redirects_to_the_provider_if_configured(
    hub: HubProcess, provider: OidcProvider, sub: str
) -> None:
    provider.says(
        sub,
        given_name="Gone",
        eduperson_assurance="https://refeds.org/assurance/IAP/medium",
        eduperson_entitlement=[ENTITLEMENT.format("one")],
    )
    browser = Browser(hub)
    await browser.login(sub, "other")
    answer = await browser.http.get("/hub/logout")
    assert answer.status_code == 302
    target = urlsplit(answer.headers["Location"])
    assert target.path == "/oauth2/end_session"
    asked = {"client_id": [CLIENT], "post_logout_redirect_uri": [f"{hub.url}/hub/login"]}
    assert parse_qs(target.query) == asked
    assert await browser.name() is None
    there = await browser.get(answer.headers["Location"])
    assert there.status_code == 200, there.text

    await browser.login(sub)
    assert (await browser.http.get("/hub/logout")).headers["Location"] == "/hub/login"
    assert (await Browser(hub).http.get("/hub/logout")).headers["Location"] == "/hub/login"


async def test_a_providers_refusal_is_explained_in_our_words(hub: HubProcess) -> None:
    answer = await Browser(hub).get("/hub/oidc/mine/callback?error=access_denied&error_description=Call+0900+EVIL")
    await refused(answer, "denied")
    assert "0900" not in answer.text


async def test_a_form_lets_nobody_in(hub: HubProcess) -> None:
    browser = Browser(hub)
    await browser.get("/hub/login")
    form = {"username": "x" * 100_000, "password": "x", "_xsrf": browser.http.cookies["_xsrf"]}
    answer = await browser.http.post("/hub/login", data=form)
    assert answer.status_code == 403
    assert "x" * 100 not in hub.log
    assert await browser.name() is None


async def test_the_way_there_has_pkce_state_and_our_address(hub: HubProcess) -> None:
    asked = parse_qs(urlsplit(await Browser(hub).begin()).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["code_challenge"][0]) == 43
    assert asked["redirect_uri"] == [f"{hub.url}/hub/oidc/mine/callback"]
    assert asked["response_type"] == ["code"]
    assert "state" in asked
    assert len(asked["nonce"][0]) == 64


async def test_the_page_offers_providers_and_antennas(hub: HubProcess) -> None:
    page = (await Browser(hub).get("/hub/login?next=%2Fhub%2Fspawn")).text
    assert 'href="/hub/oidc/mine/login?next=%2Fhub%2Fspawn"' in page
    assert 'href="/hub/oidc/other/login?next=%2Fhub%2Fspawn"' in page
    assert len(re.findall(r"/hub/oidc/mine/login\?antenna=", page)) == 13
    page = (await Browser(hub).get("/hub/login?lang=de")).text
    assert "Über die Antenne Ihres Landes kommen" in page


async def test_no_secret_is_stored_in_clear_text(hub: HubProcess, provider: OidcProvider) -> None:
    provider.says("quiet", email="quiet@example.org", eduperson_entitlement=[ENTITLEMENT.format("one")])
    await Browser(hub).login("quiet")
    kept = b"".join(file.read_bytes() for file in hub.folder.glob("*.sqlite*"))
    assert b"quiet@example.org" not in kept
    assert b"access_token" not in kept
    assert (hub.folder / "people.sqlite").stat().st_mode & 0o077 == 0
    assert "s" * 16 not in hub.log


async def test_a_person_blocked_by_the_operator_is_refused(
    hub: HubProcess, link: FakeLink, provider: OidcProvider
) -> None:
    provider.says("bad", given_name="Bad", eduperson_entitlement=[ENTITLEMENT.format("one")])
    browser = Browser(hub)
    await browser.login("bad")
    token = (await hub.api("POST", "/users/bad-1/tokens", json={})).json()["token"]
    hub.configure("c.Authenticator.blocked_users = {'bad-1'}\n")
    await hub.kill()
    await hub.up()
    assert (await browser.get("/hub/home")).url.path == "/hub/login"
    assert (await hub.api("GET", "/user", token)).status_code == 403
    await refused(await browser.login("bad"), "blocked")
    with hub.patient():
        answer = await hub.api("POST", "/users/bad-1/server", json={"factory": "one"})
    assert answer.status_code == 403
    assert not link.live("bad-1")


async def test_terms_come_first_and_again_when_they_change(
    hub: HubProcess, link: FakeLink, provider: OidcProvider
) -> None:
    """This test must be the last of the file, since it changes the hub's settings."""

    async def start() -> httpx.Response:
        with hub.patient():
            return await hub.api("POST", "/users/reader-1/server", json={"factory": "one"})

    config = yaml.safe_load((hub.folder / "hub.yaml").read_text())
    config["login"]["terms"] = {"version": "1", "url": "https://example.org/terms", "text": "Be <kind>."}
    (hub.folder / "hub.yaml").write_text(yaml.safe_dump(config))
    await hub.kill()
    await hub.up()
    provider.says("reader", given_name="Reader", eduperson_entitlement=[ENTITLEMENT.format("one")])
    browser = Browser(hub)
    page = await browser.login("reader", query="?next=/hub/token")
    assert page.url.path == "/hub/checklist"
    assert "Be &lt;kind&gt;." in page.text
    answer = await start()
    assert answer.status_code == 403
    assert "terms of use" in answer.json()["message"]
    # The link knows the refusal, too, so that nothing starts there either.
    known = await link.until_told("reader-1", lambda told: told.access is not None and told.access.refusal is not None)
    assert not known.blocked
    async with asyncio.timeout(60):  # the hub tells its rules in the background
        while link.rules is None or link.rules.terms != "1":
            await asyncio.sleep(0.05)
    assert link.rules.access
    told = known.access
    assert told is not None and told.refusal is not None and told.until is not None
    assert (told.refusal.code, told.terms) == ("login-terms", None)

    action = html.unescape(re.findall(r'method="post" action="([^"]*)"', page.text)[0])
    xsrf = re.findall(r'name="_xsrf" value="([^"]*)"', page.text)[0]
    forged = await browser.http.post(action, data={"terms": "1"})
    assert forged.status_code == 403
    for read, said in ({"terms": "0"}, "The terms have changed"), ({}, "Tick this"):
        stale = await browser.http.post(action, data={"_xsrf": xsrf, **read})
        assert stale.status_code == 400
        assert re.search(rf'id="terms-wrong">{said}', stale.text)
    answer = await browser.http.post(action, data={"terms": "1", "_xsrf": xsrf})
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/hub/token"
    # sent beside the answer, and not only at the next start
    known = await link.until_told("reader-1", lambda told: told.access is not None and told.access.refusal is None)
    assert known.access is not None and known.access.terms == "1"
    assert (await start()).status_code in (201, 202)
    await hub.until("reader-1", is_ready)
    await hub.api("DELETE", "/users/reader-1/server")
    await hub.until("reader-1", is_stopped)
    with sqlite3.connect(hub.folder / "people.sqlite", timeout=60) as people:
        [(version, at)] = people.execute("SELECT terms, terms_at FROM people WHERE name = 'reader-1'").fetchall()
    assert version == "1" and at

    again = await Browser(hub).login("reader", query="?next=/hub/token")
    assert again.url.path == "/hub/token"
    assert "Accepted on" in (await browser.http.get("/hub/checklist")).text
    elsewhere = await browser.http.get("/hub/checklist?next=//evil.example")
    assert not urlsplit(elsewhere.headers["Location"]).netloc
    with sqlite3.connect(hub.folder / "people.sqlite", timeout=60) as people:  # they accepted an earlier version
        people.execute("UPDATE people SET terms = '0' WHERE name = 'reader-1'")
    again = await Browser(hub).login("reader")
    assert again.url.path == "/hub/checklist"
    for session in link.live("reader-1"):
        await link.end(session.id)
    assert (await start()).status_code == 403
