"""The demo's command line, where it says how factories stand."""

from __future__ import annotations

import pytest

from testbed.demo import arguments
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
