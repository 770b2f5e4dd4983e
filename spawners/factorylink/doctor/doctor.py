"""Tests the steps of a session at a factory for the operator, up to the first step that fails."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from factorycommon.models import Factory, Model, NodeSize, Words
from factorylink.config import LinkConfig
from factorylink.doctor.visit import Stuck, Visit
from factorylink.errors import FactoryError, Gone, Refused
from factorylink.explain import explain

log = logging.getLogger(__name__)


class StepResult(Model):
    """The result of one step of ``examine``, the operator's test of a factory.

    ``said``: what a successful step found; ``words``: why a step failed, and what to do; ``log``: the last lines of the
    job's log."""

    step: str
    good: bool
    said: str = ""
    words: Words | None = None
    log: tuple[str, ...] = ()


async def examine(
    config: LinkConfig, factory: Factory, account: str, size: NodeSize, patience: float
) -> AsyncIterator[StepResult]:
    """Test the steps of a session at a factory; yield the result of each step; stop after the first that fails.

    Then yield a result for everything that could not be removed, or that stays at the factory. ``factory`` already has
    the overrides of ``link.yaml``; ``patience``: seconds for the job to start. Raises ValueError if the settings of the
    factory in ``link.yaml``, or the files that they name, are wrong; ChoiceError if no environment fits the size.
    """
    visit = Visit(config, factory, account, size, patience)
    try:
        for step, walk in visit.steps:
            try:
                finding = StepResult(step=step, good=True, said=await walk())
            except Stuck as stuck:
                finding = StepResult(step=step, good=False, words=stuck.words, log=stuck.log)
            except FactoryError as error:
                finding = StepResult(step=step, good=False, words=_explained(step, error))
            yield finding
            if not finding.good:
                break
        for words in await visit.leave():
            yield StepResult(step="clean up", good=False, words=words)
        if visit.kept:
            said = f"the site's wrapper removes no folders, so {visit.kept} stays"
            yield StepResult(step="clean up", good=True, said=said)
    finally:
        for words in await visit.leave():  # interrupted: nobody receives results any more
            log.warning("%s", words.what)


def _explained(step: str, error: FactoryError) -> Words:
    if isinstance(error, Refused) and step in ("home", "submit"):
        return explain.refused(error.message)
    if step in ("entry", "door"):
        return explain.door(error.message)
    if step == "login" and isinstance(error, Gone):
        return Words(
            code="no-account",
            what="There is no such account at the factory.",
            do="Name another one under accounts or account_pool of link.yaml, or have the site make it.",
            whose="operator",
            scheduler=error.message,
        )
    return explain.unreachable(error)
