"""A cluster's Dask scheduler outside of the notebook: which versions it accepts, and the message for others."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from distributed.security import Security

from factorycommon.models import Scheduler
from factorygate.cluster import pages, versions, worker
from factorygate.cluster.cluster import FactoryCluster
from factorygate.cluster.external_scheduler import ExternalScheduler, SchedulerRequest, as_job
from factorygate.cluster.forwarder import Forwarder
from factorygate.cluster.keys import Keys, mend
from factorygate.link import Link, LinkRoute
from factorygate.session import scheduler_process


def told(**differ: str) -> Scheduler:
    return Keys.new().tell("tls://n7:8786").model_copy(update={"versions": versions.versions() | differ})


def test_the_description_contains_everything_for_trust() -> None:
    mine = Keys.new()
    theirs = Keys.of(mine.tell("tls://n7:8786"))
    for role in ("client", "worker", "scheduler"):
        assert theirs.get_tls_config_for_role(role) == mine.get_tls_config_for_role(role)
    assert theirs.require_encryption


def test_a_persons_own_security_object_is_changed_in_place() -> None:
    theirs = Security.temporary()
    told, shown = theirs.get_tls_config_for_role("client"), repr(theirs)
    mend(theirs)
    assert repr(theirs) == shown
    assert theirs.get_tls_config_for_role("client") == told
    context = theirs.get_connection_args("client")["ssl_context"]
    assert context.options & ssl.OP_IGNORE_UNEXPECTED_EOF


def test_another_version_is_refused_in_words() -> None:
    assert ExternalScheduler(told(), "at BRAIN++").address == "tls://n7:8786"
    assert ExternalScheduler(told(zarr="1.0"), "there").address  # not installed here, so it cannot differ
    with pytest.raises(versions.VersionsDifferError) as caught:
        ExternalScheduler(told(python="3.9", distributed="2020.1.0"), "at BRAIN++")
    words = str(caught.value)
    assert "python is 3.1" in words and "3.9 at BRAIN++" in words and "2020.1.0 at BRAIN++" in words
    assert "environment=" in words


async def test_a_worker_of_another_version_says_so_and_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "cluster.json"
    file.write_text(told(dask="1.0").model_dump_json())
    with caplog.at_level(logging.CRITICAL):
        assert await worker.run(argparse.Namespace(file=file)) == 4
    assert "1.0 where the cluster's scheduler runs" in caplog.text


def test_the_schedulers_folder_is_private_and_socket_paths_are_short(tmp_path: Path) -> None:
    here = {"FACTORYGATE_HUB_SOCKET": str(tmp_path / "hub.sock"), "JUPYTERHUB_SERVICE_PREFIX": "/user/ada/x/"}
    found = pages.folder("0123456789abcdef" * 2, here)
    assert found == tmp_path / "clusters/01234567"
    assert os.stat(found).st_mode & 0o777 == 0o700
    assert pages.folder("0123456789abcdef" * 2, here) == found
    assert pages.link("0123456789abcdef" * 2, here) == "/user/ada/x/factorygate/clusters/01234567/status"
    assert pages.link("0123456789abcdef" * 2, {}) == ""


ROUTE = LinkRoute("http://gateway/api", "t", None)


def ports() -> set[int]:
    """Return the TCP ports on which this process listens."""
    return {one.laddr.port for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_LISTEN}


async def test_a_forwarder_that_cannot_listen_at_its_socket_leaves_no_open_port(tmp_path: Path) -> None:
    before = ports()
    for length in (200, 300):  # too long for a socket, and for a file
        with pytest.raises(OSError, match="too long"):
            await Forwarder(ROUTE, "c-1", tmp_path / ("s" * length)).open()
    assert ports() == before


async def test_a_forwarder_that_is_cancelled_at_any_moment_leaves_no_open_port(tmp_path: Path) -> None:
    before, opened = ports(), False
    for turns in range(20):
        forwarder = Forwarder(ROUTE, "c-1", tmp_path / "s")
        task = asyncio.create_task(forwarder.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            opened = True
            await forwarder.close()
        assert ports() == before
    assert opened


async def test_a_scheduler_that_is_found_while_its_cluster_is_cancelled_is_let_go() -> None:
    left: list[str] = []

    async def closes(what: str) -> None:
        left.append(what)

    async def begins(_request: Any) -> Any:
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(outer.cancel)  # runs before the caller gets the result
        return SimpleNamespace(close=lambda: closes("scheduler"))

    cluster = SimpleNamespace(
        name="a", terms=None, route=ROUTE, idle_minutes=5, scheduler_hours=None, _close=lambda: closes("cluster"),
        cluster_api=SimpleNamespace(close=lambda: closes("api")),
    )  # fmt: skip
    outer = asyncio.create_task(FactoryCluster._begin_outside(cluster, begins))  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert left == ["api", "cluster", "scheduler"]


class OneJobApi:
    """A link's API for a cluster whose scheduler's job runs at once."""

    id = "0123456789abcdef" * 2

    def __init__(self) -> None:
        self.ended = False
        self.cluster: Any = None

    async def begin(self, _request: Any) -> None:
        self.cluster = SimpleNamespace(state="live", head=SimpleNamespace(state="running", waits_for=None))

    async def scheduler(self) -> Scheduler:
        return told()

    async def end(self) -> None:
        self.ended = True


async def test_a_cluster_whose_scheduler_cannot_be_connected_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "folder", lambda _id: tmp_path / ("s" * 200))
    api = OneJobApi()
    terms = SimpleNamespace(
        place=SimpleNamespace(here=False, factory_name="BRAIN++"), request=lambda _name, **_how: None
    )
    wanted = SchedulerRequest("a", api, terms, ROUTE, 5, None)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="too long"):
        await as_job(wanted)
    assert api.ended


class SlowLink:
    """A link that reports no events, and needs some time to end a cluster."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.closed = False

    async def events(self, _path: str, _kind: Any) -> AsyncIterator[tuple[str, Any]]:
        await asyncio.Event().wait()
        yield "cluster", None

    async def delete(self, path: str, _kind: Any) -> None:
        await asyncio.sleep(0.1)
        self.ended.append(path)

    async def close(self) -> None:
        self.closed = True


def test_a_scheduler_that_ends_by_itself_ends_its_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = SlowLink()
    monkeypatch.setattr(Link, "here", lambda: link)
    argv = ["--file", str(tmp_path / "s.json"), "--name", "a", "--idle-seconds", "0.1", "--cluster", "c-1"]
    assert asyncio.run(scheduler_process.run(scheduler_process.parse(argv), None)) == 0
    assert link.ended == ["/clusters/c-1"] and link.closed
