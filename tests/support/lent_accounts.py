"""Pools of accounts for workshops in a running gateway, with the site's program that empties the accounts."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from factorycommon.models.workshops.seats import HeldAccounts, SeatPlaces
from testbed import accounts
from tests.faults.test_kill import kill
from tests.support.gateway import Gateway
from tests.support.trial import CHECKOUT

_NUMBERS = itertools.count(1)  # for the names of all tests' accounts


@dataclass(frozen=True)
class LentAccounts:
    """The pools. ``names``: the accounts of each pool; ``wipe``: the command that empties an account."""

    names: Mapping[str, tuple[str, ...]]
    wipe: list[str]


@contextmanager
def lent_accounts(gateway: Gateway, pools: Mapping[str, str], count: int) -> Iterator[LentAccounts]:
    """Make pools with ``count`` accounts each; yield the pools, and remove pools and accounts after the block.

    ``pools``: the factory of each pool, by the pool's id. The link is started again at the beginning and at the end,
    because it reads its settings when it starts.
    """
    folder, port = gateway.path.parent, gateway.root.rpartition(":")[2].partition("/")[0]
    # The link may still be clearing the accounts of the test before.
    names = {pool: tuple(f"fg-{port}-{next(_NUMBERS)}" for _ in range(count)) for pool in pools}
    every = tuple(name for group in names.values() for name in group)
    accounts.ensure(every)
    site = folder / "site"
    site.mkdir(mode=0o755, exist_ok=True)
    program = shutil.copy(CHECKOUT / "site/factorygate-wipe", site)
    (site / "wipe.conf").write_text(f"accounts = fg-{port}-*\nscheduler = slurm\n")
    wipe = [str(program), "--conf", str(site / "wipe.conf")]
    link, offers = folder / "link.yaml", folder / "workshop-pools.yaml"
    before = {file: file.read_text() for file in (link, offers)}
    settings, offered = yaml.safe_load(before[link]), yaml.safe_load(before[offers])
    for pool, factory in pools.items():
        settings["factories"][factory] |= {"account_wipe": wipe, "account_wipe_proof": [*wipe, "--proof"]}
        (like,) = [one for one in offered["pools"] if one["id"] == factory]
        offered["pools"].append({**like, "id": pool, "site_accounts": list(names[pool])})
    link.write_text(yaml.safe_dump(settings))
    offers.write_text(yaml.safe_dump(offered))
    try:
        kill(gateway, "link")
        yield LentAccounts(names, wipe)
    finally:
        for file, text in before.items():
            file.write_text(text)
        kill(gateway, "link")
        for name in every:
            for process in processes(name):
                with suppress(ProcessLookupError):
                    os.kill(process, 9)
        accounts.remove(*every)
        shutil.rmtree(site)


def processes(account: str) -> list[int]:
    """Return the ids of an account's processes."""
    uid = pwd.getpwnam(account).pw_uid
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if one.stat().st_uid == uid and (one / "cmdline").read_bytes():
                found.append(int(one.name))
        except OSError:
            continue
    return found


def held(gateway: Gateway, slug: str, factory: str) -> HeldAccounts | None:
    """Return what the link says of a class's accounts at a factory; None: none are lent, or the class is unknown."""
    transport = httpx.HTTPTransport(uds=str(gateway.path.parent / "link" / "workshops.sock"))
    with httpx.Client(base_url="http://link", transport=transport, timeout=60) as link:
        answer = link.get(f"/projects/workshop-{slug}/seats")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    places = SeatPlaces.model_validate_json(answer.content).places
    (found,) = [one.accounts for one in places if one.factory == factory]
    return found
