"""The translations into all languages are complete, no placeholder is lost, and no text on a page bypasses them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from tests.support import texts

CHECKOUT = Path(__file__).parents[2]
HUB = CHECKOUT / "hub_config"
LOCALE = HUB / "locale"
LANGUAGES = ("cs", "de", "es", "fr", "it", "lt", "nl", "pl", "ro")

language = pytest.mark.parametrize("code", LANGUAGES)


def catalogue(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3] if path.suffix == ".po" else None)


def of(code: str) -> Catalog:
    return catalogue(LOCALE / code / "LC_MESSAGES" / "factorygate.po")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Return all texts of the code, also those for which `bin/messages` was not run yet."""
    locale = tmp_path_factory.mktemp("texts") / "locale"
    shutil.copytree(LOCALE / "de", locale / "de")
    return texts.extracted(locale)


def sources(message: Message) -> list[str]:
    return [message.id] if isinstance(message.id, str) else list(message.id)


def forms(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string or ())


def parts(text: str) -> set[str]:
    """Return the placeholders, links and bold parts of a text."""
    filled = {braced or named for braced, named in re.findall(r"\{(\w+)\}|%\((\w+)\)s", text)}
    return filled | set(re.findall(r"</?[a-z]+", text)) | ({"*" * text.count("*")} - {""})


def wrong(message: Message, plurals: int) -> list[str]:
    """Return the errors of a translation; a missing translation is no error, since the text is then
    shown in English."""
    found, told = [], forms(message)
    if message.fuzzy or not all(told):
        return found
    if not isinstance(message.id, str) and len(told) != plurals:
        found.append(f"has {len(told)} forms")
    for form in told:  # a lost or misspelt placeholder would be shown as {name}
        if not parts(form) <= set().union(*map(parts, sources(message))):
            found.append("has a part too many")
        if not parts(sources(message)[-1]) - {"n"} <= parts(form):
            found.append("lacks a part")
    return [f"{message.id}: {one}" for one in found]


def test_the_catalogues_are_those_of_ten_languages() -> None:
    assert tuple(sorted(path.name for path in LOCALE.iterdir() if path.is_dir())) == LANGUAGES


@language
def test_no_translation_is_broken(code: str) -> None:
    told = of(code)
    assert [line for one in told if one.id for line in wrong(one, told.num_plurals)] == []


@pytest.mark.parametrize(
    ("text", "translation", "fault"),
    [
        ("Wait for {name} now.", "Warten Sie auf {nam}.", "has a part too many"),
        ("Wait for {name} now.", "Warten Sie.", "lacks a part"),
        ('See <a href="%(home)s">Home</a>.', "Siehe %(home)s.", "lacks a part"),
        (("{n} job", "{n} jobs"), ("{n} Job",), "has 1 forms"),
        (("{n} job of {a}", "{n} jobs of {a}"), ("{n} Job von {a}", "{n} Jobs"), "lacks a part"),
    ],
)
def test_broken_translations_are_found(text: str, translation: str, fault: str) -> None:
    assert any(line.endswith(fault) for line in wrong(Message(text, translation), 2))


@pytest.mark.parametrize(("translation", "flags"), [("", ()), ("Warten Sie.", ("fuzzy",))])
def test_a_missing_translation_is_no_error(translation: str, flags: tuple[str, ...]) -> None:
    assert wrong(Message("Wait for {name} now.", translation, flags=flags), 2) == []


def test_a_text_that_changes_loses_no_translation(tmp_path: Path) -> None:
    """The test runs `bin/messages` with a file of translations that has a removed text and a changed text."""
    locale = tmp_path / "locale"
    shutil.copytree(LOCALE, locale)
    shutil.rmtree(locale / "cs")
    german = locale / "de" / "LC_MESSAGES" / "factorygate.po"
    before = german.read_text(encoding="utf-8")
    waits, gone = "Job {job} waits in the queue.", '\nmsgid "Nobody says this any more."\nmsgstr "Das sagt keiner."\n'
    assert before.count(f'msgid "{waits}"') == 1
    german.write_text(before.replace(f'msgid "{waits}"', 'msgid "Job {job} is waiting in the queue."') + gone)
    run = [CHECKOUT / "bin" / "messages", "--into", locale]
    printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    [changed] = [one for one in catalogue(german) if one.id == waits]
    assert (changed.fuzzy, changed.string) == (True, "Job {job} wartet in der Warteschlange.")
    assert "Das sagt keiner." in german.read_text(encoding="utf-8")
    assert [line for line in printed.splitlines() if re.fullmatch(r"de: \d+ % translated \(.*\)", line)]
    assert not [line for line in printed.splitlines() if line.startswith("cs")]


@language
def test_the_proxys_own_page_has_the_language(code: str) -> None:
    """The hub does not answer when this page is shown, so the page contains its texts."""
    page = (HUB / "error" / "503.html").read_text()
    texts = page[page.index("var TEXTS = {") : page.index("\n      };\n")]
    pairs = re.compile(r'^ {10}"((?:[^"\\]|\\.)+)":\s+"((?:[^"\\]|\\.)+)",$', re.M)
    english = {text for text, _ in pairs.findall(texts)}
    own = dict(pairs.findall(texts.split(f"\n        {code}: {{", 1)[1].split("\n        },", 1)[0]))
    assert len(english) == 13
    assert set(own) == english
    assert all(parts(text) == parts(told) and text != told for text, told in own.items())


# --- texts that bypass the catalogues

_NO_TEXT = re.compile(
    r"\{#.*?#\}|\{%-?\s*trans\b.*?endtrans\s*-?%\}|\{%.*?%\}|\{\{.*?\}\}|<script\b.*?</script>", re.DOTALL
)
_SPOKEN = re.compile(r'\b(?:aria-label|title|placeholder|alt)="([^"]*)"')
_NAMES = {"JSON", "factorygate"}
_ADMIN = "admin.html"  # JupyterHub's own page, in English only


def bypassing(template: str) -> list[str]:
    """Return words for people in a page's template that are not translated."""
    left = _NO_TEXT.sub(" ", template)
    spoken = " ".join(_SPOKEN.findall(left))
    return [word for word in re.findall(r"[A-Za-z]{3,}", re.sub(r"<[^>]*>", " ", left) + spoken) if word not in _NAMES]


@pytest.mark.parametrize("path", sorted((HUB / "templates").rglob("*.html")), ids=lambda path: path.name)
def test_no_template_has_words_of_its_own(path: Path) -> None:
    words = bypassing(path.read_text())
    if path.name == _ADMIN:
        assert words == ["Users", "and", "servers"]
    elif path.name == "spawn.html":
        assert words == ["POST", "api", "users", "server"]  # part of an API request
    else:
        assert words == []


def test_a_template_with_words_of_its_own_is_found() -> None:
    assert bypassing('<p title="{{ _("Well") }}">{% trans %}Fine{% endtrans %} <b>Not so</b></p>') == ["Not"]
    assert bypassing('<input placeholder="Your name">') == ["Your", "name"]


LAB = CHECKOUT / "extensions" / "lab" / "src"


def test_jupyterlab_speaks_through_one_file(template: Catalog) -> None:
    """Only words.ts has texts for people; the files of translations have them, like those of the pages' scripts."""
    others = [path for path in LAB.glob("*.ts") if path.name != "words.ts"]
    assert [path.name for path in others if re.search(r"\btn?\(\s*\"[A-Z]", path.read_text())] == []
    assert sum("extensions/lab/src/words.ts" in str(message.locations) for message in template) > 40


FRONTEND = CHECKOUT / "extensions" / "frontend"


@pytest.mark.parametrize("path", [*sorted(FRONTEND.glob("*/*.js")), LAB / "words.ts"], ids=lambda path: path.name)
def test_every_sentence_of_a_script_is_in_the_catalogue(path: Path, template: Catalog) -> None:
    known = {one for message in template if message.id for one in sources(message)}
    code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    code = re.sub(r"^\s*//.*$| // .*$", "", code, flags=re.MULTILINE)
    said = re.findall(r'"([A-Z][^"\n]* [^"\n]*)"', code)
    joined = re.findall(r'"([A-Z][^"\n]* )" \+\s*"([^"\n]*)"', code)
    whole = {first + second for first, second in joined}
    pieces = {piece for pair in joined for piece in pair}
    assert [one for one in (*said, *whole) if one not in known and one not in pieces] == []
