"""Scripted answers of the link to questions about choices, for notebooks in tests without a link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from factorycommon.link_errors import LinkProblem
from factorycommon.models import ChoiceQuery, ChoiceView, Factory, Problem, SizeView
from factorylink.catalogue.choices import ChoiceError, find_size, gpu_label, offer, resolve, sized, walltime
from factorylink.catalogue.prices import price


def choice_answers(factory: Factory) -> Callable[..., ChoiceView]:
    """Return a replacement for ``link.get_now`` that answers questions about choices at this one factory."""

    def answer(path: str, _kind: object, _way: object, **wanted: Any) -> ChoiceView:
        assert path == "/choice"
        query = ChoiceQuery(**wanted)
        try:
            choice = resolve(factory, sized(factory, query.choice(), query.cores, query.memory_gb))
        except ChoiceError as error:
            raise LinkProblem(400, Problem(kind="invalid", message=error.message, field=error.field)) from error
        size = find_size(factory, choice.size)
        costs = price(factory, size)
        view = SizeView(
            size=size, gpu_label=gpu_label(factory, size), fits_now=1, offer=offer(factory, size), price=costs
        )
        cost = costs.of(walltime(choice.hours))
        return ChoiceView(choice=choice, machine=factory.site.machine, size=view, cost=cost)

    return answer
