"""Gives measured programs precedence at the processor, and makes the people of a class of sixty."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
import yaml

from testbed import accounts
from tests.faults.test_kill import kill
from tests.support import processor_share
from tests.support.gateway import Gateway

CLASS = 60
CLASSES = 10  # that may have their seats at the same time, since each test has one
FACTORIES = ("it4lia", "lumi-aif")


@pytest.fixture(scope="session", autouse=True)
def _other_work_is_not_measured() -> Iterator[None]:
    """Give the tests, and each gateway and browser that they start, the processor before other work of the machine."""
    with processor_share.preferred():
        yield


@pytest.fixture(autouse=True)
def _the_machine_can_bear_a_class(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give the processes of a class an ordinary share of the processors: they need all processors for minutes.

    Changes nothing in tests without ``class_gateway``.
    """
    with processor_share.ordinary() if "class_gateway" in request.fixturenames else contextlib.nullcontext():
        yield


@pytest.fixture(scope="session")
def class_people(class_gateway: Gateway) -> Iterator[list[str]]:
    """Return sixty people of the hub, each with a site account of their own, and let the pools have seats for them."""
    assert os.geteuid() == 0
    people = [class_gateway.make_user() for _ in range(CLASS)]
    names = tuple(f"fg-seat{number:02}" for number in range(1, CLASS + 1))
    folder = class_gateway.path.parent
    link, pools = folder / "link.yaml", folder / "workshop-pools.yaml"
    before = {file: file.read_text() for file in (link, pools)}
    settings, offered = yaml.safe_load(before[link]), yaml.safe_load(before[pools])
    for factory in settings["factories"].values():
        factory["accounts"] |= dict(zip(people, names, strict=True))
    for pool in offered["pools"]:
        pool["seats"] = CLASSES * CLASS
    with accounts.lent(names):
        link.write_text(yaml.safe_dump(settings))
        pools.write_text(yaml.safe_dump(offered))
        kill(class_gateway, "link")  # the next one reads the new settings
        yield people
        for file, text in before.items():
            file.write_text(text)
