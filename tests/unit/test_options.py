"""The options that a form or the API may post."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.models import Choice
from factorylink.explain import explain
from factorylink.problems import refused
from factoryspawner.errors import StartFailed, problem_failed
from factoryspawner.options import choice_from_form, choice_from_options, plain

NASTY = [
    "a\nb",
    "a\r\n#SBATCH --uid=0",
    "'; touch x; '",
    '"',
    "$(id)",
    "a b",
    "-x",
    "{{ 7*7 }}",
    "../x",
    "ä",
    "A",
    "\0",
]


def test_ids_and_numbers_pass() -> None:
    form = {
        "_xsrf": ["token"],
        "lang": ["de"],
        "factory": ["lumi-aif"],
        "size": ["1-gpu"],
        "environment": ["base"],
        "hours": ["1.5"],
        "idle_minutes": ["30"],
        "unopened_minutes": [""],
        "give_up_hours": ["24"],
        "project": [""],
    }
    choice = choice_from_form(form)
    assert choice == Choice(
        factory="lumi-aif", size="1-gpu", environment="base", hours=1.5, idle_minutes=30, give_up_hours=24
    )
    assert choice_from_options(plain(choice)) == choice


def test_only_a_switch_is_true_or_false() -> None:
    assert choice_from_form({"url_tokens": ["true"]}).url_tokens is True
    assert choice_from_form({"url_tokens": [""]}).url_tokens is None
    assert choice_from_options({"url_tokens": False}).url_tokens is False
    with pytest.raises(StartFailed, match="hours: True is not a value for it"):
        choice_from_options({"hours": True})
    with pytest.raises(StartFailed, match="url_tokens: 'maybe' is neither true nor false"):
        choice_from_options({"url_tokens": "maybe"})


def test_an_empty_choice_is_valid() -> None:
    assert choice_from_options({}) == choice_from_form({}) == Choice()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (field, value)
        for field in ("factory", "size", "environment", "hours", "idle_minutes", "project")
        for value in NASTY
        if (field, value) != ("project", "A")  # projects' ids have capital letters
    ],
)
def test_no_text_gets_through(field: str, value: str) -> None:
    for read, given_ in ((choice_from_form, {field: [value]}), (choice_from_options, {field: value})):
        with pytest.raises(StartFailed) as caught:
            read(given_)
        assert caught.value.status_code == 400
        assert caught.value.field == field
        assert field in caught.value.jupyterhub_message
        assert "\n" not in caught.value.jupyterhub_message


@pytest.mark.parametrize(
    "options",
    [
        {"partition": "gpu"},
        {"exec_prefix": "x"},
        {"factory": {"a": 1}},
        {"factory": ["a"]},
        {"hours": True},
        {"hours": 0},
        {"hours": -1},
        {"hours": "nan"},
        {"hours": "inf"},
        {"hours": 10**400},
        {"idle_minutes": 1.5},
        {"idle_minutes": 10**9},
        {"_xsrf": "x"},
        ["factory"],
        "factory",
    ],
)
def test_an_unknown_option_of_the_api_is_refused(options: Any) -> None:
    with pytest.raises(StartFailed) as caught:
        choice_from_options(options)
    assert caught.value.status_code == 400


@pytest.mark.parametrize("form", [{"size": ["a", "b"]}, {"qos": [""]}, {"size_file": [{"body": b""}]}])
def test_an_unknown_field_of_the_form_is_refused(form: dict[str, list[Any]]) -> None:
    with pytest.raises(StartFailed):
        choice_from_form(form)


def test_words_name_the_options_and_escape_what_they_show() -> None:
    with pytest.raises(StartFailed) as caught:
        choice_from_options({"<b>": 1})
    assert "factory, size, environment" in caught.value.jupyterhub_message
    assert "&lt;b&gt;" in caught.value.jupyterhub_html_message
    assert "<b>" not in caught.value.jupyterhub_html_message


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(Choice.model_fields)) | st.text(), json, max_size=4))
def test_any_json_is_a_choice_or_a_refusal(options: dict[str, Any]) -> None:
    with contextlib.suppress(StartFailed):
        choice = choice_from_options(options)
        assert choice_from_options(plain(choice)) == choice


@pytest.mark.parametrize(
    "text", ["Bananas", "Project training is closed.\nAsk for another.\nBatch job submission failed: Unspecified error"]
)
def test_a_schedulers_message_is_shown_once(text: str) -> None:
    failed = problem_failed(refused(explain.refused(text)).problem)
    for shown in (failed.jupyterhub_message, failed.jupyterhub_html_message):
        assert shown.count(text.split()[0]) == 1
    account = problem_failed(refused(explain.refused("Invalid account")).problem)
    assert account.jupyterhub_message.endswith("The factory said: Invalid account")
