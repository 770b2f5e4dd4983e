"""Returns the widgets' scripts and styles in anywidget's form: one ES module and one style sheet for each widget.

``built`` holds the bundles that ``extensions/frontend/build.mjs`` makes from the code that pages, widgets and
JupyterLab share. The texts of a script are in the language of the session's person.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from factorygate import language

KEPT = "application/vnd.factorygate.widget+json"

_BUILT = Path(__file__).parent / "built"
# esbuild names each source file before its part of the bundle
_SOURCE = re.compile(r"^// (\w+/\w+\.js)$", re.MULTILINE)


def module(widget: str) -> str:
    """Return the script of a widget, preceded by its translations, which ``widgets/catalogue.js`` reads.

    ``widget``: the name of its files in ``built``, without the suffix.
    """
    script = _text(f"{widget}.js")
    sources = {f"extensions/frontend/{name}" for name in _SOURCE.findall(script)}
    catalogue = language.here().page(lambda file: file in sources)
    return f"const FACTORYGATE_TEXTS = {json.dumps(catalogue)};\n{script}"


def styles(widget: str) -> str:
    """Return the style sheet of a widget. ``widget``: the name of its files in ``built``, without the suffix."""
    return _text(f"{widget}.css")


def kept(bundle: Any, model_id: str | None, text: str) -> Any:
    """Return ``bundle``, the MIME bundle of a widget, extended by ``text``, which describes the widget's state.

    The text is added as HTML, for programs without widgets, and under the type ``KEPT``: JupyterLab shows this text
    when the kernel no longer has the widget (``kept.ts`` of the extension). The result is a new pair of data and
    metadata. ``model_id``: the widget's id. If ``bundle`` or ``model_id`` is None, ``bundle`` is returned unchanged.
    """
    if bundle is None or model_id is None:
        return bundle
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    more = {KEPT: {"model_id": model_id, "text": text}, "text/html": f"<pre>{html.escape(text)}</pre>"}
    return {**data, **more}, metadata


def _text(name: str) -> str:
    return (_BUILT / name).read_text(encoding="utf-8")
