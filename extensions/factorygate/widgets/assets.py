"""The scripts and styles of the widgets, as anywidget takes them: one ES module, whole, from the package alone.

``static/pages`` holds links to the start page's own files, so that a picker has its words, order and rules; a wheel
has the files themselves. The scripts are plain modules with named imports of their neighbours, which is all that
``module`` understands. They speak the language of the session's person.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from factorygate import language

KEPT = "application/vnd.factorygate.widget+json"

_STATIC = Path(__file__).parent / "static"
_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:const|let|class|function|async function) (\w+))", re.MULTILINE)


def module(entry: str) -> str:
    """The text of one ES module: ``static/ENTRY`` with all that it imports."""
    texts: dict[Path, str] = {}
    _gather(_STATIC / entry, texts)
    *needed, last = texts
    names = {path.name for path in texts}
    catalogue = language.here().page(lambda file: file.rpartition("/")[2] in names)
    parts = []
    for path in needed:
        parts.append(_enclosed(path, texts[path]))
        if path.name == "translate.js":  # before any of those that have texts
            parts.append(f"{_name(path)}.use({json.dumps(catalogue)});")
    return "\n".join([*parts, texts[last]])


def styles(*names: str) -> str:
    """These style sheets of ``static``, one after another."""
    return "\n".join((_STATIC / name).read_text() for name in names)


def kept(bundle: Any, model_id: str | None, text: str) -> Any:
    """Return the MIME bundle of a widget with its state as text beside it: for JupyterLab once the kernel no longer has
    the widget (the extension's ``kept.ts``), and for whatever shows no widgets."""
    if bundle is None or model_id is None:
        return bundle
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    more = {KEPT: {"model_id": model_id, "text": text}, "text/html": f"<pre>{html.escape(text)}</pre>"}
    return {**data, **more}, metadata


def _gather(path: Path, texts: dict[Path, str]) -> None:
    """Adds a module after what it imports."""
    if path in texts:
        return
    text = path.read_text()
    for _, neighbour in _IMPORT.findall(text):
        _gather(path.parent / neighbour, texts)

    def taken(match: re.Match[str]) -> str:
        names = ", ".join(name.strip().replace(" as ", ": ") for name in match[1].split(",") if name.strip())
        return f"const {{ {names} }} = {_name(path.parent / match[2])};"

    texts[path] = _IMPORT.sub(taken, text)


def _enclosed(path: Path, text: str) -> str:
    """A module as a function's result, so that its own names are no other's."""
    names = ", ".join(_EXPORT.findall(text))
    return f"const {_name(path)} = (() => {{\n{_EXPORT.sub('', text)}\nreturn {{ {names} }};\n}})();"


def _name(path: Path) -> str:
    return f"module_{path.stem}"
