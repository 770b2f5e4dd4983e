"""Acts as a person who uses the gateway; runs in a machine of the tests, and prints one line of JSON.

``python -m tests.support.vm_visitor login PASSWORD`` logs in with name and password; ``… cell CODE`` starts the server
if it does not run, and runs a cell; ``… kernel ID CODE`` runs a cell in an existing kernel; ``… oidc NAME`` logs in at
the login provider.
"""

from __future__ import annotations

import html
import json
import re
import sys
import tempfile
from pathlib import Path
from urllib.parse import urljoin

import httpx

from tests.support.gateway import Gateway, eventually

URL = "https://gateway.example.org"
PERSON = "ada"
_START_SECONDS = 240


def main(what: str, *words: str) -> dict[str, object]:
    """Carry out one command; return the result."""
    with tempfile.TemporaryDirectory() as name:
        demo = Path(name) / "demo.json"
        token = Path("/etc/factorygate/secrets/admin-token").read_text(encoding="ascii").strip()
        users = [{"name": PERSON, "password": words[0]}]
        demo.write_text(json.dumps({"hub_url": URL, "admin_token": token, "factories": {}, "users": users, "pids": {}}))
        gateway = Gateway(demo)
    if what == "login":
        client = gateway.browser_session(PERSON)
        page = client.get(f"{gateway.hub}/home")
        inside = [client.get(f"{URL}{path}").status_code for path in ("/_chp_healthz", "/hub/metrics")]
        hsts = page.headers.get("Strict-Transport-Security")
        secure = all(cookie.secure for cookie in client.cookies.jar)
        client.close()
        return {"status": page.status_code, "hsts": hsts, "secure": secure, "inside": inside}
    if what == "oidc":
        return log_in_by_provider(gateway, words[0])
    if what == "cell":
        if gateway.server(PERSON) is None:
            answer = gateway.start(PERSON)
            assert answer.status_code in (201, 202), answer.text
        gateway.wait_ready(PERSON, timeout=_START_SECONDS)
        notebook = gateway.notebook(PERSON)
        kernel = notebook.kernel()
        return {"kernel": kernel, "printed": notebook.run(words[0], kernel)}
    kernel, code = words
    session = eventually(lambda: gateway.server(PERSON), what="the hub knows the server again")
    notebook = gateway.notebook(PERSON)
    eventually(lambda: notebook.request("GET", "/api/status").status_code == 200, what="the notebook is reached")
    return {"server": session["ready"], "printed": notebook.run(code, kernel)}


def log_in_by_provider(gateway: Gateway, name: str) -> dict[str, object]:
    """Follow the login page's link to the provider, log in there, and return to the gateway; return what came of it.

    ``status``, ``url``: of the page after the login; ``operator``: the status of the operator's page, None: the hub
    asked for a login instead.
    """
    client = httpx.Client(follow_redirects=True, timeout=60)
    link = re.search(r'href="([^"]*/oidc/[^"]*)"', client.get(f"{gateway.hub}/login").text)
    assert link is not None
    asked = client.get(urljoin(gateway.hub, html.unescape(link[1])))
    assert asked.url.host != httpx.URL(URL).host, asked.url
    page = client.post(asked.url, data={"sub": name})
    operator = client.get(f"{gateway.hub}/operator")
    client.close()
    there = operator.url.path.endswith("/operator")  # and not at the login page
    return {
        "status": page.status_code,
        "url": str(page.url),
        "operator": operator.status_code if there else None,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
