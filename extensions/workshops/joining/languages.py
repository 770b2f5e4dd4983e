"""Translates the texts that this service itself writes in a person's language.

These texts are mails, certificates, and the notice in a session that the class moves to another factory. Other texts
leave the service as ``Message`` objects, and the page on which a person reads them translates them. The service keeps
in memory only the translations of its own texts, which are the ``Message`` objects whose code begins with one of
``OWN``.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from babel import Locale
from babel.dates import format_date

from factorycommon.language import DOMAIN, SOURCE, Language, first
from factorycommon.messages import Message
from workshops.times import in_zone

log = logging.getLogger("workshops")

FAREWELL = Message(
    "move-farewell", "Your class moves to {factory}. Save your work; your new seat is here in a minute: {url}"
)
HEADING = Message("certificate-heading", "Certificate of attendance")
TOOK_PART = Message("certificate-part", "took part in the workshop")
NUMBER = Message("certificate-number", "Number {number}")
VALID = Message("certificate-valid", "Whether it is valid: {url}")
DAYS = Message("certificate-days", "{begin} to {end} ({zone})")
OWN = ("certificate-", "letter-", "move-farewell")
_CONTEXTS = tuple(f'msgctxt "{one}' for one in OWN)


@cache
def known() -> Mapping[str, Language]:
    """Return English and the languages of all translation catalogues, by code in small letters.

    The catalogues are read at the first call only, and a catalogue that cannot be read is left out.
    """
    found = {SOURCE: Language(SOURCE)}
    for path in sorted(folder().glob(f"*/LC_MESSAGES/{DOMAIN}.po")):
        code = path.parts[-3].replace("_", "-")
        try:
            found[code.lower()] = _read(path, code)
        except (OSError, ValueError) as error:
            log.error("Nothing is translated into %s: %s", code, error)  # noqa: TRY400
    return found


def folder() -> Path:
    """Return the folder of the translation catalogues, which are files of the package ``factorygate``.

    Return the current folder if this package is missing.
    """
    found = find_spec("factorygate")
    return Path() if found is None or found.origin is None else Path(found.origin).parent / "locale"


def language_of(*wanted: str | None) -> Language:
    """Return the first of these languages that is English or has a catalogue, else English.

    A code with a region, such as ``de-AT``, also finds the catalogue of ``de``. Values that are None are skipped.
    """
    return first(known(), (one for one in wanted if one is not None))


def minute(at: datetime, zone: str, language: Language) -> str:
    """Return the date and the time of day of ``at`` in the time zone ``zone`` as text; the date is in ``language``."""
    there = in_zone(at, zone)
    locale = Locale("en", "GB") if language.code == SOURCE else Locale.parse(language.code, sep="-")
    return f"{format_date(there, 'long', locale)}, {there:%H:%M}"


def in_all(text: Message) -> dict[str, str]:
    """Return a text in every language whose code has two letters, by code."""
    return {code: language.said(text) for code, language in known().items() if len(code) == 2}


def _read(path: Path, code: str) -> Language:
    """Return the language ``code`` with the service's own texts only. Raises OSError, ValueError."""
    from babel.messages.pofile import read_po

    entries = path.read_text(encoding="utf-8").split("\n\n")
    kept = [entries[0], *(one for one in entries[1:] if _is_own(one))]
    return Language(code, read_po(io.BytesIO("\n\n".join(kept).encode()), locale=code.replace("-", "_")))


def _is_own(entry: str) -> bool:
    return any(line.startswith(_CONTEXTS) for line in entry.splitlines())
