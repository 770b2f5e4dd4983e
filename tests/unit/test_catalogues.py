"""The catalogues of all languages: whole, none of their parts lost, and nothing on a page that bypasses them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

CHECKOUT = Path(__file__).parents[2]
HUB = CHECKOUT / "hub_config"
LOCALE = HUB / "locale"
LANGUAGES = ("cs", "de", "es", "fr", "it", "lt", "nl", "pl", "ro")
SAME = 4  # words: what has as many and reads as in English was not translated

language = pytest.mark.parametrize("code", LANGUAGES)


def catalogue(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3] if path.suffix == ".po" else None)


def of(code: str) -> Catalog:
    return catalogue(LOCALE / code / "LC_MESSAGES" / "factorygate.po")


TEMPLATE = catalogue(LOCALE / "factorygate.pot")


def sources(message: Message) -> list[str]:
    return [message.id] if isinstance(message.id, str) else list(message.id)


def forms(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string or ())


def parts(text: str) -> set[str]:
    """What is filled in, links, and what is shown in bold."""
    filled = {braced or named for braced, named in re.findall(r"\{(\w+)\}|%\((\w+)\)s", text)}
    return filled | set(re.findall(r"</?[a-z]+", text)) | ({"*" * text.count("*")} - {""})


def wrong(code: str, message: Message) -> list[str]:
    """What is the matter with a translation."""
    found, told = [], forms(message)
    if message.fuzzy or not told or not all(told):
        found.append("not translated")
    if not isinstance(message.id, str) and len(told) != of(code).num_plurals:
        found.append(f"has {len(told)} forms")
    for form in told:  # a part that is lost or misspelt would be shown as {name}
        if not parts(form) <= set().union(*map(parts, sources(message))):
            found.append("has a part too many")
        if not parts(sources(message)[-1]) - {"n"} <= parts(form):
            found.append("lacks a part")
        if form in sources(message) and len(re.findall(r"[A-Za-z]{2,}", re.sub(r"\{\w+\}", "", form))) >= SAME:
            found.append("is English")
        if form != form.strip() or form.endswith(".") != sources(message)[-1].endswith("."):
            found.append("ends otherwise")
    return [f"{message.id}: {one}" for one in found]


def test_the_template_has_all_texts_of_the_code(tmp_path: Path) -> None:
    """If it fails: run bin/messages and translate what is new."""
    shutil.copytree(LOCALE, tmp_path / "locale")
    subprocess.run([CHECKOUT / "bin" / "messages", "--into", tmp_path / "locale"], check=True)
    assert (tmp_path / "locale" / "factorygate.pot").read_text() == (LOCALE / "factorygate.pot").read_text()


def test_these_are_the_languages() -> None:
    assert tuple(sorted(path.name for path in LOCALE.iterdir() if path.is_dir())) == LANGUAGES


@language
def test_a_language_is_whole(code: str) -> None:
    told = of(code)
    assert {str(one.id) for one in told if one.id} == {str(one.id) for one in TEMPLATE if one.id}
    assert not told.obsolete
    assert [line for one in told if one.id for line in wrong(code, one)] == []


@pytest.mark.parametrize(
    ("text", "translation", "fault"),
    [
        ("Wait for {name} now.", "", "not translated"),
        ("Wait for {name} now.", "Warten Sie auf {nam}.", "has a part too many"),
        ("Wait for {name} now.", "Warten Sie.", "lacks a part"),
        ("Wait for {name} a while longer.", "Wait for {name} a while longer.", "is English"),
        ('See <a href="%(home)s">Home</a>.', "Siehe %(home)s.", "lacks a part"),
        ("Wait for {name} now.", "Warten Sie auf {name}", "ends otherwise"),
        (("{n} job", "{n} jobs"), ("{n} Job",), "has 1 forms"),
        (("{n} job of {a}", "{n} jobs of {a}"), ("{n} Job von {a}", "{n} Jobs"), "lacks a part"),
    ],
)
def test_what_is_wrong_is_found(text: str, translation: str, fault: str) -> None:
    assert any(line.endswith(fault) for line in wrong("de", Message(text, translation)))


@language
def test_the_proxys_own_page_has_the_language(code: str) -> None:
    """No hub answers where it is shown, so its texts are in the page."""
    page = (HUB / "error" / "503.html").read_text()
    texts = page[page.index("var TEXTS = {") : page.index("\n      };\n")]
    pairs = re.compile(r'^ {10}"((?:[^"\\]|\\.)+)":\s+"((?:[^"\\]|\\.)+)",$', re.M)
    english = {text for text, _ in pairs.findall(texts)}
    own = dict(pairs.findall(texts.split(f"\n        {code}: {{", 1)[1].split("\n        },", 1)[0]))
    assert len(english) == 14
    assert set(own) == english
    assert all(parts(text) == parts(told) and text != told for text, told in own.items())


# --- texts that bypass the catalogues

_NO_TEXT = re.compile(
    r"\{#.*?#\}|\{%-?\s*trans\b.*?endtrans\s*-?%\}|\{%.*?%\}|\{\{.*?\}\}|<script\b.*?</script>", re.DOTALL
)
_SPOKEN = re.compile(r'\b(?:aria-label|title|placeholder|alt)="([^"]*)"')
_NAMES = {"JSON"}
_ADMIN = "admin.html"  # JupyterHub's own, which is there in English only


def bypassing(template: str) -> list[str]:
    """Words for people in a template that come out of no catalogue."""
    left = _NO_TEXT.sub(" ", template)
    spoken = " ".join(_SPOKEN.findall(left))
    return [word for word in re.findall(r"[A-Za-z]{3,}", re.sub(r"<[^>]*>", " ", left) + spoken) if word not in _NAMES]


@pytest.mark.parametrize("path", sorted((HUB / "templates").glob("*.html")), ids=lambda path: path.name)
def test_no_template_has_words_of_its_own(path: Path) -> None:
    words = bypassing(path.read_text())
    if path.name == _ADMIN:
        assert words == ["Users", "and", "servers"]
    elif path.name == "spawn.html":
        assert words == ["POST", "api", "users", "server"]  # what to ask the API
    else:
        assert words == []


def test_a_template_with_words_of_its_own_is_found() -> None:
    assert bypassing('<p title="{{ _("Well") }}">{% trans %}Fine{% endtrans %} <b>Not so</b></p>') == ["Not"]
    assert bypassing('<input placeholder="Your name">') == ["Your", "name"]


LAB = CHECKOUT / "extensions" / "lab" / "src"


def test_jupyterlab_speaks_through_one_file() -> None:
    """Whose texts are in the catalogue, as those of the pages' scripts are."""
    others = [path for path in LAB.glob("*.ts") if path.name != "words.ts"]
    assert [path.name for path in others if re.search(r"\btn?\(\s*\"[A-Z]", path.read_text())] == []
    assert sum("extensions/lab/src/words.ts" in str(message.locations) for message in TEMPLATE) > 40


FRONTEND = CHECKOUT / "extensions" / "frontend"


@pytest.mark.parametrize("path", [*sorted(FRONTEND.glob("*/*.js")), LAB / "words.ts"], ids=lambda path: path.name)
def test_every_sentence_of_a_script_is_in_the_catalogue(path: Path) -> None:
    known = {one for message in TEMPLATE if message.id for one in sources(message)}
    code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    code = re.sub(r"^\s*//.*$| // .*$", "", code, flags=re.MULTILINE)
    said = re.findall(r'"([A-Z][^"\n]* [^"\n]*)"', code)
    joined = re.findall(r'"([A-Z][^"\n]* )" \+\s*"([^"\n]*)"', code)
    whole = {first + second for first, second in joined}
    pieces = {piece for pair in joined for piece in pair}
    assert [one for one in (*said, *whole) if one not in known and one not in pieces] == []
