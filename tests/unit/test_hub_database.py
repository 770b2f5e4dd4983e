"""A real hub's answers about tokens while its database fails, and the link's reaction."""

from __future__ import annotations

import sqlite3

import pytest

from factorylink.config import Hub
from factorylink.errors import Unreachable
from factorylink.hub_client import HubClient
from tests.unit.hub_process import HubProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_valid_token_is_not_refused_while_the_hub_cannot_look_it_up(hub: HubProcess) -> None:
    made = await hub.api("POST", "/users/ada/tokens", json={"note": "test"})
    token = made.json()["token"]
    client = HubClient(Hub(url=hub.url, token_file=hub.folder / "service"))
    database = sqlite3.connect(hub.folder / "hub.sqlite", isolation_level=None, timeout=60)
    try:
        database.execute("ALTER TABLE api_tokens RENAME TO away")
        try:
            assert (await hub.api("GET", "/user", token)).status_code == 403  # JupyterHub's answer
            with pytest.raises(Unreachable, match="database does not answer"):
                await client.user_of(token)
        finally:
            database.execute("ALTER TABLE away RENAME TO api_tokens")
        caller = await client.user_of(token)
        assert caller is not None
        assert (caller.name, caller.allowed) == ("ada", True)
        assert await client.user_of("nobody's") is None
    finally:
        database.close()
        await client.close()
