"""Catalogues as gettext has them, and finished English sentences found again in them: for the notebook and the hub.

English texts are the keys. What the link said arrives as finished sentences with their parts filled in; those are found
again by the catalogue's own templates ("Job {job} was found."). So nothing has to travel or be stored beside a
sentence, what the ledger kept for years is translated, too, and a script reads plain English.
"""

from __future__ import annotations

import gettext
import io
import re
from collections.abc import Callable, Container, Iterable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog, Message

SOURCE = "en"
DOMAIN = "factorygate"
VARIABLE = "FACTORYGATE_LANGUAGE"  # of a session: the languages of its person, the most wanted first, between colons

_PART = re.compile(r"\{(\w+)\}")
_SENTENCES = re.compile(r"(?<=[.!?]) (?=[A-Z])")
_PLURALS = 200  # plural forms are told for 0..199; beyond, the last two digits decide in every language
_TOLD = 4096  # sentences kept translated
_LONGEST = 1000  # characters of a sentence that is looked for; that takes the square of them


def N_(text: str) -> str:
    """Mark a text to be translated where it is shown.

    Fill in parts with ``N_("Job {job} was found.").format(job=...)``: marked is what stands in the brackets.
    """
    return text


class Language:
    """One language. ``code``: as in ``<html lang>``; no catalogue: English."""

    def __init__(self, code: str, catalog: Catalog | None = None) -> None:
        self.code = code
        self._messages = () if catalog is None else tuple(catalog)
        self._plurals = "" if catalog is None else catalog.plural_expr
        self._texts = gettext.NullTranslations() if catalog is None else _compiled(catalog)
        self.gettext = self._texts.gettext
        self.ngettext = self._texts.ngettext
        self._kept = lru_cache(_TOLD)(self._found)

    def page(self, shows: Callable[[str], bool]) -> dict[str, Any]:
        """What a page needs that ``shows`` the texts of a file: ``texts``, and ``plural``: the form for 0, 1, 2, ... as
        digits."""
        if self.code == SOURCE:
            return {"language": self.code, "texts": {}, "plural": ""}
        texts: dict[str, str | tuple[str, ...]] = {}
        for message in self._messages:
            if message.id and _of(message, shows):
                key = message.id if isinstance(message.id, str) else message.id[0]
                texts[key] = message.string if isinstance(message.string, str) else tuple(message.string or ())
        index = gettext.c2py(self._plurals)
        return {"language": self.code, "texts": texts, "plural": "".join(str(index(n)) for n in range(_PLURALS))}

    def sentences(self, text: str) -> str:
        """The same of several texts that were joined to one, each of a sentence or more."""
        left, told = _SENTENCES.split(text), []
        while left:
            # The shortest that is known: the last part of a template takes whatever follows.
            texts = [" ".join(left[:end]) for end in range(1, len(left) + 1)]
            end = next((end for end, one in enumerate(texts, 1) if self.said(one) != one), 1)
            told.append(self.said(texts[end - 1]))
            del left[:end]
        return " ".join(told)

    def label(self, text: str) -> str:
        """The label of a node size, of which each part is translated by itself: "no GPU, up to 30 min"."""
        return ", ".join(self.said(part) for part in text.split(", "))

    def said(self, text: str) -> str:
        """A finished English sentence in this language; itself where the catalogue has no such sentence."""
        return self._kept(text) if len(text) <= _LONGEST else text

    def _found(self, text: str) -> str:
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
        for message in self._messages:
            if isinstance(message.id, str) and isinstance(message.string, str) and _of(message, _is_code):
                words = _PART.split(message.id)
                if len(words) > 1:
                    found.append((len("".join(words[::2])), _shape(words), message.string))
        return [(shape, template) for _, shape, template in sorted(found, key=lambda one: -one[0])]


L = TypeVar("L", bound=Language)


def read(folder: Path, kind: type[L], only: Container[str] | None = None) -> dict[str, L]:
    """All that a folder has, by their codes in small letters: ``LANGUAGE/LC_MESSAGES/factorygate.po``, and English.

    ``only``: codes in small letters; no other file is read."""
    from babel.messages.pofile import read_po

    known = {SOURCE: kind(SOURCE)}
    for path in sorted(folder.glob(f"*/LC_MESSAGES/{DOMAIN}.po")):
        code = path.parts[-3].replace("_", "-")
        if only is not None and code.lower() not in only:
            continue
        with path.open("rb") as file:
            known[code.lower()] = kind(code, read_po(file, locale=path.parts[-3]))
    return known


def first(known: Mapping[str, L], wanted: Iterable[str]) -> L:
    """The first that is wanted and known; English if there is none."""
    for code in wanted:
        language = known.get(code.lower()) or known.get(code.lower().split("-")[0])
        if language is not None:
            return language
    return known[SOURCE]


def _compiled(catalog: Catalog) -> gettext.GNUTranslations:
    from babel.messages.mofile import write_mo

    file = io.BytesIO()
    write_mo(file, catalog)
    file.seek(0)
    return gettext.GNUTranslations(file)


def _is_code(file: str) -> bool:
    return file.endswith(".py")


def _of(message: Message, wanted: Callable[[str], bool]) -> bool:
    """Whether it is translated, and from a file that is wanted."""
    return bool(message.string) and not message.fuzzy and any(wanted(str(file)) for file, _ in message.locations)


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
