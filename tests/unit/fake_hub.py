"""The part of JupyterHub that the link uses, and the link of a ``World``, served to the hub and to people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response

from factorycommon.models import Choice, ClusterRequest, Scheduler, SessionRequest
from factorylink.api.cluster_websocket import ClusterWebSocket
from factorylink.background.hub_recovery import HubRecovery
from factorylink.client import LinkClient
from factorylink.hub_client import HubClient
from tests.unit.fake_factory import World
from tests.unit.serving import serving


class FakeHub:
    """The part of JupyterHub's API that the link uses. ``servers``: its servers; ``started``: the requested starts."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, dict[str, object]]] = {"ada": {}, "ben": {}}
        self.tokens = {"ada-token": "ada", "ben-token": "ben", "weak-token": "ada"}
        # scopes by token; other tokens have those of a person's token
        self.scopes: dict[str, list[str]] = {"weak-token": []}
        self.services = {"service-token": "factories"}
        self.admins: set[str] = set()
        self.started: list[tuple[str, str]] = []
        self.busy = 0  # number of starts that are answered by "is pending check"
        self.asked = 0
        self.knows_tokens = True  # False: its database is unavailable, and it refuses every token
        self.app = FastAPI()
        self.app.add_api_route("/hub/api/user", self.user)
        self.app.add_api_route("/hub/api/users", self.page)
        self.app.add_api_route("/hub/api/users/{name}/server", self.start, methods=["POST"])
        self.app.add_api_route("/hub/api/users/{name}/servers/{server}", self.start, methods=["POST"])

    async def user(self, request: Request, response: Response) -> dict[str, object]:
        self.asked += 1
        token = request.headers["Authorization"].removeprefix("token ")
        if token in self.services and self.knows_tokens:
            return {"name": self.services[token], "kind": "service", "scopes": ["list:users", "start:servers"]}
        if token not in self.tokens or not self.knows_tokens:
            response.status_code = 403
            return {}
        user = self.tokens[token]
        scopes = self.scopes.get(token, [f"access:servers!user={user}", "access:services!service=factories"])
        return {"name": user, "kind": "user", "scopes": scopes, "admin": user in self.admins}

    def session_token(self, user: str, server: str = "") -> str:
        """Return a token as JupyterHub makes one for that server of a person."""
        token = f"token-of-{user}-{server}"
        self.tokens[token] = user
        self.scopes[token] = [f"access:servers!server={user}/{server}", "access:services!service=factories"]
        return token

    async def page(self, request: Request, offset: int, limit: int) -> dict[str, object]:
        assert request.headers["Accept"] == "application/jupyterhub-pagination+json"
        names = sorted(self.users)[offset : offset + 1]
        following = {"offset": offset + 1, "limit": limit} if offset + 1 < len(self.users) else None
        items = [{"name": name, "kind": "user", "servers": self.users[name]} for name in names]
        return {"items": items, "_pagination": {"next": following, "offset": offset, "total": len(self.users)}}

    async def start(self, request: Request, response: Response, name: str, server: str = "") -> None:
        assert list(await request.json()) == ["adopt"]
        if name not in self.users:
            response.status_code = 404
            return
        if self.busy:
            self.busy -= 1
            response.status_code = 400
            return
        self.started.append((name, server))
        self.users[name][server] = {"ready": False, "pending": "spawn"}
        response.status_code = 202


class Link:
    """The link of a ``World``, on real sockets."""

    def __init__(
        self, world: World, client: LinkClient, hub: FakeHub, people: httpx.AsyncClient, bring_back: HubRecovery
    ) -> None:
        self.bring_back = bring_back
        self.world = world
        self.client = client
        self.hub = hub
        self.people = people


WIRE = "/services/factories/api/clusters/{cluster_id}/wire"


@asynccontextmanager
async def served(tmp_path: Path, world: World | None = None) -> AsyncIterator[Link]:
    """Serve the link over real sockets during the block.

    ``world``: a running world, None: a new one; either is stopped at the end.
    """
    world = world or await World(tmp_path).up()
    fake = FakeHub()
    (tmp_path / "token").write_text("service-token\n")
    async with serving(fake.app) as hub_url:
        settings = world.config.hub.model_copy(update={"url": hub_url})
        hub = HubClient(settings)
        bring_back = HubRecovery(world.live_sessions, hub)
        hub_side = world.parts.hub_app(bring_back)
        user_side = world.parts.user_app(world.parts.callers(hub), "/")
        user_side.add_api_websocket_route(WIRE, ClusterWebSocket(world.clusters, world.parts.callers(hub)).handle)
        async with serving(hub_side, world.config.socket), serving(user_side) as url:
            client = LinkClient(world.config.socket)
            async with httpx.AsyncClient(base_url=f"{url}/services/factories", timeout=30) as people:
                yield Link(world, client, fake, people, bring_back)
            world.feed.close()
            await client.close()
        await hub.close()
    await world.down()


def request(user: str = "ada", server: str = "", **choice: Any) -> SessionRequest:
    return SessionRequest(user=user, server=server, choice=Choice(**choice))


def cluster(name: str) -> ClusterRequest:
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    scheduler = Scheduler(address="tls://n7:8786", ca=pem, certificate=pem, key=pem)
    return ClusterRequest(name=name, factory="one", size="gpu-1", hours=1, scheduler=scheduler)
