"""A hub with ``subdomain_host``: hosts of people's servers, cookies, links and redirects of pages, routes, framing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import yaml
from tornado.httputil import HTTPHeaders, HTTPServerRequest

from factoryspawner.config.hub_config import HubConfigError, load
from factoryspawner.config.subdomains import domain_of, hub_address
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess, is_ready
from tests.unit.test_hubconfig import write

HOST = "hub.example.org:8000"
PUBLIC = f"http://{HOST}"
ADA = f"http://ada.{HOST}/user/ada/"


@pytest.mark.parametrize(
    ("public_url", "subdomain_host", "said"),
    [
        (
            "https://hub.example.org",
            "https://other.example.org",
            "must be equal to public_url, https://hub.example.org",
        ),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "127.0.0.1 has no subdomains"),
        ("http://localhost:8000", "http://localhost:8000", "localhost has no subdomains"),
        ("https://hub.example.org/x", "https://hub.example.org/x", "must end with the host, without /x"),
        ("https://hub.example.org", "hub.example.org", "is not an address"),
    ],
)
def test_a_host_that_can_have_no_subdomains_is_refused(
    tmp_path: Path, public_url: str, subdomain_host: str, said: str
) -> None:
    with pytest.raises(HubConfigError) as refused:
        load(write(tmp_path, public_url=public_url, subdomain_host=subdomain_host))
    assert re.search(r"hub.yaml:\d+: subdomain_host: ", str(refused.value))
    assert said in str(refused.value)


def test_people_have_a_host_of_their_own_and_services_have_the_hubs() -> None:
    assert domain_of("ada", "hub.example.org", "user") == "ada.hub.example.org"
    assert domain_of("factories", "hub.example.org", "service") == "hub.example.org"
    names = ["ada", "Ada", "ada@example.org", "guest.4f2a", "a.b", "a-b", "äöü", "<img onerror=…>", "n" * 200]
    hosts = {domain_of(name, "hub.example.org", "user") for name in names}
    assert len(hosts) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]{1,63}\.hub\.example\.org", host) for host in hosts)


@pytest.mark.parametrize(
    ("method", "host", "uri", "address"),
    [
        ("GET", f"ada.{HOST}", "/hub/home?a=1", f"{PUBLIC}/hub/home?a=1"),
        ("GET", f"ADA.{HOST.upper()}", "/hub/home", f"{PUBLIC}/hub/home"),
        ("GET", HOST, "/hub/home", None),
        ("GET", "hub.example.org.evil.test:8000", "/hub/home", None),
        ("GET", f"evil{HOST}", "/hub/home", None),
        ("POST", f"ada.{HOST}", "/hub/home", None),
        ("GET", f"ada.{HOST}", "http://evil.test/", None),
        ("GET", f"ada.{HOST}", "//evil.test/", f"{PUBLIC}//evil.test/"),
    ],
)
def test_only_pages_on_a_persons_host_lead_to_the_hub(method: str, host: str, uri: str, address: str | None) -> None:
    assert hub_address(HTTPServerRequest(method, uri, headers=HTTPHeaders({"Host": host})), PUBLIC) == address


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def apart(tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside) -> AsyncIterator[HubProcess]:
    """Start a hub whose people have hosts of their own."""
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside)
    config = yaml.safe_load((made.folder / "hub.yaml").read_text()) | {"public_url": PUBLIC, "subdomain_host": PUBLIC}
    (made.folder / "hub.yaml").write_text(yaml.safe_dump(config))
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


class Browser:
    """Sends requests to a hub with the public host's name, and keeps the cookies."""

    def __init__(self, hub: HubProcess) -> None:
        self._http = hub.http
        self._cookies: dict[str, str] = {}
        self.seen: dict[str, str] = {}

    async def request(self, method: str, path: str, host: str = HOST, **data: str) -> httpx.Response:
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers = {"Host": host, "Cookie": cookies, "Sec-Fetch-Site": "same-origin", "Referer": f"http://{host}/"}
        answer = await self._http.request(method, path, headers=headers, data=data or None)
        for line in answer.headers.get_list("set-cookie"):
            name, value = line.partition(";")[0].split("=", 1)
            self._cookies[name], self.seen[name] = value, line
        return answer

    async def login(self) -> None:
        await self.request("GET", "/hub/login")
        answer = await self.request(
            "POST", "/hub/login", username="ada", password="ada-secret", _xsrf=self._cookies["_xsrf"]
        )
        assert answer.status_code == 302, answer.text


@pytest.mark.asyncio(loop_scope="module")
async def test_pages_cookies_and_links_on_the_hubs_host(apart: HubProcess) -> None:
    browser = Browser(apart)
    await browser.login()
    # The login's cookie is the hub's only; the id of the browser's session is shared, as JupyterHub does.
    assert "domain" not in browser.seen["jupyterhub-hub-login"].lower()
    assert "domain=hub.example.org" in browser.seen["jupyterhub-session-id"].lower()
    for path in ("/hub/home", "/hub/spawn", "/hub/token"):
        page = await browser.request("GET", path)
        assert page.status_code == 200
        assert f'data-user-url="{ADA}"' in page.text, path
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    check = await browser.request("GET", "/hub/check")
    assert check.status_code == 200
    assert 'data-base="/hub/"' in check.text  # measures this host


@pytest.mark.asyncio(loop_scope="module")
async def test_a_hub_page_on_a_persons_host_leads_to_the_hubs_host(apart: HubProcess) -> None:
    browser = Browser(apart)
    for path in ("/hub/home", "/hub/spawn-pending/ada", "/user/ada/lab", "/hub/no/such"):
        answer = await browser.request("GET", path, host=f"ada.{HOST}")
        assert (answer.status_code, answer.headers["location"]) == (302, f"{PUBLIC}{path}")
    assert (await browser.request("GET", "/hub/health")).status_code == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_a_server_opens_on_the_persons_host(apart: HubProcess) -> None:
    answer = await apart.api("POST", "/users/ada/server", json={"factory": "one"})
    assert answer.status_code in (201, 202), answer.text
    await apart.until("ada", is_ready)
    shown = (await apart.api("GET", "/users/ada")).json()["servers"][""]
    assert shown["full_url"] == ADA
    browser = Browser(apart)
    await browser.login()
    opened = await browser.request("GET", "/hub/user/ada/lab")
    assert opened.status_code == 302
    assert opened.headers["location"].startswith(f"{ADA}lab?redirects=")
    pending = await browser.request("GET", "/hub/spawn-pending/ada")
    assert pending.status_code == 302
    assert pending.headers["location"].startswith(ADA)
