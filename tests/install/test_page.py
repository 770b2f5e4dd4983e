"""The commands and files that docs/operators.md tells an operator to use exist and are accepted.

tests/install/test_vm.py runs them.
"""

from __future__ import annotations

import argparse
import re

import pytest

from factoryinstaller import options
from factoryoperator.cli import main
from tests.support import operators_page
from tests.support.operators_page import CHECKOUT


def test_one_machine_takes_two_commands() -> None:
    first, second = operators_page.two_commands()
    assert (CHECKOUT / first[0]).name == "factorygate-install"
    assert (CHECKOUT / first[0]).exists()
    parser = argparse.ArgumentParser(exit_on_error=False)
    options.add(parser)
    chosen = options.chosen(vars(parser.parse_args(first[1:])), {})
    assert (chosen.login, chosen.acme) == ("passwords", options.LETS_ENCRYPT)
    assert second[0] == "factorygate"
    with pytest.raises(SystemExit) as ended:
        main([*second[1:], "--help"])
    assert ended.value.code == 0


def test_the_way_by_hand_names_what_there_is() -> None:
    lines = operators_page.by_hand("1.2.3")
    named = re.findall(r"(?<![\w/.-])(?:bin|docs|hub_config)/[\w/.*-]+", lines)
    assert len(named) >= 5
    assert [name for name in named if not list(CHECKOUT.glob(name))] == []
    assert "releases/1.2.3 /opt/factorygate/current" in lines
