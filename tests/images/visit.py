"""Runs in the hub's container: logs in through the proxy, and prints the texts of pages."""

import json
import re
import time
from pathlib import Path

import httpx

browser = httpx.Client(base_url="http://127.0.0.1:8000", follow_redirects=True, timeout=60, trust_env=False)


def up() -> bool:
    """Return whether hub, link and workshops service answer through the proxy."""
    try:
        answer = browser.get("/hub/status.json")
        workshops = browser.get("/services/workshops/health")
        return answer.status_code == workshops.status_code == 200 and answer.json()["link"] == "ok"
    except (httpx.TransportError, ValueError, KeyError):
        return False


end = time.monotonic() + 240
while not up():
    if time.monotonic() > end:
        raise SystemExit(f"the gateway did not come up: {browser.get('/hub/status.json').text[:2000]}")
    time.sleep(0.3)

status = browser.get("/hub/status")
form = browser.get("/hub/login")
field = re.search(r'name="_xsrf"\s+value="([^"]+)"', form.text)
assert field is not None, form.text
wrong = browser.post("/hub/login", data={"username": "ada", "password": "no", "_xsrf": field[1]})
workshops = browser.get("/services/workshops/health")
right = browser.post("/hub/login", data={"username": "ada", "password": "ada-secret", "_xsrf": field[1]})

# A route to a port without a listener gives the proxy's own error page.
token = Path("/etc/factorygate/proxy-token").read_text()
routes = "http://127.0.0.1:8001/api/routes/lost"
httpx.post(
    routes, json={"target": "http://127.0.0.1:9"}, headers={"Authorization": f"token {token}"}, trust_env=False
).raise_for_status()
lost = httpx.get("http://127.0.0.1:8000/lost/", timeout=60, trust_env=False)
print(
    json.dumps(
        {
            "status": [status.status_code, "Service status" in status.text],
            "wrong": wrong.status_code,
            "right": [right.status_code, "ada" in right.text, browser.get("/hub/home").status_code],
            "workshops": [workshops.status_code, workshops.json()],
            "lost": [lost.status_code, "Nothing is lost" in lost.text],
        }
    )
)
