"""Texts for people are in plain English: texts that readers did not understand do not return to pages or documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from factorycommon.models import Factory, FactoryView
from factorylink.catalogue import catalogue as federation
from factorylink.catalogue.loading import gpu_label

CHECKOUT = Path(__file__).parents[2]
# Texts that readers did not understand; each was replaced.
ODD = (
    r"Nobody.s move",
    r"Your move\b",
    r"[Ii]t is among the next",
    r"[Tt]akes? your request back",
    r"The hub asked to stop it",
    r"[Gg]et in line for you",
    r"It saves and closes",
    r"[Cc]lusters that ended lately",
    r"Leave it as it is",
    r"Take back\b",
    r"How the gateway and its factories are",
    r"Tell me before a session ends",
    r"Names you have used",
    r"start not known yet",
    r"more fits? now",
    r"Billed (\{|1 )",
    r"billed whole",
    r"promised to (its|their) jobs",
    r"\blive for \{",
    r"unless you go on",
    r"What it is for\b",
    r"What knows who you are",
    r"The site bills",
    r"[Oo]ut of reach",
    r"Does not answer\b",
    r"\{machine\} does not answer",
    r"The factory('s scheduler)? does not answer",
    r"[Nn]ext in line",
    r"[Pp]lace in line",
    r"As last time",
    r"\{project\} pays",
    r"[Pp]roject that pays",
    r"which one pays",
    r"\{machine\} bills",
    r"h × \{n\}",
    r"What the factory said",
    r"[Ii]ts scheduler runs as its own job",
    r"[Nn]ot switched on here",
    r"nodes out of use:",
    r"Nodes out of use here",
    r"Marked: the factories",
    r"front office",
    r"filled ones you can use",
    r"Scopes, separated",
    r"list of scopes",
    r"rules of \{site\}",
    r"The sites. rules",
    r"The site has to act",
    r"Cancelled by the site",
    r"[Ww]hat runs (there )?goes on",
    r"without activity\.",
)
ALONE = {"Answers"}  # a former text for a factory's health
# Texts that only editors of the catalogue and operators read.
FOR_EDITORS = re.compile(r"not found|to be confirmed|ask the site|switching this on|\(example\b", re.IGNORECASE)

SHOWN = sorted(
    path
    for pattern in (
        "hub_config/templates/**/*.html",
        "hub_config/error/*.html",
        "extensions/frontend/*/*.js",
        "hub_config/locale/factorygate.pot",
        "hub_config/factories/*.yaml",
        "extensions/factorygate/widgets/*.py",
        "extensions/factorygate/widgets/built/*.js",
        "spawners/factoryspawner/built/*.js",
        "extensions/lab/src/*.ts",
        "extensions/lab/labextension/static/*.js",
        "spawners/factorylink/sessions/mail.py",
        "docs/**/*.md",
        "docs/examples/*.ipynb",
        "README.md",
    )
    for path in CHECKOUT.glob(pattern)
)


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_replaced_text_is_shown_again(path: Path) -> None:
    text = re.sub(r"\s+", " ", re.sub(r'"\n"', "", path.read_text(encoding="utf-8")))
    assert [odd for odd in ODD if re.search(odd, text)] == []


def test_no_text_is_an_odd_word_alone() -> None:
    with (CHECKOUT / "hub_config" / "locale" / "factorygate.pot").open("rb") as file:
        assert not ALONE & {str(message.id) for message in read_po(file)}


def factories() -> list[Factory]:
    return list(federation.load(CHECKOUT / "hub_config" / "factories").factories.values())


@pytest.mark.parametrize("factory", factories(), ids=lambda factory: factory.id)
def test_texts_about_factories_are_for_people(factory: Factory) -> None:
    shown = [factory.name, factory.site.machine, *(one.title for one in factory.environments)]
    shown += [text for hint in factory.hints for text in hint.values()]
    assert [text for text in shown if FOR_EDITORS.search(text)] == []


@pytest.mark.parametrize("factory", factories(), ids=lambda factory: factory.id)
def test_sizes_are_told_apart_by_their_titles(factory: Factory) -> None:
    labels = [gpu_label(factory, size) for size in factory.sizes]
    assert len(set(labels)) == len(labels), labels


def test_names_of_antennas_are_names() -> None:
    hub = CHECKOUT / "hub_config"
    found = federation.load(hub / "factories", hub / "antennas.yaml").antennas
    assert found is not None
    assert [one.name for one in found.antennas if FOR_EDITORS.search(one.name)] == []


def test_a_view_has_no_notes_of_editors() -> None:
    assert "notes" not in FactoryView.model_fields
