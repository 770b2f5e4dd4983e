"""Reads translations in gettext's form, and translates texts by them. No other module translates texts.

A text is looked up by its English words. A ``Message`` (``factorycommon.messages``) is looked up by its code if this
release has the same English text for the code, else by its English words. The parts of a joined ``Message`` are looked
up one by one. A text without a translation is shown in English.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from factorycommon.messages import Message as Text

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog, Message

SOURCE = "en"
DOMAIN = "factorygate"
# the languages that a session's user prefers, the first choice first, separated by colons
VARIABLE = "FACTORYGATE_LANGUAGE"

_PLURALS = 200  # plural forms are stored for 0 to 199; for larger numbers the last two digits decide in every language


def N_(text: str) -> str:
    """Mark a text without parameters for translation, and return it. A text with parameters is a ``Message``."""
    return text


class Language:
    """Translates texts into one language.

    ``code``: the language's code, as in ``<html lang="de">``; ``catalog``: the translations, None: all texts stay
    English.
    """

    def __init__(self, code: str, catalog: Catalog | None = None) -> None:
        self.code = code
        self._messages = () if catalog is None else tuple(catalog)
        self._plurals = "" if catalog is None else catalog.plural_expr
        self._texts = gettext.NullTranslations() if catalog is None else _compiled(catalog)
        self.gettext = self._texts.gettext
        self.ngettext = self._texts.ngettext
        self._coded: dict[str, list[tuple[str, str]]] = {}  # by message code: the English text and its translation
        for message in self._messages:
            english, translated = message.id, message.string
            if message.context and isinstance(english, str) and isinstance(translated, str) and not message.fuzzy:
                self._coded.setdefault(message.context, []).append((english, translated or english))
        # Earlier releases stored messages without their codes. Such a text can still be translated if it has no
        # parameters.
        self._uncoded = {english: translated for known in self._coded.values() for english, translated in known}

    def page(self, shows: Callable[[str], bool]) -> dict[str, Any]:
        """Return the translations that a page needs.

        ``shows``: gets the path of a source file, and returns whether the page needs that file's texts. In the result,
        ``language`` is the code, and ``texts`` has the translations by English text. If a text has plural forms, its
        key in ``texts`` is the English singular, and the value is a tuple of all translated forms. ``plural`` is a
        string with one digit for each number from 0 to 199: the index of this number's form in such a tuple. For
        English, ``texts`` and ``plural`` are empty.
        """
        if self.code == SOURCE:
            return {"language": self.code, "texts": {}, "plural": ""}
        texts: dict[str, str | tuple[str, ...]] = {}
        for message in self._messages:
            if message.id and _of(message, shows):
                key = message.id if isinstance(message.id, str) else message.id[0]
                texts[key] = message.string if isinstance(message.string, str) else tuple(message.string or ())
        index = gettext.c2py(self._plurals)
        return {"language": self.code, "texts": texts, "plural": "".join(str(index(n)) for n in range(_PLURALS))}

    def said(self, text: str) -> str:
        """Return a text in this language, or the English text if it has no translation.

        A ``Message`` is looked up by its code if its English text is the one that this release has for the code. The
        text may differ, for example in a message that an older release wrote into the ledger. All other texts are
        looked up by their English words. The parts of a message that ``joined`` made are looked up one by one.
        """
        if not isinstance(text, Text):
            return self._plain(text)
        if text.parts:
            return text.separator.join(self.said(part) for part in text.parts)
        for english, translated in self._coded.get(text.code, ()):
            if _filled(english, text.parameters) == text:
                parts = {
                    name: self.said(part) if isinstance(part, Text) else part for name, part in text.parameters.items()
                }
                return _filled(translated, parts) or str(text)
        return self._plain(str(text))

    def _plain(self, text: str) -> str:
        translation = self.gettext(text) if text else ""
        return self._uncoded.get(text, text) if translation == text else translation


L = TypeVar("L", bound=Language)


def read(folder: Path, kind: type[L], only: Container[str] | None = None) -> dict[str, L]:
    """Return all languages of a folder, by their codes in lower case.

    The languages are the files ``LANGUAGE/LC_MESSAGES/factorygate.po``, and English. ``kind``: the class of the
    returned languages; ``only``: the codes, in lower case, of the files to read; None: all files.
    """
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
    """Return the first of the languages ``wanted`` that is known; English if none is.

    ``known``: by code, in lower case; ``wanted``: codes in any case; a code with a region, such as ``de-AT``, also
    finds ``de``.
    """
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


def _filled(template: str, parameters: Mapping[str, str]) -> str | None:
    """Return the template with the parameters filled in; None if the template needs other parameters.

    Without any parameters, return the template unchanged.
    """
    if not parameters:
        return template
    try:
        return template.format(**parameters)
    except (LookupError, ValueError, AttributeError):
        return None


def _of(message: Message, wanted: Callable[[str], bool]) -> bool:
    """Return True if the message has a translation and comes from a file for which ``wanted`` returns True."""
    return bool(message.string) and not message.fuzzy and any(wanted(str(file)) for file, _ in message.locations)
