"""Complete translations, and the hub's answers in the caller's language."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from babel.messages.pofile import read_po
from pydantic import ValidationError

from factorycommon.messages import Message
from factorycommon.models import LogLine, Phrase, Problem, SizeView
from factorylink import problems
from factorylink.catalogue import catalogue
from factorylink.catalogue.choices import offer
from factorylink.catalogue.loading import gpu_label_parts
from factorylink.catalogue.prices import price
from factorylink.explain import explain
from factoryspawner.errors import problem_failed
from factoryspawner.language import Languages, PageLanguage, languages
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import HubProcess

CHECKOUT = Path(__file__).parents[2]
LOCALE = CHECKOUT / "hub_config" / "locale"
CODE = [
    path
    for side in ("spawners", "extensions/factorygate", "extensions/workshops")
    for path in (CHECKOUT / side).rglob("*.py")
]
API = "/hub/gateway/api"


def german() -> PageLanguage:
    return {one.code: one for one in languages(LOCALE)}["de"]


def test_a_message_is_told_by_its_code_and_parameters() -> None:
    waits = Message("job-waits", "Job {job} waits in the queue.").format(job=4711)
    assert waits == "Job 4711 waits in the queue."
    assert german().said(waits) == "Job 4711 wartet in der Warteschlange."
    line = LogLine(at=datetime.now(UTC), text=waits)
    assert (line.code, line.parameters) == ("job-waits", {"job": "4711"})
    received = LogLine.model_validate_json(line.model_dump_json())
    assert german().spoken(received).text == "Job 4711 wartet in der Warteschlange."
    assert received.text == "Job 4711 waits in the queue."  # scripts read the English text
    assert german().said("An operator's own words.") == "An operator's own words."


def test_parameters_are_shown_as_they_are() -> None:
    unknown = Message("size-unknown", "Unknown node size {size}; {factory} has: {names}.")
    told = unknown.format(size="'x{y}'", factory="LUMI", names="'a', 'b'")
    assert german().said(told) == "Unbekannte Knotengröße 'x{y}'; LUMI hat: 'a', 'b'."


def test_a_finished_sentence_alone_is_not_taken_apart() -> None:
    """An earlier release stored such sentences in the ledger."""
    assert german().said("Job 4711 waits in the queue.") == "Job 4711 waits in the queue."
    assert german().said("The notebook answers.") == "Das Notebook antwortet."


@pytest.mark.parametrize(
    ("code", "text", "parameters"),
    [
        ("job-waits", "Job 4711 is in line.", {"job": "4711"}),  # the English text of an earlier release
        ("job-waits", "Job 4711 waits in the queue.", {"number": "4711"}),
        ("job-waits", "Job 4711 waits in the queue.", {}),
        ("job-waits", "Job 4711 waits in the queue.", {"job": "4712"}),
        ("no-such-code", "Job 4711 waits in the queue.", {"job": "4711"}),
        ("", "Job 4711 waits in the queue.", {"job": "4711"}),
    ],
)
def test_a_text_that_differs_from_the_catalogue_is_shown_in_english(
    code: str, text: str, parameters: dict[str, str]
) -> None:
    assert german().said(Message(code, text, parameters)) == text


@pytest.mark.parametrize(
    "told",
    [
        {"code": "Job waits"},
        {"code": "x" * 65},
        {"parameters": {"job.__class__": "1"}},
        {"parameters": {f"p{'x' * n}": "1" for n in range(17)}},
        {"parameters": {"job": 1}},
    ],
)
def test_codes_and_parameters_are_bounded(told: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Phrase.model_validate({"text": "x"} | told)
    assert len(Phrase(text="x", code="a", parameters={"job": "x" * 9000}).parameters["job"]) < 9000


def test_a_parameter_that_is_a_message_is_translated_too() -> None:
    broken = Message("cluster-not-seen", "The cluster cannot be looked at: {why}")
    why = Message("cluster-ending", "The cluster is ending.")
    assert german().said(broken.format(why=why)).endswith(german().said(why))
    assert german().said(why) != why


def test_a_refusal_keeps_its_parameters_on_every_way() -> None:
    words = explain.filled("project-not-here", factory="LUMI")
    problem = problems.of_words("forbidden", words).problem
    failed = problem_failed(problem)
    assert (problem.code, problem.parameters) == ("project-not-here", {"factory": "LUMI"})
    assert problems.words_of(problem).parameters == failed.words.parameters == problem.parameters
    told = german().said(failed.jupyterhub_message)
    assert failed.jupyterhub_message == f"{words.what} {words.do}"
    assert told == f"{german().spoken(words).what} {german().spoken(words).do}"
    assert german().spoken(words).what != words.what
    assert failed.jupyterhub_html_message.translated(german().said).startswith(f"<p>{german().spoken(words).what}</p>")


def test_labels_of_sizes_are_told_part_by_part() -> None:
    federation = catalogue.load(CHECKOUT / "hub_config" / "factories")
    factory = next(one for one in federation.factories.values() if one.sizes)
    size = factory.sizes[0].model_copy(update={"gpus": 0, "cores": 8})
    parts = [*gpu_label_parts(factory, size), Message("cores", "{number} cores").format(number=8)]
    phrases = tuple(Phrase.model_validate({"text": part}) for part in parts)
    view = SizeView(
        size=size,
        gpu_label=", ".join(parts),
        gpu_label_parts=phrases,
        fits_now=0,
        offer=offer(factory, factory.sizes[0]),
        price=price(factory, factory.sizes[0]),
    )
    assert view.gpu_label.startswith("no GPU")
    assert german().spoken(view).gpu_label.startswith("keine GPU")
    assert german().spoken(view).gpu_label.endswith(", 8 Kerne")
    assert german().said(view.gpu_label_message) == german().spoken(view).gpu_label


def test_all_answers_are_told_in_a_language() -> None:
    with (LOCALE / "de" / "LC_MESSAGES" / "factorygate.po").open("rb") as file:
        known = {one.id for one in read_po(file, locale="de") if one.string and not one.fuzzy}
    for answers in explain.everything().values():
        for answer in answers:
            parts = {name: "7" for text in (answer.what, answer.move.do) for name in re.findall(r"\{(\w+)\}", text)}
            move = answer.move._replace(do=answer.move.do.format(**parts))
            told = answer._replace(what=answer.what.format(**parts), move=move).words()
            assert told.parameters == parts
            assert (german().spoken(told).what != told.what) == (answer.what in known)
            assert (german().spoken(told).do != told.do) == (answer.move.do in known)
            assert german().spoken(told).code == told.code


def test_each_message_of_the_code_is_given_its_parameters() -> None:
    """A missing parameter would otherwise be noticed only when the message is shown."""
    wrong = []
    for path in CODE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call in (one for one in ast.walk(tree) if isinstance(one, ast.Call)):
            text = call.func.value if isinstance(call.func, ast.Attribute) and call.func.attr == "format" else None
            if isinstance(text, ast.Call) and isinstance(text.func, ast.Name) and text.func.id == "Message":
                english = ast.literal_eval(text.args[1])
                given = {keyword.arg for keyword in call.keywords}
                if None not in given and given != set(re.findall(r"\{(\w+)\}", english)):
                    wrong.append(f"{path.name}: {english}")
    assert wrong == []


def test_a_translation_that_is_missing_or_outdated_is_english(tmp_path: Path) -> None:
    path = tmp_path / "de" / "LC_MESSAGES" / "factorygate.po"
    path.parent.mkdir(parents=True)
    path.write_text(
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'
        '#: a.py\nmsgctxt "one"\nmsgid "One {n}."\nmsgstr "Eins {n}."\n\n'
        '#: a.py\n#, fuzzy\nmsgctxt "two"\nmsgid "Two {n}."\nmsgstr "Zwei {n}."\n\n'
        '#: a.py\nmsgctxt "three"\nmsgid "Three {n}."\nmsgstr ""\n\n#~ msgid "Four."\n#~ msgstr "Vier."\n'
    )
    told = next(one for one in Languages(tmp_path) if one.code == "de")
    texts = [Message(text.split()[0].lower(), text).format(n=1) for text in ("One {n}.", "Two {n}.", "Three {n}.")]
    assert [told.said(text) for text in texts] == ["Eins 1.", "Two 1.", "Three 1."]
    assert told.said("Four.") == "Four."


def test_plural_forms_are_told_for_every_number() -> None:
    plural = german().browser["plural"]
    assert len(plural) == 200
    assert [plural[n] for n in (0, 1, 2, 101)] == ["1", "0", "1", "1"]
    assert {one.code: one for one in languages(LOCALE)}["en"].browser["texts"] == {}


def test_a_folder_without_catalogues_is_english(tmp_path: Path) -> None:
    assert [one.name for one in Languages(tmp_path)] == ["English"]
    assert {"English", "Deutsch", "Français"} < {one.name for one in languages(LOCALE)}


# --- the hub ----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(hub: HubProcess, link: FakeLink) -> AsyncIterator[httpx.AsyncClient]:
    page_states.fill(link)
    browser = await hub.login("ada")
    yield browser
    await browser.aclose()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("query", "cookie", "accept", "language"),
    [
        ("", "", "", "en"),
        ("", "", "de-AT,de;q=0.9,en;q=0.8", "de"),
        ("", "", "fi,en;q=0.5,de;q=0.4", "en"),
        ("", "", "fi;q=1,de;q=0.9", "de"),
        ("", "", "de;q=0", "en"),
        ("", "", "de;q=much,;;;,~", "en"),
        ("", "", "en;q=0.1, de; q=0.9", "de"),
        ("", "", "en ; Q=0.1 , de;level=1 ; q=0.2", "de"),
        ("", "", "de;q=nan,*;q=0", "en"),
        ("", "", "x" * 30_000, "en"),
        ("", "", "de," * 10_000, "de"),
        ("", "en", "de", "en"),
        ("", "de", "en", "de"),
        ("", "../../etc", "de", "de"),
        ("?lang=de", "en", "en", "de"),
        ("?lang=%00%ff", "", "de", "de"),
    ],
)
async def test_a_page_speaks_the_language_that_is_asked_for(
    ada: httpx.AsyncClient, query: str, cookie: str, accept: str, language: str
) -> None:
    kept = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
    headers = {"Accept-Language": accept, "Cookie": f"{kept}; fg-lang={cookie}" if cookie else kept}
    page = (await ada.get(f"/hub/home{query}", headers=headers)).text
    assert f'<html lang="{language}">' in page
    assert ("Ihre Sitzungen" in page) == (language == "de")
    assert ("Your sessions" in page) == (language == "en")
    answer = await ada.get(f"{API}/sessions{query}", headers=headers)
    assert answer.headers["content-language"] == language
    waits = next(one["waits_for"] for one in answer.json() if one["waits_for"])
    assert waits["code"] == "priority"
    assert waits["whose"] == "wait"
    assert waits["what"].startswith("Andere" if language == "de" else "Other jobs")
    assert waits["scheduler"] == "Priority"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_refusal_and_its_page_are_translated(hub: HubProcess, ada: httpx.AsyncClient, link: FakeLink) -> None:
    header = {"Accept-Language": "de"}
    missing = (await ada.get(f"{API}/sessions/{'f' * 32}", headers=header)).json()
    # the stand-in's own text is in no catalogue, so it is shown unchanged
    assert missing["message"] == "no such session"
    link.refuse = Problem(kind="draining", message="Closed <b>for</b> the fair.", do="Try again in a minute.")
    form = {"factory": "one", "size": "small", "_xsrf": ada.cookies["_xsrf"]}
    with hub.patient():
        page = (await ada.post("/hub/spawn/ada/fresh", data=form, headers=header)).text
    link.refuse = None
    assert "Closed &lt;b&gt;for&lt;/b&gt; the fair." in page
    assert "Versuchen Sie es in einer Minute wieder." in page
    many = Message("limit-clusters", "You have {number} clusters, the most one may have.").format(number="<7>")
    link.refuse = Problem(kind="limit", message=many, do="Close one of them first.", scheduler="sbatch: no")
    with hub.patient():
        page = (await ada.post("/hub/spawn/ada/fresh", data=form, headers=header)).text
        told = (
            await ada.post(
                "/hub/api/users/ada/servers/fresh",
                json={"factory": "one"},
                headers=header | {"X-XSRFToken": ada.cookies["_xsrf"]},
            )
        ).json()
    link.refuse = None
    assert "Sie haben &lt;7&gt; Cluster, mehr darf man nicht haben." in page
    assert "Die Factory sagte:" in page
    assert told["message"].startswith("You have <7> clusters, the most one may have. Close one of them first.")


@pytest.mark.asyncio(loop_scope="module")
async def test_the_stream_ends_when_the_link_falls_silent_so_that_pages_say_so(
    ada: httpx.AsyncClient, link: FakeLink
) -> None:
    async with ada.stream("GET", f"{API}/sessions/events") as answer:
        lines = answer.aiter_lines()
        while not (await anext(lines)).startswith("data:"):
            pass
        await link.down()
        try:
            async for _ in lines:
                pass
            told = (await ada.get(f"{API}/sessions", headers={"Accept-Language": "de"})).json()
            assert told["message"] == "Die Verbindung des Gateways zu den Factories antwortet gerade nicht."
        finally:
            await link.up()
