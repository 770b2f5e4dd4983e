"""Draws certificates of attendance as PDF.

The font is Source Sans Pro, from the package ``font-source-sans-pro``: it has the letters of the languages of Europe,
also Greek and Cyrillic ones. What people chose as names and titles is printed as it is, except letters that the
font lacks (see ``printable``); nothing of it is read as markup.
"""

from __future__ import annotations

import io
import unicodedata
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fontTools.ttLib import TTFont
from fpdf import FPDF

from factorycommon.language import SOURCE, Language
from workshops.joining.languages import HEADING, NUMBER, TOOK_PART, VALID

_FONT = "SourceSansPro"
_UNKNOWN = "?"  # in place of a letter that the font does not have
_WIDTH, _MARGIN = 297, 25  # of A4 across, in mm
_GREY = (90, 90, 90)


@dataclass(frozen=True)
class CertificateText:
    """What a certificate says.

    ``name``: the person's name; ``title``: the workshop's title; ``days``: when the class took place, as text in
    ``language``; ``gateway``: the gateway's URL; ``id``: the certificate's number; ``url``: where the certificate can
    be checked; ``made``: the PDF's time of creation.
    """

    name: str
    title: str
    days: str
    gateway: str
    id: str
    url: str
    made: datetime
    language: Language = field(default_factory=lambda: Language(SOURCE))


def drawn(text: CertificateText) -> bytes:
    """Return the certificate as a PDF of one page."""
    said = text.language.said
    pdf = FPDF(orientation="landscape", format="A4")
    pdf.alias_nb_pages("")  # "{nb}" in a name is no number of pages
    pdf.set_auto_page_break(False)
    pdf.set_creation_date(text.made)
    pdf.set_title(said(HEADING))
    pdf.set_lang(text.language.code)
    for style, file in (("", "Regular"), ("B", "Bold")):
        pdf.add_font(_FONT, style, _file(file))
    pdf.set_margin(_MARGIN)
    pdf.add_page()
    pdf.rect(12, 12, _WIDTH - 24, 186)
    _line(pdf, 38, 15, said(HEADING), grey=True)
    _line(pdf, 58, _fitting(pdf, text.name, 34, 18), text.name, bold=True)
    _line(pdf, 92, 15, said(TOOK_PART), grey=True)
    _line(pdf, 104, _fitting(pdf, text.title, 24, 14), text.title, bold=True)
    _line(pdf, 138, 14, text.days)
    _line(pdf, 166, 10, text.gateway, grey=True)
    _line(pdf, 174, 10, said(NUMBER.format(number=text.id)), grey=True)
    _line(pdf, 181, 9, said(VALID.format(url=text.url)), grey=True)
    return bytes(pdf.output())


def zipped(texts: Iterable[CertificateText]) -> bytes:
    """Return a zip file with a PDF for each certificate.

    Before ``.pdf``, the name of each PDF has only ASCII letters, digits and dashes.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for number, text in enumerate(texts, 1):
            file.writestr(f"{number:03}-{file_name(text.name)}.pdf", drawn(text))
    return content.getvalue()


def file_name(name: str) -> str:
    """Return a name as part of a file name: at most 60 ASCII letters, digits and dashes.

    Accents are removed, and so are letters without an ASCII form, such as Greek ones; if nothing remains, the result
    is "certificate".
    """
    plain = unicodedata.normalize("NFKD", name.replace("ł", "l").replace("Ł", "L")).encode("ascii", "ignore").decode()
    words = "".join(one if one.isalnum() else " " for one in plain).split()
    return "-".join(words)[:60].strip("-") or "certificate"


def printable(text: str) -> str:
    """Return ``text`` with letters of the font only: any other letter loses its accents or becomes a question mark."""
    known = _letters()
    return "".join(one if ord(one) in known else _replacement(one, known) for one in unicodedata.normalize("NFC", text))


def _replacement(letter: str, known: frozenset[int]) -> str:
    plain = unicodedata.normalize("NFKD", letter)
    if unicodedata.combining(letter):
        return ""
    return "".join(one for one in plain if ord(one) in known and not unicodedata.combining(one)) or _UNKNOWN


def _line(pdf: FPDF, top: float, size: float, text: str, *, bold: bool = False, grey: bool = False) -> None:
    """Write a centred text across the page, in more than one line if it is long.

    ``top``: mm from the upper edge of the page; ``size``: of the font, in points.
    """
    pdf.set_font(_FONT, "B" if bold else "", size)
    pdf.set_text_color(*(_GREY if grey else (0, 0, 0)))
    pdf.set_xy(_MARGIN, top)
    pdf.multi_cell(_WIDTH - 2 * _MARGIN, size * 0.45, printable(text), align="C")


def _fitting(pdf: FPDF, text: str, most: float, least: float) -> float:
    """Return the largest font size from ``least`` to ``most`` points at which a text fits in one line.

    If the text does not fit at all, return ``least``.
    """
    pdf.set_font(_FONT, "B", most)
    wide = pdf.get_string_width(printable(text)) or 1.0
    return max(least, min(most, most * (_WIDTH - 2 * _MARGIN - 2) / wide))


@cache
def _file(style: str) -> Path:
    """Return the font's file for a style, such as ``Bold``. Raises FileNotFoundError."""
    found = find_spec("font_source_sans_pro")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package font-source-sans-pro")
    return Path(found.origin).parent / "files" / f"SourceSansPro-{style}.ttf"


@cache
def _letters() -> frozenset[int]:
    """Return the code points of the font's letters."""
    with TTFont(_file("Regular"), lazy=True) as font:
        return frozenset(font.getBestCmap())
