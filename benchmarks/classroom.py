"""Runs jupyter-classroom as a service of the hub with batchspawner, and acts as the teacher who clicks "Start all"."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from benchmarks import measure
from benchmarks.gateways import Gateway
from testbed.install import environments as install

NAME = "jupyter-classroom"
SERVICE = "classroom-manager"
TEACHER = "teacher"  # a person of the hub; only administrators of the hub can enter jupyter-classroom
GROUP = "class"
PREFIX = f"/services/{SERVICE}"
LONGEST = 600.0  # seconds until the click is answered


def configuration(password_file: Path) -> tuple[str, ...]:
    """Return configuration lines for a hub with jupyter-classroom, as the documentation of jupyter-classroom says.

    People log in with one password for all, which is in ``password_file``.
    """
    program = install.program_folder() / "peers" / "bin" / "jupyter-classroom"
    service = {
        "name": SERVICE,
        "url": "http://127.0.0.1:10101",
        "command": [str(program)],
        "oauth_client_allowed_scopes": ["identify"],
        "oauth_no_confirm": True,  # the teacher is not asked whether the service may know them
    }
    scopes = [
        "list:users", "read:users", "admin:users", "admin:servers", "admin:groups", "read:groups", "list:groups",
    ]  # fmt: skip
    role = {"name": f"{SERVICE}-role", "services": [SERVICE], "scopes": scopes}
    user = {"name": "user", "scopes": ["self", f"access:services!service={SERVICE}"]}
    return (
        "c.JupyterHub.authenticator_class = 'dummy'",
        f"c.DummyAuthenticator.password = open({str(password_file)!r}).read()",
        f"c.Authenticator.admin_users = {{{TEACHER!r}}}",
        f"c.JupyterHub.services.append({service!r})",
        f"c.JupyterHub.load_roles += {[role, user]!r}",
    )


@asynccontextmanager
async def teacher(gateway: Gateway, password: str) -> AsyncIterator[httpx.AsyncClient]:
    """Put all people into a group, log in as the teacher, and yield a client that has the page of the group."""
    group = f"/hub/api/groups/{GROUP}"
    (await gateway.client.post(group)).raise_for_status()
    (await gateway.client.post(f"{group}/users", json={"users": list(gateway.bed.people)})).raise_for_status()
    async with httpx.AsyncClient(
        base_url=gateway.client.base_url, timeout=LONGEST, follow_redirects=True, trust_env=False
    ) as client:
        await client.get("/hub/login")
        answer = await client.post(
            "/hub/login",
            params={"next": "/hub/home"},
            data={"username": TEACHER, "password": password, "_xsrf": client.cookies.get("_xsrf", path="/hub/") or ""},
        )
        answer.raise_for_status()

        async def shown() -> bool:
            page = await client.get(f"{PREFIX}/classrooms/{GROUP}")
            return page.status_code == httpx.codes.OK and gateway.bed.people[0] in page.text

        await measure.until(shown, 60, "jupyter-classroom shows its class", every=0.5)
        yield client


async def start_all(client: httpx.AsyncClient) -> None:
    """Click on "Start all", and print the message that the page shows then."""
    answer = await client.post(f"{PREFIX}/classrooms/{GROUP}/servers/start")
    said = answer.url.params.get("flash", answer.status_code)
    measure.note(f"{NAME}: {said}")
