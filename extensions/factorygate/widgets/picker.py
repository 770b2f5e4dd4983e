"""FactoryPicker: a widget for choosing a factory, a node size, an environment, hours and a project in a notebook."""

from __future__ import annotations

import html
import logging
import os
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import anywidget
import traitlets

from factorycommon.messages import of_error
from factorycommon.models import FactoryView
from factorygate import language
from factorygate.link import Link, LinkError, NoLinkError, has_own_token
from factorygate.widgets import assets, background
from factorygate.widgets.catalogue import estimates, follow
from factorygate.widgets.choosing import FIELDS, Choice, Factories, checked, completed, passing, refusal, standing

_log = logging.getLogger(__name__)
_COMPARED = 3  # number of walltimes whose start is estimated at once


class FactoryPicker(anywidget.AnyWidget):
    """A widget that shows the factories' live data, as the start page does, and holds the person's choice.

    ``value`` is the choice as a dict, which FactoryCluster and the gateway's API accept. The keys are ``factory``,
    ``size``, ``environment`` (ids), ``hours`` (float) and ``project`` (id of the project that is charged, or None).
    ``value`` may be set, also in parts: if the factory is missing, the picker chooses one, if possible one that can be
    used now; other missing parts take the factory's defaults. To set a choice that has a wrong form or is not offered
    raises TraitError with an explanation. Before the catalogue is received, only the form of a choice is checked, and
    ``value`` is what was set, or None. Each new catalogue replaces ``value`` by the nearest choice that is offered, or
    by None if nothing is offered to the person. Observers of ``value`` are called in the thread that changed it: the
    kernel's thread, or the background thread when the catalogue is received.
    """

    _esm = assets.module("picker")
    _styles = traitlets.Unicode(assets.styles("picker")).tag(sync=True)
    _state = traitlets.Dict({"kind": "loading", "message": "", "do": ""}).tag(sync=True)
    _catalogue: traitlets.List[Any] = traitlets.List().tag(sync=True)
    _passing = traitlets.Dict().tag(sync=True)
    _estimates = traitlets.Dict().tag(sync=True)
    value = traitlets.Instance(dict, allow_none=True).tag(sync=True)

    _factories: Factories | None = None
    _following: Future[None] | None = None

    def __init__(self, value: Mapping[str, Any] | None = None) -> None:
        # A person's click and the gateway's data arrive in different threads; the lock lets each thread see the other's
        # choice.
        self._choosing = threading.RLock()
        super().__init__(value=None if value is None else dict(value))
        self.on_msg(type(self)._heed)
        me = weakref.ref(self)
        self._following = background.start(
            follow(
                lambda factories: (picker := me()) is not None and picker._hear(factories),
                lambda error: (picker := me()) is not None and picker._be_told(error),
            )
        )

    def close(self) -> None:
        """Remove the widget from the page and stop following the factories.

        ipywidgets keeps a reference to every widget that is not closed, so a picker follows the factories even if no
        variable refers to the picker any more. All pickers of a kernel share one event stream, which ends when the last
        picker is closed.
        """
        if self._following is not None:
            self._following.cancel()
        super().close()

    # --- the choice

    @traitlets.validate("value")
    def _offered(self, proposal: Any) -> Choice | None:
        if proposal["value"] is None:
            return None if self._factories is None else completed({}, self._factories, _here())
        try:
            desired = checked(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(of_error(error)) from None
        if self._factories is None:
            return desired
        choice = completed(desired, self._factories, _here())
        problem = refusal(desired, choice, self._factories)
        if problem:
            raise traitlets.TraitError(problem)
        return choice

    def _hear(self, factories: list[FactoryView]) -> bool:
        """Use the new catalogue, in the background thread; return True, so that ``follow`` goes on."""
        with self._choosing:
            desired = self.value or {}
            choice = completed(desired, factories, _here())
            state = {"_catalogue": standing(factories), "_passing": passing(factories, _reached())}
            self._factories = factories
            for name, value in state.items():
                self.set_trait(name, value)
            self._state = _state("ready", refusal(desired, choice, factories))
            try:
                self.value = choice
            except Exception:  # noqa: BLE001  # an observer's error must not stop the picker
                _log.exception("An observer of the choice failed")
        return True

    def _be_told(self, error: LinkError) -> bool:
        kind = "no-link" if isinstance(error, NoLinkError) else "trouble"
        self._state = _state(kind, error.message, error.do)
        return True

    # --- messages from the page

    def _heed(self, content: Any, buffers: object) -> None:  # noqa: ARG002
        """Handle a message from the page; an invalid message does not change the choice.

        Before the catalogue is received, every message is ignored.
        """
        if not isinstance(content, dict) or self._factories is None:
            return
        if content.get("op") == "choose":
            self._choose({field: content.get(field) for field in FIELDS})
        elif content.get("op") == "estimates":
            self._ask(content)

    def _choose(self, desired: Mapping[str, Any]) -> None:
        try:
            with self._choosing:
                self.value = dict(desired)
        except traitlets.TraitError as error:
            self.send({"refused": language.here().said(of_error(error))})

    def _ask(self, content: Mapping[str, Any]) -> None:
        hours, choice = content.get("hours"), self.value
        if self._factories is not None:  # the person may have passed a token since
            self.set_trait("_passing", passing(self._factories, _reached()))
        if choice is None or not isinstance(hours, list) or len(hours) > _COMPARED:
            return
        try:
            asked = [checked({"hours": each})["hours"] for each in hours if each is not None]
        except ValueError:
            return
        background.start(_tell_estimates(weakref.ref(self), choice["factory"], choice["size"], asked))

    # --- output without a page

    def __repr__(self) -> str:
        choice, factories = self.value, self._factories
        if factories is None:
            state = " ".join(part for part in (self._state["message"], self._state["do"]) if part)
            return f"FactoryPicker: {state or 'asking the factories what is free'}"
        if choice is None:
            return "FactoryPicker: no factory is open to you right now"
        lines = ["FactoryPicker: " + ", ".join(f"{field} {value}" for field, value in choice.items() if value)]
        lines += [f"  {_line(factory)}" for factory in factories]
        return "\n".join(lines)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return assets.kept(super()._repr_mimebundle_(**kwargs), self.model_id, repr(self))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


async def _tell_estimates(picker: weakref.ref[FactoryPicker], factory: str, size: str, hours: list[float]) -> None:
    starts = await estimates(Link.here, factory, size, hours)
    if (state := picker()) is not None:
        state._estimates = {"of": f"{factory}/{size}", "starts": list(starts.items())}


def _state(kind: str, message: str, do: str = "") -> dict[str, str]:
    """Return the picker's state for the page, with its texts in the person's language.

    ``kind``: ``ready``, ``trouble`` or ``no-link``; ``message``: what is wrong, "" if nothing is; ``do``: what to do
    about that.
    """
    words = language.here()
    return {"kind": kind, "message": words.said(message), "do": words.said(do)}


def _here() -> str | None:
    """Return the id of the factory at which this session runs; None outside of a session.

    The factory is the picker's default, so that workers run where the session's data are.
    """
    return os.environ.get("FACTORYGATE_FACTORY")


def _reached() -> str | None:
    """Return the id of the only factory for which this notebook's token is valid; None: it is valid for all."""
    return None if has_own_token() else _here()


def _line(factory: FactoryView) -> str:
    health = factory.health
    words = health.words.what if health.words else health.state
    if health.state == "ok":
        words = ", ".join(f"{view.size.id}: room for {view.fits_now} now" for view in factory.sizes)
    return f"{factory.id} ({factory.site.machine}): {words}"
