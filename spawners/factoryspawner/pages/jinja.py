"""Translation in JupyterHub's templates: a Jinja extension, and translations of JupyterHub's own texts.

In a template: ``{{ _("Text") }}``, ``{% trans name=... %}Text with {{ name }}{% endtrans %}``, ``language()``,
``said(text)`` for the link's texts, ``said_html(html)`` for a failed start as HTML. ``request_id()``: the id of the
page's request. ``here()``: the page's URL, to return to. ``languages``: all languages. ``browser_texts(language)`` and
``check_texts(language)``: the texts for scripts, as JSON. ``banner()``: the operators' text for all pages, or "".
``has_workshops``: True if there are workshops.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, pass_context
from jinja2.ext import InternationalizationExtension
from jinja2.runtime import Context
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from factorycommon import request_id
from factorycommon.language import N_
from factoryspawner.errors import FailureHtml
from factoryspawner.language import Languages, PageLanguage, languages

# Texts of JupyterHub's templates outside of replaceable blocks: (markup, text in the markup).
UPSTREAM = (
    ("JupyterHub requires JavaScript.", N_("Most pages here need JavaScript."), "{{ _(text) }}"),
    ("Please enable it to proceed.", N_("Please switch it on."), "{{ _(text) }}"),
    ('<html lang="en">', "", '<html lang="{{ language().code }}">'),
    ("<h1>Sign in</h1>", "Sign in", "<h1>{{ _(text) }}</h1>"),
    ("value='Sign in'", "Sign in", 'value="{{ _(text) }}"'),
    (">Username:<", N_("Name"), ">{{ _(text) }}<"),
    (">Password:<", N_("Password"), ">{{ _(text) }}<"),
    ("{{ login_error }}", "", "{{ said(login_error) }}"),
)


class Translation(InternationalizationExtension):
    """Jinja's i18n extension, which uses the language of the request that is answered."""

    folder: Path  # folder of the catalogues
    banner: Callable[[], str]  # returns the operators' text for all pages
    has_workshops: bool

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.policies["ext.i18n.trimmed"] = True
        environment.globals.update(language=self._language, languages=self._all, said=self._said, here=_here)
        environment.globals.update(said_html=self._said_html, browser_texts=_texts, request_id=request_id.current)
        environment.globals.update(check_texts=_check_texts)
        environment.globals.update(banner=self.banner, has_workshops=self.has_workshops)
        self._install_callables(self._gettext, self._ngettext, newstyle=True)  # type: ignore[arg-type]  # with context

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        """Return the template ``source``, with translatable texts in place of the texts that ``UPSTREAM`` lists.

        The attribute ``lang`` of the page becomes the code of the page's language.
        """
        for there, text, instead in UPSTREAM:
            source = source.replace(there, instead.replace("text", f'"{text}"', 1) if text else instead)
        return source

    @property
    def _all(self) -> Languages:
        return languages(self.folder)

    @pass_context
    def _language(self, context: Context) -> PageLanguage:
        return _of(context, self._all)

    @pass_context
    def _said(self, context: Context, text: str) -> str:
        return _of(context, self._all).said(text)

    @pass_context
    def _said_html(self, context: Context, html: str) -> Markup:
        if isinstance(html, FailureHtml):
            return html.translated(_of(context, self._all).said)
        return Markup(html)  # noqa: S704  # nosec B704  # JupyterHub's own: what is put into it is escaped

    @pass_context
    def _gettext(self, context: Context, text: str) -> str:
        return _of(context, self._all).gettext(text)

    @pass_context
    def _ngettext(self, context: Context, one: str, many: str, count: int) -> str:
        return _of(context, self._all).ngettext(one, many, count)


def translation(folder: Path, banner: Callable[[], str] = lambda: "", has_workshops: bool = False) -> type[Translation]:
    """Return the class of Jinja's translation extension, for ``c.JupyterHub.jinja_environment_options``.

    ``folder``: the folder of the translations; ``banner``: a function that returns the operators' present text for all
    pages; ``has_workshops``: whether the menu has the page of workshops.
    """
    languages(folder)  # read now, so that the first page does not wait for the files
    parts = {"folder": folder, "banner": staticmethod(banner), "has_workshops": has_workshops}
    return type("Translation", (Translation,), parts)


def _of(context: Context, known: Languages) -> PageLanguage:
    """Return the page's language.

    JupyterHub passes no request to templates, but a method of the handler, and the handler has the request.
    """
    handler: Any = context["static_url"].__self__
    return known.of(handler.request)


@pass_context
def _here(context: Context) -> str:
    """Return the path and query of the page, as a URL to return to.

    For a callback of a login provider, whose URL is valid once only, return the URL of the login page.
    """
    handler: Any = context["static_url"].__self__
    path = handler.request.path
    if path.startswith(f"{handler.hub.base_url}oidc/") and path.endswith("/callback"):
        return str(handler.settings["login_url"])
    return str(handler.request.uri)


def _texts(language: PageLanguage) -> str:
    return htmlsafe_json_dumps(language.browser)


def _check_texts(language: PageLanguage) -> str:
    return htmlsafe_json_dumps(language.connection_check)
