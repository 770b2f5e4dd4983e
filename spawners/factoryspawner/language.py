"""The language of pages: catalogues, what a request asks for, and what the link said, in that language.

English texts are the keys, as gettext has it. The link answers in English, finished sentences with their parts filled
in; those are found again by the catalogue's own templates ("Job {job} was found."). So nothing has to travel or be
stored beside a sentence, what the ledger kept for years is translated, too, and a script reads plain English.
"""

from __future__ import annotations

import gettext
import io
import re
from collections.abc import Iterator
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from pydantic import BaseModel
from tornado.httputil import HTTPServerRequest

from factorylink.models import LogLine, Problem, SizeView, Words

T = TypeVar("T")

SOURCE = "en"
COOKIE = "fg-lang"  # set by the pages
DOMAIN = "factorygate"

_PART = re.compile(r"\{(\w+)\}")
_PLURALS = 200  # plural forms are told for 0..199; beyond, the last two digits decide in every language
_TOLD = 4096  # sentences kept translated
# What of the link's models is English for people; all else is names, numbers, and the scheduler's own words.
_TEXTS: dict[type[BaseModel], tuple[str, ...]] = {
    Words: ("what", "do"),
    Problem: ("message", "do"),
    LogLine: ("text",),
    SizeView: ("gpu_label",),
}


class Language:
    """One language. ``code``: as in ``<html lang>``; ``name``: in the language itself; no catalogue: English."""

    def __init__(self, code: str, catalog: Catalog | None = None) -> None:
        self.code = code
        self.name = str(Locale.parse(code, sep="-").get_display_name() or code).capitalize()
        self._catalog = catalog or Catalog()
        self._texts: gettext.NullTranslations = (
            _compiled(catalog) if catalog is not None else gettext.NullTranslations()
        )
        self.gettext = self._texts.gettext
        self.ngettext = self._texts.ngettext
        self.said = lru_cache(_TOLD)(self._said)

    def spoken(self, value: T) -> T:
        """A model of the link, or a tuple or list of them, with its texts in this language."""
        if self.code == SOURCE:
            return value
        if isinstance(value, tuple | list):
            return type(value)(self.spoken(one) for one in value)
        if not isinstance(value, BaseModel):
            return value
        update: dict[str, Any] = {name: self.said(getattr(value, name)) for name in _TEXTS.get(type(value), ())}
        update |= {name: self.spoken(one) for name, one in value if isinstance(one, BaseModel | tuple | list)}
        return value.model_copy(update=update)

    @cached_property
    def browser(self) -> dict[str, Any]:
        """What the pages' scripts need: ``texts`` of their own, ``plural``: the form for 0, 1, 2, ... as digits."""
        if self.code == SOURCE:
            return {"language": self.code, "texts": {}, "plural": ""}
        texts: dict[str, str | tuple[str, ...]] = {}
        for message in self._catalog:
            if message.id and _of(message, ".js"):
                key = message.id if isinstance(message.id, str) else message.id[0]
                texts[key] = message.string if isinstance(message.string, str) else tuple(message.string or ())
        index = gettext.c2py(self._catalog.plural_expr)
        return {"language": self.code, "texts": texts, "plural": "".join(str(index(n)) for n in range(_PLURALS))}

    def _said(self, text: str) -> str:
        """A finished English sentence in this language; itself where the catalogue has no such sentence."""
        told = self.gettext(text) if text else ""
        if told != text or not text:
            return told
        for shape, template in self._templates:
            if found := shape.fullmatch(text):
                return template.format(**found.groupdict())
        return text

    @cached_property
    def _templates(self) -> list[tuple[re.Pattern[str], str]]:
        """Texts with parts, as what they look like when filled in; those with most words of their own first."""
        found = []
        for message in self._catalog:
            if isinstance(message.id, str) and isinstance(message.string, str) and _of(message, ".py"):
                words = _PART.split(message.id)
                if len(words) > 1:
                    found.append((len("".join(words[::2])), _shape(words), message.string))
        return [(shape, template) for _, shape, template in sorted(found, key=lambda one: -one[0])]


class Languages:
    """All that a folder has: ``LANGUAGE/LC_MESSAGES/factorygate.po``; English is always there."""

    def __init__(self, folder: Path) -> None:
        self._all = {SOURCE: Language(SOURCE)}
        for path in sorted(folder.glob(f"*/LC_MESSAGES/{DOMAIN}.po")):
            code = path.parts[-3].replace("_", "-")
            with path.open("rb") as file:
                self._all[code.lower()] = Language(code, read_po(file, locale=path.parts[-3]))

    def __iter__(self) -> Iterator[Language]:
        return iter(self._all.values())

    def of(self, request: HTTPServerRequest) -> Language:
        """What a request asks for: by ``?lang=``, by the cookie that the switch on the page sets, by the browser."""
        asked = [value.decode("ascii", "replace") for value in request.query_arguments.get("lang", [])]
        cookie = request.cookies.get(COOKIE)
        asked += [cookie.value] if cookie is not None else []
        for code in (*asked, *_accepted(request.headers.get("Accept-Language", ""))):
            language = self._all.get(code.lower()) or self._all.get(code.lower().split("-")[0])
            if language is not None:
                return language
        return self._all[SOURCE]


@cache
def languages(folder: Path) -> Languages:
    """The languages in a folder, read once in the life of a process."""
    return Languages(folder)


def _compiled(catalog: Catalog) -> gettext.GNUTranslations:
    file = io.BytesIO()
    write_mo(file, catalog)
    file.seek(0)
    return gettext.GNUTranslations(file)


def _of(message: Message, kind: str) -> bool:
    """Whether it is translated, and from files of this kind."""
    return bool(message.string) and not message.fuzzy and any(str(file).endswith(kind) for file, _ in message.locations)


def _shape(words: list[str]) -> re.Pattern[str]:
    """``words``: text, name, text, name, ..., text."""
    names: set[str] = set()
    parts = []
    for index, word in enumerate(words):
        if index % 2 == 0:
            parts.append(re.escape(word))
        elif word in names:
            parts.append(f"(?P={word})")
        else:
            names.add(word)
            parts.append(f"(?P<{word}>.*?)")
    return re.compile("".join(parts), re.DOTALL)


def _accepted(header: str) -> list[str]:
    """The languages of an ``Accept-Language``, the most wanted first."""
    weighted: list[tuple[float, str]] = []
    for part in header.split(","):
        code, _, weight = part.strip().partition(";q=")
        try:
            weighted.append((float(weight or 1), code))
        except ValueError:
            continue  # not as RFC 9110 has it: as if it were not there
    return [code for weight, code in sorted(weighted, key=lambda one: -one[0]) if code and weight > 0]
