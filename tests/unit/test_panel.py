"""ClusterPanel without a page: the data that it sends, its reactions to requests, and its texts."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from factorygate import ClusterPanel
from factorygate.link import LinkError
from factorygate.view_data import Adapting
from factorygate.widgets import panel as module
from tests.support.gateway import eventually
from tests.support.watched import ScriptedCluster, job, view


class Comm:
    """A stand-in for a kernel's comm: stores the data for the page."""

    comm_id = "1"

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, data: dict[str, Any], buffers: object = None, **_: object) -> None:
        self.sent.append(json.loads(json.dumps(data)))  # the data must be plain JSON

    def on_msg(self, heard: object) -> None: ...

    def close(self, *_: object, **__: object) -> None: ...

    def take(self) -> list[dict[str, Any]]:
        """Return the data that were sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


class Shown:
    """A panel, a cluster, and the page's end of the comm; the test itself calls ``look``."""

    def __init__(self, cluster: ScriptedCluster) -> None:
        self.cluster = cluster
        self.panel = ClusterPanel(cluster)
        self.comm = Comm()
        self.panel.comm = self.comm

    def page(self, **content: Any) -> None:
        self.panel._handle_custom_msg(content, [])

    def rows(self) -> list[dict[str, Any]]:
        return [sent["content"] for sent in self.comm.take() if sent["method"] == "custom"]


@pytest.fixture(autouse=True)
def no_background(monkeypatch: pytest.MonkeyPatch) -> None:
    class Still:
        def add(self, one: object) -> None: ...
        def remove(self, one: object) -> None: ...

    monkeypatch.setattr(module, "ticker", Still())


@pytest.fixture
def shown() -> Iterator[Shown]:
    one = Shown(ScriptedCluster(view(500)))
    one.page(op="watch", page="1")
    yield one
    one.panel.close()


def test_a_page_gets_one_screenful_of_many_jobs(shown: Shown) -> None:
    [told] = shown.rows()
    assert told["whole"] and told["total"] == 500 and len(told["rows"]) == 50
    assert told["order"][:3] == ["w-0", "w-1", "w-2"] and told["order"][10] == "w-10"


def test_nothing_is_sent_while_nothing_changes(shown: Shown) -> None:
    shown.comm.take()
    for _ in range(5):
        assert shown.panel.look()
    assert shown.comm.take() == []


def test_a_change_sends_that_row_and_no_other(shown: Shown) -> None:
    shown.comm.take()
    shown.cluster.change(7, node="nid001234")
    shown.panel.look()
    assert shown.rows() == [{"rows": {"w-7": {"state": "running", "node": "nid001234"}}, "whole": False}]


def test_a_change_off_the_page_sends_figures_at_most(shown: Shown) -> None:
    shown.comm.take()
    shown.cluster.change(400, node="nid001234")
    shown.panel.look()
    assert shown.comm.take() == []
    shown.cluster.change(400, state="ended")
    shown.panel.look()
    [sent] = [sent for sent in shown.comm.take() if sent["method"] == "update"]
    assert sent["state"]["_summary"]["counts"] | {"running": 499, "ended": 1} == sent["state"]["_summary"]["counts"]


def test_problems_come_first_and_are_found_by_filter(shown: Shown) -> None:
    shown.cluster.change(300, state="failed", why="The node failed.", do="Ask again.")
    shown.comm.take()
    shown.panel.look()
    [told] = shown.rows()
    assert told["order"][0] == "w-300" and told["rows"]["w-300"]["why"] == "The node failed."
    shown.page(op="rows", first=0, filter="trouble")
    [told] = shown.rows()
    assert told["order"] == ["w-300"] and told["whole"]


def test_pages_of_a_list_that_shrinks(shown: Shown) -> None:
    shown.page(op="rows", first=450, filter="all")
    assert shown.rows()[-1]["order"][0] == "w-450"
    shown.cluster.now = view(60)
    shown.panel.look()
    told = shown.rows()[-1]
    assert (told["first"], told["total"], len(told["order"])) == (50, 60, 10)


def test_a_log_goes_with_its_row_only_while_it_is_open(shown: Shown) -> None:
    shown.cluster.change(1, log_tail=("one", "two"))
    shown.panel.look()
    assert shown.rows()[-1]["rows"]["w-1"] == {"state": "running", "has_log": True}
    shown.page(op="log", name="w-1", open=True)
    assert shown.rows()[-1]["rows"]["w-1"]["log"] == ["one", "two"]
    shown.cluster.change(1, log_tail=("one", "two", "three"))
    shown.panel.look()
    assert shown.rows()[-1]["rows"]["w-1"]["log"][-1] == "three"
    shown.page(op="log", name="w-1", open=False)
    assert "log" not in shown.rows()[-1]["rows"]["w-1"]


def test_the_log_of_a_running_worker_is_read_when_it_is_opened(shown: Shown) -> None:
    shown.cluster.change(1, has_log=True)
    shown.panel.look()
    shown.page(op="log", name="w-2", open=True)  # the job has no log
    shown.page(op="log", name="w-1", open=True)
    shown.page(op="log", name="w-1", open=False)
    assert shown.cluster.done == [("log", "w-1")]


def test_growing_gpu_hours_are_sent_every_few_seconds(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLOW_SECONDS", 600.0)
    shown.comm.take()
    shown.cluster.now = replace(shown.cluster.now, gpu_hours_spent=1.5)
    shown.panel.look()
    assert shown.comm.take() == []
    monkeypatch.setattr(module, "FLOW_SECONDS", 0.0)
    shown.panel.look()
    [sent] = shown.comm.take()
    assert sent["state"]["_summary"]["spent"] == 1.5


def test_the_panel_s_buttons_scale_adapt_and_close_the_cluster(shown: Shown) -> None:
    shown.page(op="scale", jobs=12)
    assert shown.panel._said == {"text": "12 jobs wanted.", "bad": False}
    shown.page(op="adapt", minimum=1, maximum=20)
    shown.page(op="close", sure=True)
    assert shown.cluster.done == [("scale", 12), ("adapt", 1, 20), ("close",)]


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "scale",
        {},
        {"op": None},
        {"op": ["scale"]},
        {"op": "view"},
        {"op": "_act"},
        {"op": "scale"},
        {"op": "scale", "jobs": "12"},
        {"op": "scale", "jobs": True},
        {"op": "scale", "jobs": 1.5},
        {"op": "scale", "jobs": -1},
        {"op": "scale", "jobs": 501},
        {"op": "adapt", "minimum": 1},
        {"op": "adapt", "minimum": 5, "maximum": 4},
        {"op": "close"},
        {"op": "close", "sure": "yes"},
        {"op": "watch", "page": 7},
        {"op": "watch", "page": "x" * 1000},
        {"op": "rows", "first": -50, "filter": "__class__"},
        {"op": "rows", "first": True, "filter": ["all"]},
        {"op": "log", "name": {"a": 1}, "open": True},
        {"op": "leave"},
    ],
)
def test_invalid_messages_of_the_page_change_nothing(shown: Shown, content: Any) -> None:
    shown.panel._handle_custom_msg(content, [])
    assert shown.cluster.done == []
    assert (shown.panel._window.first, shown.panel._window.filter) == (0, "all")
    assert shown.panel.look()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("That would use 40 GPU-hours; 6 are left."), "That would use 40 GPU-hours; 6 are left."),
        (LinkError("limit", "No more jobs.", "End some."), "No more jobs. End some."),
    ],
)
def test_a_refusal_is_said_in_its_words(shown: Shown, error: Exception, words: str) -> None:
    shown.cluster.refuse = error
    shown.page(op="scale", jobs=40)
    assert shown.panel._said == {"text": words, "bad": True}


def test_a_cluster_that_cannot_be_looked_at_is_said_and_looked_at_again(shown: Shown) -> None:
    def broken() -> Any:
        raise RuntimeError("lost the loop")

    shown.cluster.view = broken  # type: ignore[method-assign]
    assert shown.panel.look()
    assert "lost the loop" in shown.panel._said["text"]


def test_the_panel_asks_only_while_somebody_looks_at_it() -> None:
    cluster = ScriptedCluster(view(3))
    one = Shown(cluster)
    looked = cluster.looked
    assert not one.panel.look() and cluster.looked == looked
    one.page(op="watch", page="a")
    one.page(op="watch", page="b")
    one.page(op="leave", page="a")
    assert one.panel.look()
    one.page(op="leave", page="b")
    assert not one.panel.look()
    one.page(op="watch", page="c")
    cluster.close()
    assert not one.panel.look(), "a closed cluster changes no more"
    assert one.panel._summary["status"] == "closed"
    one.panel.close()
    assert not one.panel.look()


def test_text_says_each_thing_once() -> None:
    waits = [job(number, "pending", why="Waits for free nodes.", do="Wait.") for number in range(200)]
    now = view(2, adapting=Adapting(0, 9), message="1 job was refused", dashboard="https://hub/d")
    text = repr(ClusterPanel(ScriptedCluster(replace(now, jobs=(*now.jobs, *waits)))))
    assert "2 running, 200 waiting" in text and "200 pending: Waits for free nodes. Wait." in text
    assert "1.25 spent, 2 an hour now, at most 10" in text and "1 job was refused" in text
    assert len(text.splitlines()) == 8


def test_no_text_of_a_cluster_becomes_markup() -> None:
    hostile = view(1, name="<script>alert(1)</script>", message="<img src=x onerror=alert(1)>")
    panel = ClusterPanel(ScriptedCluster(hostile))
    data, _ = panel._repr_mimebundle_()
    assert "alert(1)" in data["text/plain"]
    assert "<script" not in panel._repr_html_() and "<img" not in panel._repr_html_()


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "//elsewhere.example/x", "data:text/html,x", " https://x", ""]
)
def test_a_dashboard_that_is_no_web_address_is_no_link(address: str) -> None:
    assert ClusterPanel(ScriptedCluster(view(dashboard=address)))._summary["dashboard"] is None


def test_the_background_task_keeps_no_widget_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    from factorygate.widgets.background import Ticker

    class Looking:
        def __init__(self) -> None:
            self.times = 0
            self.broken = False

        def look(self) -> bool:
            self.times += 1
            if self.broken:
                raise RuntimeError("broken")
            return True

    monkeypatch.setattr("factorygate.widgets.background.INTERVAL", 0.01)
    ticker, other, held = Ticker(), Looking(), [Looking()]
    ticker.add(held[0])
    ticker.add(held[0])
    ticker.add(other)
    eventually(lambda: held[0].times > 2 and other.times > 2, every=0.01)
    broken = Looking()
    broken.broken = True
    ticker.add(broken)
    eventually(lambda: broken.times == 1, every=0.01)
    gone = weakref.ref(held.pop())
    eventually(lambda: gc.collect() >= 0 and gone() is None, every=0.01)
    assert broken.times == 1, "one that fails is left alone, and keeps no other from looking"
    ticker.remove(other)
    eventually(lambda: not ticker._runs, every=0.01)
    ticker.add(other)
    before = other.times
    eventually(lambda: other.times > before, every=0.01)
    ticker.remove(other)


def test_an_object_that_is_added_again_while_it_looks_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from factorygate.widgets.background import Ticker

    class Looking:
        """Is added by another thread while its first ``look`` finds nothing to do."""

        times = 0

        def look(self) -> bool:
            self.times += 1
            if self.times == 1:
                thread = threading.Thread(target=ticker.add, args=(self,))
                thread.start()
                thread.join()
            return self.times > 1

    monkeypatch.setattr("factorygate.widgets.background.INTERVAL", 0.01)
    ticker, one = Ticker(), Looking()
    ticker.add(one)
    eventually(lambda: one.times > 2, timeout=30, every=0.01)
    ticker.remove(one)
    eventually(lambda: not ticker._runs, every=0.01)
