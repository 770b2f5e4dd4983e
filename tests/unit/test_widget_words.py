"""The widgets in the language of the session's person: texts of the scripts, and of Python."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factorycommon.link_errors import LinkProblem
from factorycommon.messages import Message, joined, of_error
from factorycommon.models import Health, Problem, Words
from factorygate import language
from factorygate.link import LinkError
from factorygate.widgets import assets
from factorygate.widgets.choosing import passing, refusal, standing
from factorygate.widgets.rows import Window
from factorygate.widgets.summary import summary
from testbed.install import environments as install
from tests.support.scripted_link import SINCE, factory
from tests.support.watched import ScriptedCluster, job, view
from tests.unit.test_panel import Shown, no_background

__all__ = ["no_background"]
FULL = "Other jobs are ahead of yours in the queue."  # a text of the link


@pytest.fixture(params=["de-AT:de:en"])
def german(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    monkeypatch.setenv("FACTORYGATE_LANGUAGE", request.param)
    language.here.cache_clear()
    yield
    language.here.cache_clear()


def said(entry: str, expression: str) -> Any:
    """Return the value of an expression in a widget's module, by Node.js."""
    script = f"{assets.module(entry)}\nconsole.log(JSON.stringify({expression}));"
    argv = [install.node(Path(sys.executable)), "--input-type=module", "-"]
    done = subprocess.run(argv, input=script, capture_output=True, text=True, check=True, timeout=30)
    return json.loads(done.stdout)


def test_scripts_are_english_where_nothing_is_known() -> None:
    assert language.here().code == "en"
    assert said("panel", "V.jobs(1200)") == "1,200 jobs"


@pytest.mark.usefixtures("german")
def test_scripts_bring_the_words_that_they_show_and_no_others() -> None:
    assert said("panel", "[V.control, V.jobs(1200), gigabytes(1500)]") == ["Wie viele", "1.200 Jobs", "1,5 TB"]
    assert said("picker", "[V.size, W.freeNow, hoursText(1.5)]") == ["Knotengröße", "Jetzt frei", "1 Stunde 30 Minuten"]
    assert "Jetzt frei" not in assets.module("panel")


@pytest.mark.usefixtures("german")
@pytest.mark.parametrize("german", ["fi:el:de", "de"], indirect=True)
def test_the_first_language_that_there_is_counts() -> None:
    assert language.here().code == "de"


@pytest.mark.usefixtures("german")
@pytest.mark.parametrize("german", ["en-GB:de", "fi", "../../../etc", ":"], indirect=True)
def test_widgets_are_in_english_without_a_translation() -> None:
    assert language.here().code == "en"


@pytest.mark.usefixtures("german", "no_background")
def test_the_panel_says_what_is_the_matter() -> None:
    size = Message("size-label", "{gpus}, {cores} cores, {memory} GB").format(gpus="1 x A100", cores=8, memory=60)
    message = joined(FULL, "Nobody translated this.")
    cluster = ScriptedCluster(view(3, message=message, size_label=size))
    shown = Shown(cluster)
    shown.page(op="scale", jobs=12)
    assert shown.panel._said["text"] == "12 Jobs gewünscht."
    shown.page(op="scale", jobs=9000)
    assert shown.panel._said["text"] == "Eine Anzahl von Jobs ist eine ganze Zahl von 0 bis 500."
    cluster.refuse = LinkError("conflict", "The cluster is ending.", "Wait, or ask the site.")
    shown.page(op="scale", jobs=1)
    assert shown.panel._said["text"] == "Der Cluster wird gerade beendet. Wait, or ask the site."
    told = summary(cluster.now)
    assert told["message"] == "Andere sind in der Warteschlange vor Ihnen. Nobody translated this."
    assert told["size"] == "1 x A100, 8 Kerne, 60 GB"
    waits = replace(view(), jobs=(job(1, "pending", why=FULL),))
    [row] = (Window().changes(waits) or {})["rows"].values()
    assert row["why"] == "Andere sind in der Warteschlange vor Ihnen."
    shown.panel.close()


@pytest.mark.usefixtures("german")
def test_texts_that_were_joined_are_told_one_by_one() -> None:
    taken = {
        "message": "You have a cluster named x already. Take it up by its name, or choose another.",
        "code": "cluster-name-yours",
        "parameters": {"name": "x"},
    }
    over = {
        "message": "The cluster may use 4 GPU-hours. 3.00 are used or reserved, and 2 more jobs of 1 h would need 2.",
        "do": "Ask for fewer or shorter jobs, or for a larger cap.",
        "code": "over-cap",
        "parameters": {"cap": "4", "used": "3.00", "more": "2", "hours": "1", "asked": "2"},
    }
    known = LinkProblem(409, Problem.model_validate({"kind": "conflict"} | taken))
    problem = LinkProblem(403, Problem.model_validate({"kind": "limit"} | over))
    text = joined(
        known.message,
        "Nobody translated this.",
        of_error(problem),
    )
    assert text == f"{taken['message']} Nobody translated this. {over['message']} {over['do']}"
    told = language.here().said(text)
    assert told == (
        "Sie haben schon einen Cluster namens x. Nehmen Sie ihn unter seinem Namen wieder auf, oder wählen Sie einen "
        "anderen. Nobody translated this. Der Cluster darf 4 GPU-Stunden verbrauchen. 3.00 sind verbraucht oder seinen "
        "Jobs zugesagt, und 2 weitere Jobs von 1 h bräuchten 2. Verlangen Sie weniger oder kürzere Jobs, oder eine "
        "höhere Grenze."
    )
    assert language.here().said(joined()) == ""


@pytest.mark.usefixtures("german")
def test_the_picker_says_what_the_start_page_says() -> None:
    silent = Words(code="x", what="The factory is not answering.")
    one = factory("one", health=Health(state="unreachable", since=SINCE, words=silent))
    told = passing([one])["one"]["health"]["words"]
    assert told == silent.model_dump() | {"what": "Die Factory antwortet nicht."}
    assert standing([one])[0]["sizes"][0]["gpu_label"] == "keine GPU"
    refused = refusal({"factory": "x"}, {"factory": "one"}, [one])
    assert language.here().said(refused) == "Eine Factory 'x' gibt es für Sie nicht; es gibt one."
