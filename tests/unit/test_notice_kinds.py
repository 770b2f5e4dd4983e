"""The kinds of notices and the reasons for ends: each value of the link is known where it is shown."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from factorycommon.models import EndReason, Notice
from factorycommon.models import SessionState as State
from factorygate.session import deadlines
from testbed.install import environments as install

CHECKOUT = Path(__file__).parents[2]
LAB = CHECKOUT / "extensions" / "lab" / "src"
WORDS = CHECKOUT / "extensions" / "frontend" / "common" / "words.js"
KINDS = set(get_args(Notice.model_fields["kind"].annotation))


def told(path: Path, pattern: str) -> set[str]:
    """Return the quoted words in the first group of a pattern's first match in a file."""
    found = re.search(pattern, path.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{path.name} has nothing like {pattern}"
    return set(re.findall(r'"([a-z-]+)"', found[1]))


def test_jupyterlab_knows_all_notices() -> None:
    """TypeScript's compiler checks that there is a text for each notice."""
    assert told(LAB / "model.ts", r"NOTICES = \[(.*?)\]") == KINDS


@pytest.mark.parametrize(("block", "words"), [("soon", KINDS), ("reason", {str(one.value) for one in EndReason}),
                                              ("state", {str(one.value) for one in State})])  # fmt: skip
def test_the_pages_have_words_for_all(block: str, words: set[str]) -> None:
    script = f'import {{ W }} from "{WORDS.as_uri()}"; console.log(JSON.stringify(Object.keys(W.{block})));'
    argv = [install.node(Path(sys.executable)), "--input-type=module", "-"]
    done = subprocess.run(argv, input=script, capture_output=True, text=True, check=True, timeout=30)
    assert set(json.loads(done.stdout)) == words


def test_the_door_warns_of_nothing_that_the_link_does_not_know() -> None:
    limits = deadlines.SessionLimits(environment=60, unopened=60, idle=60)
    facts = [
        deadlines.Facts(
            started=0, ends=1000, environment=True, up=1, activity=deadlines.Activity(last=1, busy=False, opened=opened)
        )
        for opened in (True, False)
    ]
    found = {one.reason for each in facts for one in deadlines._deadlines(each, limits) if one.warnings}
    assert found == KINDS - {"access"}  # only the link knows this one
