"""ClusterPanel: shows a cluster in a notebook, with controls to scale, adapt or end it."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets

from factorycommon.language import N_
from factorycommon.messages import Message, of_error
from factorygate import language
from factorygate.link import LinkError
from factorygate.view_data import ClusterView, Watched
from factorygate.widgets import assets
from factorygate.widgets.background import ticker
from factorygate.widgets.rows import Window
from factorygate.widgets.summary import FLOWING, summary, text

FLOW_SECONDS = 5.0  # seconds between two updates of figures that grow with time
_MOST_PAGES = 100


class ClusterPanel(anywidget.AnyWidget):
    """A panel for any cluster that has the methods of ``Watched``.

    While a page shows the panel, the panel reads the cluster twice a second, and sends only what has changed. It also
    answers each request of the page at once. GPU-hours are in GPUs as the factory's scheduler counts them.
    """

    _esm = assets.module("panel")
    _styles = traitlets.Unicode(assets.styles("panel")).tag(sync=True)
    _summary = traitlets.Dict().tag(sync=True)
    _said = traitlets.Dict({"text": "", "bad": False}).tag(sync=True)  # the result of the last request from the panel

    def __init__(self, cluster: Watched) -> None:
        self._cluster = cluster
        self._looking = threading.RLock()  # the kernel's thread and the background thread both call ``look``
        self._window = Window()
        self._pages: set[str] = set()
        self._seen: ClusterView = cluster.view()
        self._flowed = time.monotonic()
        super().__init__(_summary=summary(self._seen))
        self.on_msg(type(self)._heed)

    def look(self) -> bool:
        """Read the cluster; if it has changed, update the pages that show the panel.

        Return False if no page shows the panel, or if the cluster can no longer change; then no further call is needed.
        """
        with self._looking:
            if not self._pages or self.comm is None:
                return False
            try:
                view = self._cluster.view()
            except Exception as error:  # noqa: BLE001  # whatever the error is, the panel shows it
                self._say(
                    Message("cluster-not-seen", "The cluster cannot be looked at: {why}").format(why=of_error(error)),
                    bad=True,
                )
                return True
            if view != self._seen or time.monotonic() - self._flowed > FLOW_SECONDS:
                self._tell(view)
            return view.status != "closed"

    def _tell(self, view: ClusterView) -> None:
        now = time.monotonic()
        fresh = summary(view)
        if now - self._flowed <= FLOW_SECONDS:
            still = fresh | {figure: self._summary[figure] for figure in FLOWING}
            if still == self._summary:
                fresh = still
            else:
                self._flowed = now
        else:
            self._flowed = now
        self._seen = view
        self._summary = fresh
        self._tell_rows()

    def _tell_rows(self) -> None:
        changes = self._window.changes(self._seen)
        if changes is not None:
            self.send(changes)

    def _say(self, words: str, bad: bool = False) -> None:
        self._said = {"text": language.here().said(words), "bad": bad}

    # --- messages from the page

    def _heed(self, content: Any, buffers: object) -> None:  # noqa: ARG002
        """Handle a message from the page; an invalid message does not change the cluster."""
        op = content.get("op") if isinstance(content, dict) else None
        deed = {
            "watch": self._watch,
            "leave": self._leave,
            "rows": self._rows,
            "log": self._log,
            "scale": self._scale,
            "adapt": self._adapt,
            "close": self._end,
        }.get(op if isinstance(op, str) else "")
        if deed is not None:
            deed(content)

    def _watch(self, content: Mapping[str, Any]) -> None:
        page = content.get("page")
        if not isinstance(page, str) or len(page) > 64 or len(self._pages) >= _MOST_PAGES:
            return
        with self._looking:
            self._pages.add(page)
            self._window.forget()
            self.look()
            self._tell_rows()
        ticker.add(self)

    def _leave(self, content: Mapping[str, Any]) -> None:
        with self._looking:
            self._pages.discard(str(content.get("page")))

    def _rows(self, content: Mapping[str, Any]) -> None:
        with self._looking:
            self._window.move(content.get("first"), content.get("filter"))
            self._tell_rows()

    def _log(self, content: Mapping[str, Any]) -> None:
        name, opened = content.get("name"), content.get("open")
        with self._looking:
            self._window.open_log(name, opened)
            self._tell_rows()
            if opened is True and any(job.name == name and job.has_log for job in self._seen.jobs):
                self._cluster.read_log(str(name))

    def _scale(self, content: Mapping[str, Any]) -> None:
        jobs = self._number(content.get("jobs"))
        if jobs is not None:
            self._act(lambda: self._cluster.scale(jobs=jobs), _wanted(jobs))

    def _adapt(self, content: Mapping[str, Any]) -> None:
        least, most = self._number(content.get("minimum")), self._number(content.get("maximum"))
        if least is None or most is None:
            return
        if least > most:
            self._say(N_("The least number of jobs is above the most."), bad=True)
            return
        self._act(
            lambda: self._cluster.adapt(minimum_jobs=least, maximum_jobs=most),
            Message("adapting", "Adapting to the workload, between {least} and {most} jobs.").format(
                least=least, most=most
            ),
        )

    def _end(self, content: Mapping[str, Any]) -> None:
        if content.get("sure") is True:
            self._act(self._cluster.close, N_("All jobs are being ended."))

    def _number(self, value: object) -> int | None:
        """Return ``value`` if it is a number of jobs that may be requested; else show an error and return None."""
        most = self._seen.maximum
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
            return value
        self._say(
            Message("jobs-out-of-bounds", "A number of jobs is a whole number from 0 to {most}.").format(most=most),
            bad=True,
        )
        return None

    def _act(self, deed: Callable[[], object], done: str) -> None:
        try:
            deed()
        except (ValueError, LinkError) as error:
            self._say(of_error(error), bad=True)
        else:
            self._say(done)
        ticker.add(self)  # the ticker may have removed this panel

    # --- output without a page

    def __repr__(self) -> str:
        return text(self._cluster.view())

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return assets.kept(super()._repr_mimebundle_(**kwargs), self.model_id, repr(self))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def _wanted(jobs: int) -> str:
    return N_("1 job wanted.") if jobs == 1 else Message("jobs-wanted", "{number} jobs wanted.").format(number=jobs)
