"""``factorygate doctor``: the operator's command that tests everything that a session at a factory needs."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
from pathlib import Path
from typing import Any

from factorycommon.models import Factory, NodeSize
from factorycommon.models.plain import plain_text
from factorycommon.service.yaml_file import CatalogueError
from factorylink.catalogue import catalogue as federation
from factorylink.catalogue.loading import ChoiceError, find_size, load_link_config, offered, smallest_size
from factorylink.config import LinkConfig
from factorylink.doctor import doctor

_VARIABLE = "FACTORYGATE_LINK"
_LONGEST = 7 * 24 * 60  # minutes


def add(parts: Any) -> None:
    """Add the command ``doctor`` to the subparsers ``parts``."""
    command = parts.add_parser(
        "doctor", help="walk the way of a session to a factory, with a real job, and leave nothing"
    )
    command.add_argument("id")
    command.add_argument(
        "--link", type=Path, default=os.environ.get(_VARIABLE, "link.yaml"), help=f"link.yaml; else of ${_VARIABLE}"
    )
    command.add_argument("--account", help="the site account to go as; else the first that link.yaml has")
    command.add_argument("--size", help="the node size to ask for; else the smallest")
    command.add_argument("--wait", type=_minutes, default=10, metavar="MINUTES", help="for the job to start (10)")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Run the doctor; return the exit code.

    0: all steps worked; 1: a step failed, or something could not be removed; 130: interrupted, after an attempt to
    remove everything. Raises CatalogueError, for example if the gateway may not offer the factory, the node size does
    not exist, or there is no site account.
    """
    config = load_link_config(options.link.absolute())
    _become_owner(config.state_dir)
    if options.id not in config.factories:
        raise CatalogueError([f"{options.id}: not in {options.link}; there are: {', '.join(config.factories)}"])
    access = config.factories[options.id]
    alone = config.model_copy(update={"factories": {options.id: access}})
    factory = offered(alone, federation.load(config.catalogue).factories)[options.id]
    account = options.account or next(iter((*access.accounts.values(), *access.account_pool)), None)
    if account is None:
        raise CatalogueError([f"{options.id}: {options.link} has no site account for it: name one by --account"])
    try:
        size = smallest_size(factory) if options.size is None else find_size(factory, options.size)
        return asyncio.run(_walk(alone, factory, account, size, options.wait * 60))
    except (ChoiceError, ValueError) as error:
        raise CatalogueError([f"{options.id}: {error}"]) from error
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 130


def _become_owner(folder: Path) -> None:
    """If this process is root, change to the account that owns the folder, and to the working directory ``/``.

    Only the link's account can read the link's keys, and whatever fails for the link must fail here as well. Nothing
    changes if the folder does not exist or belongs to root.
    """
    if os.geteuid() != 0 or not folder.is_dir() or folder.stat().st_uid == 0:
        return
    owner = folder.stat()
    os.chdir("/")  # the link's account may not read root's home
    os.environ["HOME"] = str(folder)
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: 0 to {_LONGEST} minutes")
    return minutes


async def _walk(config: LinkConfig, factory: Factory, account: str, size: NodeSize, patience: float) -> int:
    well = True
    async for finding in doctor.examine(config, factory, account, size, patience):
        _say(finding)
        well &= finding.good
    sys.stdout.write(f"{factory.id}: {'all is well' if well else 'not well'}.\n")
    return 0 if well else 1


def _say(finding: doctor.StepResult) -> None:
    words = finding.words
    if words is None:
        sys.stdout.write(f"{finding.step}: good; {plain_text(finding.said)}\n")
    else:
        sys.stdout.write(f"{finding.step}: FAILED. {words.what} {words.do}\n")
        if words.scheduler:
            sys.stdout.write(f"  It said: {plain_text(words.scheduler)}\n")
    for line in finding.log:
        sys.stdout.write(f"  | {plain_text(line)}\n")
    sys.stdout.flush()
