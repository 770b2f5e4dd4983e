"""The language of pages: selects the language for a request, and translates the link's texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_decimal
from pydantic import BaseModel
from tornado.httputil import HTTPServerRequest

from factorycommon import language
from factorycommon.models import Coded, SizeView

T = TypeVar("T")

SOURCE = language.SOURCE
COOKIE = "fg-lang"  # name of the cookie that the pages set

_CODE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8}){0,3}")
_SCRIPTS = ("extensions/frontend/common/", "extensions/frontend/pages/")
_CHECK = "extensions/frontend/connection/"
_MOST = 8  # languages that are read from one request


class PageLanguage(language.Language):
    """One language, with its texts and formats for pages and answers."""

    @cached_property
    def name(self) -> str:
        """Return the language's name in the language itself."""
        return str(Locale.parse(self.code, sep="-").get_display_name() or self.code).capitalize()

    def moment(self, at: datetime) -> str:
        """Return a time in the reader's language, in UTC, because the server does not know the reader's time zone."""
        return f"{format_datetime(at, 'd MMM yyyy HH:mm', tzinfo=UTC, locale=Locale.parse(self.code, sep='-'))} UTC"

    def moment_in(self, at: datetime, zone: str) -> str:
        """Return a time as the local time of an IANA time zone, with the zone's name, in the reader's language.

        If this system does not know the zone, return the time in UTC.
        """
        locale = Locale.parse(self.code, sep="-")
        try:
            there = ZoneInfo(zone)
        except (LookupError, ValueError):  # a zone that this system does not know
            return self.moment(at)
        return f"{format_datetime(at, 'EEE d MMM yyyy HH:mm', tzinfo=there, locale=locale)} ({zone})"

    def clock(self, at: datetime, now: datetime) -> str:
        """Return ``at`` in UTC, in the reader's language; without the date if ``now`` is on the same day (UTC)."""
        if at.astimezone(UTC).date() != now.astimezone(UTC).date():
            return self.moment(at)
        return f"{format_datetime(at, 'HH:mm', tzinfo=UTC, locale=Locale.parse(self.code, sep='-'))} UTC"

    @cached_property
    def countries(self) -> Mapping[str, str]:
        """Return the names of countries in this language, by their ISO 3166 codes."""
        return Locale.parse(self.code, sep="-").territories

    def number(self, value: float) -> str:
        """Return a number in the format of the reader's language."""
        return str(format_decimal(value, locale=Locale.parse(self.code, sep="-")))

    def spoken(self, value: T) -> T:
        """Return ``value``, a model of the link or a tuple or list of models, with its texts in this language.

        Any other value is returned as it is.
        """
        if self.code == SOURCE:
            return value
        if isinstance(value, tuple | list):
            return type(value)(self.spoken(one) for one in value)
        if not isinstance(value, BaseModel):
            return value
        update: dict[str, Any] = {}
        if isinstance(value, Coded):
            update = {name: self.said(value.as_message(name)) for name in value.TEXTS}
        elif isinstance(value, SizeView):
            update = {"gpu_label": self.said(value.gpu_label_message)}
        update |= {name: self.spoken(one) for name, one in value if isinstance(one, BaseModel | tuple | list)}
        return value.model_copy(update=update)

    @cached_property
    def browser(self) -> dict[str, Any]:
        """Return the translations for the scripts of all pages, as an object for JSON.

        ``language``: this language's code. ``texts``: the translations by English text. If a text has plural forms, its
        key is the English singular, and its value is a tuple of the translated forms. ``plural``: a string of 200
        digits, which says for each count which form to use: if the digit at index N is 1, the count N takes the form
        at index 1 of the tuple. A count N from 200 on takes the form of the count 100 + N % 100. For English, ``texts``
        and ``plural`` are empty.
        """
        return self.page(lambda file: file.startswith(_SCRIPTS))

    @cached_property
    def connection_check(self) -> dict[str, Any]:
        """Return the additional translations for the script of the connection check, as an object for JSON.

        The object has the keys of ``browser``: ``language``, ``texts``, ``plural``.
        """
        return self.page(lambda file: file.startswith(_CHECK))


class Languages:
    """All languages with a file ``LANGUAGE/LC_MESSAGES/factorygate.po`` in a folder, and English."""

    def __init__(self, folder: Path) -> None:
        self._all = language.read(folder, PageLanguage)

    def __iter__(self) -> Iterator[PageLanguage]:
        return iter(self._all.values())

    def of(self, request: HTTPServerRequest) -> PageLanguage:
        """Return the first language that the request prefers and that exists here; English if there is none."""
        return language.first(self._all, wanted(request))


def wanted(request: HTTPServerRequest) -> list[str]:
    """Return the codes of the languages that a request asks for, the preferred ones first.

    First come those of ``?lang=``, then the cookie of the language switch, then those of the browser. At most 8 codes.
    """
    asked = [value.decode("ascii", "replace") for value in request.query_arguments.get("lang", [])]
    cookie = request.cookies.get(COOKIE)
    asked += [cookie.value] if cookie is not None else []
    asked += _accepted(request.headers.get("Accept-Language", ""))
    return [code for code in asked if _CODE.fullmatch(code)][:_MOST]


@cache
def languages(folder: Path) -> Languages:
    """Return the languages in a folder, which each process reads once."""
    return Languages(folder)


def _accepted(header: str) -> list[str]:
    """Return the codes of the languages that an ``Accept-Language`` header accepts, the preferred ones first."""
    weighted: list[tuple[float, str]] = []
    for part in header.split(","):
        code, *more = (one.strip() for one in part.split(";"))
        weight = next((one[2:] for one in more if one[:2].lower() == "q="), "1")
        try:
            weighted.append((float(weight), code))
        except ValueError:
            continue  # a header that breaks RFC 9110 is ignored
    return [code for weight, code in sorted(weighted, key=lambda one: -one[0]) if code and weight > 0]
