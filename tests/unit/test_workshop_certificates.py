"""Certificates of attendance: names in all our languages are printed correctly, and their numbers prove them valid."""

from __future__ import annotations

import dataclasses
import io
import re
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorycommon import language
from factorycommon.language import Language
from workshops.ending import certificate_pdf, certificates
from workshops.ending.certificate_pdf import CertificateText, drawn, file_name, printable
from workshops.joining import languages

SECRET, SLUG = b"k" * 32, "first-steps-2345"
PO = "{}/LC_MESSAGES/factorygate.po"
NAMES = (
    "Łukasz Żółć-Ąę", "<img onerror=x>", "Žydrūnas Šulskis", "Ștefan Țîrlea", "Řehoř Dvořák", "Zoë Müßig-Åström",
    "Çağ Óskar ß", "Ελένη Παπαδοπούλου", "Иван Їжак", "{nb} **not bold** __x__", "a (b) \\ c", "W" * 80,
)  # fmt: skip


def text(name: str = "Ada", title: str = "First steps") -> CertificateText:
    gateway = "https://hub.example.org/"
    url = f"{gateway}hub/workshops/certificates/x"
    made = datetime(2026, 12, 1, tzinfo=UTC)
    return CertificateText(name, title, "30 November 2026", gateway, f"{SLUG}.x", url, made)


def said(pdf: bytes) -> list[str]:
    """Return the lines of text in a PDF of fpdf2, decoded by the tables of its fonts."""
    packed = re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)
    streams = [zlib.decompress(one) if one.startswith(b"x") else one for one in packed]
    page = next(one for one in streams if b" Tf" in one and b"beginbfchar" not in one)
    fonts = [
        {
            bytes.fromhex(code.decode()): bytes.fromhex(letter.decode()).decode("utf-16-be")
            for code, letter in re.findall(rb"<([0-9A-F]{4})> <([0-9A-F]+)>", one.partition(b"beginbfchar")[2])
        }
        for one in streams
        if b"beginbfchar" in one
    ]
    lines, font = [], 0
    for chosen, shown in re.findall(rb"/F(\d+) [\d.]+ Tf|\(((?:[^\\()]|\\.)*)\) Tj", page, re.DOTALL):
        if chosen:
            font = int(chosen) - 1
            continue
        plain = re.sub(rb"\\(.)", lambda one: {b"r": b"\r", b"n": b"\n"}.get(one[1], one[1]), shown, flags=re.DOTALL)
        lines.append("".join(fonts[font][plain[at : at + 2]] for at in range(0, len(plain), 2)))
    return lines


@pytest.mark.parametrize("name", NAMES)
def test_a_name_prints_as_it_is(name: str) -> None:
    lines = said(drawn(text(name, title=name)))
    assert lines[0] == "Certificate of attendance"
    assert "".join(lines).replace(" ", "").count(name.replace(" ", "")) == 2
    assert f"Number {SLUG}.x" in lines


@pytest.mark.parametrize("code", ["cs", "de", "en", "es", "fr", "it", "lt", "nl", "pl", "ro"])
def test_a_certificate_is_in_the_language_of_its_person(code: str) -> None:
    spoken = languages.known()[code]
    lines = said(drawn(dataclasses.replace(text(), language=spoken)))
    words = [spoken.said(one) for one in (languages.HEADING, languages.TOOK_PART)]
    assert [lines[0], lines[2]] == words == [printable(one) for one in words]  # the font has all their letters
    assert (words == [languages.HEADING, languages.TOOK_PART]) is (code == "en")
    assert spoken.said(languages.NUMBER.format(number=f"{SLUG}.x")) in lines


def test_own_texts_are_those_of_the_whole_catalogues() -> None:
    whole = language.read(languages.folder(), Language)
    assert sorted(languages.known()) == sorted(whole)
    own = (
        languages.FAREWELL, languages.HEADING, languages.TOOK_PART, languages.NUMBER, languages.VALID, languages.DAYS,
    )  # fmt: skip
    for code, found in languages.known().items():
        for one in own:
            assert found.said(one) == whole[code].said(one)
            assert (found.said(one) == one) is (code == "en"), (code, one.code)


def test_a_language_that_there_is_not_gives_way_to_the_next_one() -> None:
    assert languages.language_of("xx", "lt", "de").code == "lt"
    assert languages.language_of("xx").code == "en"


def test_a_catalogue_that_cannot_be_read_costs_its_language_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code, content in (("de", b"\xff\xfe"), ("lt", (languages.folder() / PO.format("lt")).read_bytes())):
        path = tmp_path / PO.format(code)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    monkeypatch.setattr(languages, "folder", lambda: tmp_path)
    assert set(languages.known.__wrapped__()) == {"en", "lt"}


def test_a_letter_that_the_font_lacks_is_no_box() -> None:
    assert printable("李雷 X") == "?? X"
    assert printable("e\u0301") == "é"
    assert said(drawn(text("李 X")))[1] == "? X"


def test_a_certificate_has_one_page_and_a_long_title_stays_on_it() -> None:
    pdf = drawn(text("Ada", "Long words " * 11))
    assert pdf.count(b"/Type /Page\n") == 1
    assert "".join(said(pdf)).replace(" ", "").count("Longwords") == 11


def test_file_names_of_a_zip_are_plain_and_each_is_there_once() -> None:
    names = ["../../etc/passwd", "Łukasz Żółć", "Łukasz Żółć", "李", "a\\b:c"]
    with zipfile.ZipFile(io.BytesIO(certificate_pdf.zipped(map(text, names)))) as file:
        assert file.namelist() == [
            "001-etc-passwd.pdf", "002-Lukasz-Zolc.pdf", "003-Lukasz-Zolc.pdf", "004-certificate.pdf", "005-a-b-c.pdf"
        ]  # fmt: skip
        assert said(file.read("002-Lukasz-Zolc.pdf"))[1] == "Łukasz Żółć"


@given(st.text())
def test_no_file_name_leaves_its_folder(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,59}", file_name(name))


# --- numbers


def test_a_number_says_whose_certificate_it_is_to_who_knows_the_name() -> None:
    number = certificates.certificate_id(SECRET, SLUG, "Łukasz Żółć")
    assert re.fullmatch(rf"{SLUG}\.[a-z2-7]{{24}}", number)
    assert certificates.slug_of(SECRET, f" {number.upper()} ") == SLUG
    assert certificates.is_of(SECRET, number, "  łukasz   ŻÓŁĆ")
    assert not certificates.is_of(SECRET, number, "Lukasz Zolc")
    assert certificates.certificate_id(SECRET, "other-2345", "Łukasz Żółć") != number


@given(st.text(max_size=40), st.integers(0, 23), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_changed_number_is_of_no_certificate(name: str, place: int, letter: str) -> None:
    number = certificates.certificate_id(SECRET, SLUG, name)
    at = len(SLUG) + 1 + place
    changed = f"{number[:at]}{letter}{number[at + 1 :]}"
    assert (certificates.slug_of(SECRET, changed) == SLUG) is (changed == number)


@pytest.mark.parametrize("typed", ["", ".", SLUG, f"{SLUG}.", f"{SLUG}.{'a' * 24}", f"{SLUG}.{'1' * 24}", "ż" * 80])
def test_what_is_no_number_is_of_no_certificate(typed: str) -> None:
    assert certificates.slug_of(SECRET, typed) is None
    assert not certificates.is_of(SECRET, typed, "Ada")


def test_a_number_of_another_gateway_is_of_no_certificate() -> None:
    assert certificates.slug_of(SECRET, certificates.certificate_id(b"o" * 32, SLUG, "Ada")) is None
