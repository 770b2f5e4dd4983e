"""The demo's command line, where it says how factories stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from factorylink.models import Projects
from testbed import demo_login
from testbed.demo import arguments
from testbed.errors import CannotRun
from testbed.login import Isolation
from testbed.options import isolation, isolation_argv


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        ([], None),
        (["--forwarding", "no"], None),
        (["--isolated"], Isolation(forwarding=True, carrier="tcp")),
        (["--isolated", "--carrier", "stdio"], Isolation(forwarding=True, carrier="stdio")),
        (["--isolated", "--forwarding", "no"], Isolation(forwarding=False, carrier="stdio")),
    ],
)
def test_a_detached_demo_means_the_same(argv: list[str], meant: Isolation | None) -> None:
    options = arguments(argv)
    assert isolation(options) == meant
    assert isolation(arguments(isolation_argv(options))) == meant


def test_a_login_without_passwords_stays_on_this_machine(tmp_path: Path) -> None:
    assert arguments([]).login == "passwords"
    assert arguments(["--login", "oidc"]).login == "oidc"
    here, elsewhere = "http://127.0.0.1:8000", "https://gateway.example.org"
    for public_url, issuer in ((elsewhere, here), (here, elsewhere)):
        with pytest.raises(CannotRun, match="lets anybody in"):
            demo_login.hub_settings(tmp_path, public_url, issuer)
    assert not list(tmp_path.iterdir())
    settings = demo_login.hub_settings(tmp_path, here, "http://localhost:8091")
    assert set(settings["providers"][0]["names"]) == set(demo_login.GROUPS)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_everybody_of_the_demo_has_a_project(count: int) -> None:
    ids = ["lumi-aif", "it4lia", "brainpp"][:count]
    made = Projects.model_validate(demo_login.projects(ids)).projects
    for name, groups in demo_login.GROUPS.items():
        assert any(project.has(name, frozenset(groups)) for project in made)
    assert {factory for project in made for factory in project.factories} == set(ids)
