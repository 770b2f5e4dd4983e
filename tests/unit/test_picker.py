"""FactoryPicker without a page: its value, the link's data, and its texts without a link."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError

from factorycommon.models import Words
from factorygate import FactoryPicker
from factorygate.widgets import assets
from factorygate.widgets.choosing import checked, completed, passing, refusal, standing
from tests.support.gateway import eventually
from tests.support.scripted_link import SINCE, ScriptedLink, factory

CHECKOUT = Path(__file__).resolve().parents[2]
PRESET = {"factory": "one", "size": "gpu-1", "environment": "plain", "hours": 1.0, "project": None}


@pytest.fixture
def link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedLink]:
    link = ScriptedLink(tmp_path / "hub.sock")
    monkeypatch.setenv("FACTORYGATE_HUB_SOCKET", str(tmp_path / "hub.sock"))
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    monkeypatch.delenv("FACTORYGATE_FACTORY", raising=False)
    yield link
    link.close()


@pytest.fixture
def picker(link: ScriptedLink) -> Iterator[FactoryPicker]:
    link.tell([factory("dead", "unreachable"), factory("one"), factory("two", fits=0)])
    picker = FactoryPicker()
    eventually(lambda: picker.value, every=0.01, what="the catalogue is there")
    yield picker
    picker.close()


def page(picker: FactoryPicker, **content: Any) -> None:
    picker._handle_custom_msg(content, [])


def test_the_first_factory_that_answers_is_preset(picker: FactoryPicker) -> None:
    assert picker.value == PRESET


def test_the_factory_of_the_session_itself_is_preset(link: ScriptedLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORYGATE_FACTORY", "two")
    link.tell([factory("one"), factory("two")])
    picker = FactoryPicker()
    assert eventually(lambda: picker.value, every=0.01)["factory"] == "two"
    picker.close()


def test_a_factory_whose_rules_are_open_is_not_the_first_and_says_why(link: ScriptedLink) -> None:
    words = {
        "code": "rules-open",
        "what": "Not accepted.",
        "do": "Open /hub/checklist.",
        "whose": "you",
        "scheduler": "",
    }
    link.tell([factory("one", rules_open=Words(**words)), factory("two")])
    picker = FactoryPicker()
    assert eventually(lambda: picker.value, every=0.01)["factory"] == "two"
    assert picker._passing["one"]["rules_open"] == {"what": "Not accepted. Open /hub/checklist."}
    assert picker._passing["two"]["rules_open"] is None
    picker.close()


def test_set_in_parts_and_observed(picker: FactoryPicker) -> None:
    seen: list[Any] = []
    picker.observe(lambda change: seen.append(change["new"]), "value")
    picker.value = {"factory": "two", "environment": "torch", "hours": 3}
    assert picker.value == {"factory": "two", "size": "gpu-1", "environment": "torch", "hours": 3.0, "project": None}
    assert seen == [picker.value]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"factory": "three"}, "no factory 'three' for you; there is dead, one, two"),
        ({"factory": "one", "size": "gpu-8"}, "one has no size 'gpu-8'; it has cpu, gpu-1"),
        ({"size": "cpu", "environment": "torch"}, "no environment 'torch' for cpu; it has plain"),
        ({"size": "cpu", "hours": 5}, "5 hours are not offered for cpu; the nearest are 4"),
        ({"hours": 0}, "above 0"),
        ({"hours": float("nan")}, "above 0"),
        ({"hours": 10**400}, "above 0"),
        ({"hours": True}, "number"),
        ({"hours": "1"}, "number"),
        ({"factory": "../etc"}, "must be an id"),
        ({"project": "a b"}, "must be an id"),
        ({"gpus": 4}, "no 'gpus'"),
    ],
)
def test_choices_that_are_not_offered_are_refused_in_words(
    picker: FactoryPicker, wish: dict[str, Any], words: str
) -> None:
    with pytest.raises(TraitError, match=words.replace("(", r"\(")):
        picker.value = wish
    assert picker.value == PRESET


def test_a_wish_made_before_the_catalogue_came_is_completed(link: ScriptedLink) -> None:
    picker = FactoryPicker({"factory": "two", "hours": 2})
    assert picker.value == {"factory": "two", "hours": 2.0}
    link.tell([factory("one"), factory("two")])
    eventually(lambda: picker.value.get("size"), every=0.01)
    assert picker.value == PRESET | {"factory": "two", "hours": 2.0}
    picker.close()


def test_a_choice_on_the_page_reaches_python(picker: FactoryPicker) -> None:
    page(picker, op="choose", factory="two", size="cpu", environment="plain", hours=2, project="thesis")
    assert picker.value == {"factory": "two", "size": "cpu", "environment": "plain", "hours": 2.0, "project": "thesis"}


def test_the_preset_project_may_use_the_size() -> None:
    paid = factory("one", projects=("P-1", "P-2"))
    offers = [view.offer.model_copy(update={"project": "P-2"}) for view in paid.sizes]
    sizes = [
        view.model_copy(update={"projects": ("P-2",), "offer": of}) for view, of in zip(paid.sizes, offers, strict=True)
    ]
    paid = factory("one", projects=("P-1", "P-2"), sizes=tuple(sizes))
    wish = checked({"project": "EHPC-AIF-2026PG01-756"})
    choice = completed(wish, [paid])
    assert choice is not None
    assert choice["project"] == "P-2"
    assert refusal(wish, choice, [paid]) == (
        "The project 'EHPC-AIF-2026PG01-756' cannot be charged for gpu-1 at one; there is P-2."
    )
    assert refusal({"project": "P-2"}, completed({"project": "P-2"}, [paid]), [paid]) == ""
    assert standing([paid])[0]["sizes"][0]["projects"] == ["P-2"]


@pytest.mark.parametrize(
    "content",
    [
        {"op": "choose", "factory": "nowhere"},
        {"op": "choose", "factory": ["one"]},
        {"op": "choose", "hours": {"a": 1}},
        {"op": "choose", "project": "<b>"},
        {"op": "estimates"},
        {"op": "estimates", "hours": [1, 2, 3, 4]},
        {"op": "estimates", "hours": ["1"]},
        {"op": "close"},
        {"op": ["choose"]},
        {},
    ],
)
def test_invalid_messages_of_the_page_change_nothing(picker: FactoryPicker, link: ScriptedLink, content: Any) -> None:
    page(picker, **content)
    picker._handle_custom_msg("choose", [])
    assert picker.value == PRESET and link.asked == []


def test_the_picker_follows_the_catalogue(picker: FactoryPicker, link: ScriptedLink) -> None:
    page(picker, op="choose", factory="two")
    link.tell([factory("one"), factory("two", "draining", fits=0)])
    eventually(lambda: picker._passing["two"]["health"]["state"] == "draining", every=0.01)
    assert picker.value["factory"] == "two", "what falls silent under a choice stays chosen"
    link.tell([factory("one")])
    eventually(lambda: picker.value["factory"] == "one", every=0.01)
    assert "no factory 'two'" in picker._state["message"]
    link.tell([])
    eventually(lambda: picker.value is None, every=0.01)
    assert "no factory" in repr(picker)


def test_an_answer_that_changes_nothing_is_not_told() -> None:
    earlier, later = factory("one"), factory("one")
    answered = {"answered_at": SINCE + timedelta(seconds=5), "answer_seconds": 0.2}
    later = factory("one", health=later.health.model_copy(update=answered))
    assert passing([earlier]) == passing([later])


def test_estimates_are_asked_when_the_page_asks(picker: FactoryPicker, link: ScriptedLink) -> None:
    page(picker, op="estimates", hours=[1, 4, 0.25])
    eventually(lambda: picker._estimates, every=0.01)
    assert sorted(each["hours"] for each in link.asked) == [["0.25"], ["1.0"], ["4.0"]]
    assert picker._estimates == {"of": "one/gpu-1", "starts": [(h, "2026-03-10T14:00:00Z") for h in (1.0, 4.0, 0.25)]}


def test_a_refusal_of_the_link_is_shown_and_the_request_repeated(
    link: ScriptedLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factorygate.widgets.catalogue._FIRST_WAIT", 0.01)
    link.problem = (503, {"kind": "unreachable", "message": "The link rests.", "do": "Wait."})
    picker = FactoryPicker()
    eventually(lambda: picker._state["kind"] == "trouble", every=0.01)
    assert repr(picker) == "FactoryPicker: The link rests. Wait."
    link.problem = None
    link.tell([factory("one")])
    eventually(lambda: picker._state["kind"] == "ready", every=0.01)
    picker.close()


def test_a_catalogue_of_another_version_is_said(link: ScriptedLink) -> None:
    link.tell_json('[{"id": "one"}]')
    picker = FactoryPicker()
    eventually(lambda: picker._state["kind"] == "trouble", every=0.01)
    assert "does not understand" in repr(picker)
    link.tell([factory("one")])
    eventually(lambda: picker._state["kind"] == "ready", every=0.01, what="the next answer is understood")
    picker.close()


def test_fields_of_a_newer_link_are_ignored(link: ScriptedLink) -> None:
    told = json.loads(factory("one").model_dump_json()) | {"new": {"a": 1}}
    told["sizes"][0]["offer"]["new"] = told["health"]["new"] = 1
    link.tell_json(json.dumps([told]))
    picker = FactoryPicker()
    eventually(lambda: picker.value, every=0.01)
    assert picker.value == PRESET
    picker.close()


def test_an_observer_that_fails_does_not_end_what_it_observes(picker: FactoryPicker, link: ScriptedLink) -> None:
    def fails(_: Any) -> None:
        raise KeyError("mine")

    page(picker, op="choose", factory="two")
    picker.observe(fails, "value")
    link.tell([factory("one")])
    eventually(lambda: picker.value["factory"] == "one", every=0.01)
    link.tell([factory("one"), factory("three")])
    eventually(lambda: "three" in picker._passing, every=0.01)


def test_without_a_link_the_picker_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FACTORYGATE_HUB_SOCKET", "FACTORYGATE_URL"):
        monkeypatch.delenv(name, raising=False)
    picker = FactoryPicker()
    eventually(lambda: picker._state["kind"] == "no-link", every=0.01)
    assert "FACTORYGATE_TOKEN" in repr(picker) and picker.value is None
    picker.close()


def test_the_picker_s_stream_ends_with_the_picker(picker: FactoryPicker, link: ScriptedLink) -> None:
    eventually(lambda: link.followers == 1, every=0.01)
    picker.close()
    eventually(lambda: link.followers == 0, every=0.01, what="the stream is given back")


def test_all_pickers_of_a_kernel_share_one_stream(picker: FactoryPicker, link: ScriptedLink) -> None:
    again = [FactoryPicker() for _ in range(3)]  # a cell that runs again makes another, and the old ones stay
    eventually(lambda: all(one.value == PRESET for one in again), every=0.01, what="the later ones know the catalogue")
    link.tell([factory("one"), factory("three")])
    eventually(lambda: all("three" in one._passing for one in (picker, *again)), every=0.01)
    assert link.followers == 1
    for one in (picker, *again[1:]):
        one.close()
    link.tell([factory("one"), factory("four")])
    eventually(lambda: "four" in again[0]._passing, every=0.01, what="the last one still follows")
    assert "four" not in picker._passing and link.followers == 1
    again[0].close()
    eventually(lambda: link.followers == 0, every=0.01, what="the stream ends with the last picker")


@pytest.mark.parametrize("bad", ["out-of-date", "sécret"])  # the second one cannot be sent
def test_with_a_new_token_the_shared_stream_is_opened_anew(
    link: ScriptedLink, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.setattr("factorygate.widgets.catalogue._FIRST_WAIT", 600.0)
    link.tell([factory("one")])
    monkeypatch.setenv("FACTORYGATE_TOKEN", bad)
    before = FactoryPicker()
    eventually(lambda: before._state["kind"] == "trouble", every=0.01)
    monkeypatch.setenv("FACTORYGATE_TOKEN", "secret")
    after = FactoryPicker()
    eventually(lambda: before.value == after.value == PRESET, every=0.01)
    assert link.followers == 1
    before.close()
    after.close()


def test_a_bad_first_value_is_refused_at_once() -> None:
    with pytest.raises(TraitError, match="must be an id"):
        FactoryPicker({"factory": 7})


def test_text_for_scripts(picker: FactoryPicker) -> None:
    assert repr(picker).splitlines() == [
        "FactoryPicker: factory one, size gpu-1, environment plain, hours 1.0",
        "  dead (DEAD): unreachable",
        "  one (ONE): cpu: room for 2 now, gpu-1: room for 2 now",
        "  two (TWO): cpu: room for 0 now, gpu-1: room for 0 now",
    ]
    assert picker._repr_mimebundle_()[0]["text/plain"] == repr(picker)
    site = factory("one").site.model_copy(update={"machine": "<img>"})
    picker._factories = [factory("one", site=site)]
    assert "<img" not in picker._repr_html_()


def test_without_offers_every_choice_is_refused() -> None:
    assert completed({}, []) is None and completed({}, [factory("one", sizes=())]) is None
    closed, open_ = factory("one", sizes=()), factory("two")
    instead = completed({"factory": "one"}, [closed, open_])
    assert instead is not None and instead["factory"] == "two"
    assert "There is no factory 'one' for you" in refusal({"factory": "one"}, instead, [closed, open_])
    assert refusal({"factory": "one"}, None, []) == "No factory is open to you at this moment."
    assert checked({"factory": None}) == {}


def test_the_package_is_cheap_to_import() -> None:
    code = "import sys, factorygate; assert not {'ipywidgets', 'anywidget', 'httpx'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT / "extensions", check=True, timeout=100)


@pytest.mark.parametrize("entry", ["picker", "panel"])
def test_a_page_gets_one_module_without_further_requests(entry: str) -> None:
    text = assets.module(entry)
    assert "\nimport " not in text and "import(" not in text and text.count("\nexport ") == 1
    assert "innerHTML" not in text and "https://" not in text


def test_the_wheel_carries_the_scripts_themselves(tmp_path: Path) -> None:
    import zipfile

    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(argv, cwd=CHECKOUT, check=True, capture_output=True, timeout=100)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        for inside, folder in (("factorygate/widgets/built/", "extensions"), ("factoryspawner/built/", "spawners")):
            built = {f"{inside}{path.name}": path.read_bytes() for path in (CHECKOUT / folder / inside).iterdir()}
            assert built
            assert {name: files.read(name) for name in files.namelist() if name.startswith(inside)} == built
        catalogue = "de/LC_MESSAGES/factorygate.po"
        assert (
            files.read(f"factorygate/locale/{catalogue}") == (CHECKOUT / "hub_config/locale" / catalogue).read_bytes()
        )
