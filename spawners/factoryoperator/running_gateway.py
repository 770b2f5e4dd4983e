"""Reads the state of a running gateway of any release: whether hub and link answer, and what is live.

An upgrade compares the states before and after. Only a few fields are read, so that the answers of different releases
can be parsed in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from factorycommon.event_stream import EventReader
from factorycommon.tls import TlsError, dialing
from factoryoperator.gateway import Gateway
from factoryspawner.config.hub_config import HubConfigError, read_secret

T = TypeVar("T")

_SECONDS = 10.0  # timeout of a request
_PAGE = 200  # people in one response of the hub
# Reasons of the session, its person or its site, which would have ended it without an upgrade, too.
_OF_ITS_OWN = {
    "finished", "stopped", "idle", "unopened", "walltime", "out-of-memory", "node-failed", "preempted",
    "cancelled-by-site", "refused", "gave-up", "moved",
}  # fmt: skip


class GatewaySilent(Exception):
    """Raised if hub or link does not answer as expected. The message says which one, and what is wrong."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SeenSession(_Answer):
    """A session in the response of a link of any release, with the few fields that an upgrade needs."""

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    user: str = Field(max_length=255)
    server: str = Field("", max_length=255)
    job: str | None = Field(None, max_length=64)
    state: str = Field(max_length=20)
    reachable: bool = False
    end_reason: str | None = Field(None, max_length=40)

    def __str__(self) -> str:
        return f"session {self.id} of {self.user}{'/' if self.server else ''}{self.server}"


class SeenCluster(_Answer):
    """A Dask cluster in the response of a link of any release, with the few fields that an upgrade needs."""

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    user: str = Field(max_length=255)
    state: str = Field("", max_length=20)

    def __str__(self) -> str:
        return f"cluster {self.id} of {self.user}"


class _Table(_Answer):
    """The first event of the link's table stream: all live sessions and clusters."""

    sessions: tuple[SeenSession, ...]
    clusters: tuple[SeenCluster, ...] = ()


class _Server(_Answer):
    ready: bool = False


class _Person(_Answer):
    name: str = Field(max_length=255)
    servers: dict[str, _Server] = {}


_TABLE = TypeAdapter(_Table)
_SESSION = TypeAdapter(SeenSession)
_ENDED = 50  # of a person's clusters that have ended; the link gives no more
_CLUSTERS = TypeAdapter(list[SeenCluster])
_PEOPLE = TypeAdapter(list[_Person])


@dataclass(frozen=True)
class Observed:
    """The state of a gateway at one moment: its live sessions and clusters, by id, and its servers.

    ``ready``: (person, server name) of each server that the hub reports as ready.
    """

    sessions: Mapping[str, SeenSession] = field(default_factory=dict)
    clusters: Mapping[str, SeenCluster] = field(default_factory=dict)
    ready: frozenset[tuple[str, str]] = frozenset()


def observe(gateway: Gateway) -> Observed:
    """Request the state from hub and link. Raises GatewaySilent if one of them does not answer as expected.

    On a machine without hub.yaml, the result has no servers; on a machine without link.yaml, it has no sessions and
    clusters.
    """
    table = _table(gateway)
    sessions = {one.id: one for one in table.sessions}
    return Observed(sessions, {one.id: one for one in table.clusters}, frozenset(_ready(gateway)))


def losses(gateway: Gateway, before: Observed) -> list[str]:
    """Return descriptions of the sessions, clusters and servers of ``before`` that the gateway has lost; [] if none.

    A session or cluster is lost if the link no longer knows it. A session that ended is lost unless it ended for a
    reason of its own, such as the walltime. A session is also lost if its job is another one although the session's
    state is the same, or if the session runs and its notebook can no longer be reached. A server is lost if the hub no
    longer reports it as ready although its session runs. Raises GatewaySilent.
    """
    now = observe(gateway)
    return [*_lost_sessions(gateway, before, now), *_lost_clusters(gateway, before, now), *_lost_servers(before, now)]


def _lost_sessions(gateway: Gateway, before: Observed, now: Observed) -> Iterator[str]:
    for was in before.sessions.values():
        found = now.sessions.get(was.id) or _session(gateway, was.id)
        if found is None:
            yield f"{was}: the link does not know it any more"
        elif found.state == "ended":
            if found.end_reason not in _OF_ITS_OWN:
                yield f"{was}: it ended ({found.end_reason})"
        elif was.job is not None and found.job != was.job and found.state == was.state:
            yield f"{was}: it had the job {was.job}, and has {found.job}"
        elif was.reachable and not found.reachable and found.state == "running":
            yield f"{was}: its notebook cannot be reached"


def _lost_clusters(gateway: Gateway, before: Observed, now: Observed) -> Iterator[str]:
    """Yield a description of each cluster that was live, and that the link knows neither as live nor as ended.

    Of a person's clusters that have ended, the link is asked for the last ``_ENDED``.

    The clusters' jobs are not compared, because jobs start and end with the work.
    """
    for was in before.clusters.values():
        if was.state == "live" and was.id not in now.clusters and was.id not in _ended_clusters(gateway, was.user):
            yield f"{was}: the link does not know it any more"


def _lost_servers(before: Observed, now: Observed) -> Iterator[str]:
    live = {(one.user, one.server) for one in now.sessions.values() if one.state == "running"}
    for person, server in sorted((before.ready & live) - now.ready):
        yield f"the server {person}/{server}: the hub does not show it as ready"


# --- the link


def _table(gateway: Gateway) -> _Table:
    config = gateway.link.config
    if config is None:
        return _Table(sessions=())
    reader = EventReader()
    try:
        with _link(config.socket) as link, link.stream("GET", "/table") as answer:
            if answer.status_code == httpx.codes.OK:
                for piece in answer.iter_raw():
                    for event in reader.feed(piece):
                        if event.name == "snapshot":
                            return _read(_TABLE, event.data.encode(), "The link's table")
    except (httpx.HTTPError, OSError) as error:
        raise GatewaySilent(f"The link does not answer at {config.socket}: {error}") from error
    raise GatewaySilent(f"The link answers /table with {answer.status_code} and no snapshot")


def _session(gateway: Gateway, session_id: str) -> SeenSession | None:
    """Return a session, live or ended; None if the link does not know this session. Raises GatewaySilent."""
    answer = _ask_link(gateway, f"/sessions/{session_id}")
    return None if answer is None else _read(_SESSION, answer, "A session")


def _ended_clusters(gateway: Gateway, user: str) -> set[str]:
    """Return the ids of a person's last clusters that have ended, at most ``_ENDED``, however long ago.

    The set is empty if the link answers 404, or if this machine has no link. Raises GatewaySilent.
    """
    answer = _ask_link(gateway, f"/people/{quote(user, safe='')}/clusters?ended={_ENDED}")
    found = [] if answer is None else _read(_CLUSTERS, answer, "A person's list of clusters")
    return {one.id for one in found if one.state == "ended"}


def _ask_link(gateway: Gateway, path: str) -> bytes | None:
    """Return the body of the link's response; None for status 404, or if this machine has no link.

    Raises GatewaySilent.
    """
    config = gateway.link.config
    if config is None:
        return None
    try:
        with _link(config.socket) as link:
            answer = link.get(path)
    except (httpx.HTTPError, OSError) as error:
        raise GatewaySilent(f"The link does not answer at {config.socket}: {error}") from error
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    if answer.status_code != httpx.codes.OK:
        raise GatewaySilent(f"The link answers {path} with {answer.status_code}")
    return answer.content


def _link(socket: Path) -> httpx.Client:
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://link", timeout=_SECONDS, trust_env=False
    )


# --- the hub


def _ready(gateway: Gateway) -> Iterator[tuple[str, str]]:
    config = gateway.hub.config
    if config is None:
        return
    url = f"{config.hub_url}{config.base_url}hub"
    try:
        token = read_secret(config.service_token_file)
        verify = True if config.tls is None else dialing(config.tls)
    except (HubConfigError, TlsError) as error:
        raise GatewaySilent(str(error)) from error
    headers = {"Authorization": f"token {token}"}
    with httpx.Client(headers=headers, verify=verify, timeout=_SECONDS, trust_env=False) as hub:
        _ask_hub(hub, f"{url}/health", {})
        for page in count():
            params: dict[str, str | int] = {"state": "ready", "limit": _PAGE, "offset": page * _PAGE}
            people = _read(_PEOPLE, _ask_hub(hub, f"{url}/api/users", params), "The hub's list of people")
            for person in people:
                yield from ((person.name, server) for server, one in person.servers.items() if one.ready)
            if len(people) < _PAGE:
                return


def _ask_hub(hub: httpx.Client, url: str, params: Mapping[str, str | int]) -> bytes:
    try:
        answer = hub.get(url, params=params)
    except httpx.HTTPError as error:
        raise GatewaySilent(f"The hub does not answer at {url}: {error}") from error
    if answer.status_code != httpx.codes.OK:
        raise GatewaySilent(f"The hub answers {url} with {answer.status_code}")
    return answer.content


def _read(model: TypeAdapter[T], content: bytes, what: str) -> T:
    try:
        return model.validate_json(content)
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False)[0]
        raise GatewaySilent(f"{what} is not understood: {'.'.join(map(str, said['loc']))}: {said['msg']}") from error
