"""Tests that a key is added to a YAML text, and that all other lines stay unchanged."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.service.yaml_file import CatalogueError
from factorylink.util import yaml_edit

EMPTY = "# top\ncatalogue: x\nfactories: {}  # none yet\n# below\nlimits:\n  pending_per_person: 5\n"
FULL = """\
hub: {token_file: t}
factories:
    # the first one
    it4lia:
        accounts: {ada: a00ada00}   # she pays

# limits follow
limits:
    pending_per_person: 5
"""


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (EMPTY, []),
        (FULL, ["it4lia"]),
        ("hub: {}\n", []),
        ("hub: {}", []),
        ("factories:\nhub: {}\n", []),
        ("factories: ~  # none yet\nhub: {}\n", []),
        ("hub: {}\nfactories: null", []),
    ],
)
def test_an_entry_is_added_and_the_rest_stays(text: str, known: list[str]) -> None:
    made = yaml_edit.with_entry(text, "factories", "lumi-aif", {"account_pool": ["fg1"], "transport": {"kind": "ssh"}})
    before, after = yaml.safe_load(text), yaml.safe_load(made)
    assert list(after["factories"]) == [*known, "lumi-aif"]
    assert after.pop("factories")["lumi-aif"]["transport"] == {"kind": "ssh"}
    before.pop("factories", None)
    assert after == before
    kept = [line for line in text.splitlines() if line.strip() and not line.startswith("factories:")]
    assert [line for line in made.splitlines() if line in kept] == kept
    assert ("# none yet" in made) == ("# none yet" in text)


def test_an_entry_that_is_there_is_not_written_over() -> None:
    with pytest.raises(CatalogueError, match=r"factories\.it4lia: is there already"):
        yaml_edit.with_entry(FULL, "factories", "it4lia", {})


@pytest.mark.parametrize("text", ["factories: {a: {}}\n", "factories: [a]\n", "[a]\n", "a: [\n"])
def test_a_text_that_cannot_be_changed_is_refused_in_words(text: str) -> None:
    with pytest.raises(CatalogueError):
        yaml_edit.with_entry(text, "factories", "b", {})


def test_a_value_is_changed_and_the_rest_stays() -> None:
    text = "id: it4lia\nstate: template   # not yet\nsite:\n  city: Bologna\n"
    made = yaml_edit.with_value(text, "state", "live")
    assert made == text.replace("template", "live")
    made = yaml_edit.with_value(made, "agreement", {"who": 'A "name"', "when": "2026-11-27"})
    assert yaml.safe_load(made)["agreement"] == {"who": 'A "name"', "when": "2026-11-27"}
    assert made.startswith(text.replace("template", "live"))


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=30)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.lists(TEXTS, max_size=3), max_size=4), TEXTS)
def test_any_entry_is_read_back_as_it_was_given(others: dict[str, list[str]], word: str) -> None:
    text = yaml.safe_dump({"limits": others, "factories": {"first": others}}, allow_unicode=True)
    made = yaml_edit.with_entry(text, "factories", "second", {"word": word, "more": others})
    assert yaml.safe_load(made)["factories"]["second"] == {"word": word, "more": others}
    assert yaml.safe_load(made)["limits"] == others
