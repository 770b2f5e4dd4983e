"""Answers requests for help that sessions make for their people: takes them from the link, and sends answers back."""

from __future__ import annotations

import asyncio
import logging

from pydantic import TypeAdapter

from factorycommon.messages import Message
from factorycommon.models.workshops.help import ASK_SECONDS, HelpAnswer, HelpAsk, HelpAsks
from factorycommon.service.problems import ProblemError, unreachable
from workshops.helping.service import Helping
from workshops.link import NOTHING, LinkAway, LinkRefused, LinkSocket
from workshops.store.store import StoreError

log = logging.getLogger("workshops")

AWAY_SECONDS, REFUSED_SECONDS = 1.0, 30.0  # until the link is asked again; a link that refuses is of an older release
_ASKS = TypeAdapter(HelpAsks)
_NO_DATABASE = Message("help-no-database", "The database of workshops does not answer just now.")


class SessionAsks:
    """Carries out what sessions request about help for their people, such as to raise a hand. Run ``run`` as a task."""

    def __init__(self, helping: Helping, link: LinkSocket) -> None:
        self._helping = helping
        self._link = link
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take the sessions' requests about help from the link, carry them out and answer them, without end."""
        while True:
            try:
                found = await self._link.get_of_all(_ASKS, "/help", seconds=ASK_SECONDS + 10)
            except LinkRefused as error:
                log.info("The link passes on no requests for help: %s", error)
                await asyncio.sleep(REFUSED_SECONDS)
                continue
            except LinkAway as error:
                log.info("The link is asked again for requests for help: %s", error)
                await asyncio.sleep(AWAY_SECONDS)
                continue
            for ask in found.asks:
                task = asyncio.create_task(self._answer(ask))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

    async def _answer(self, ask: HelpAsk) -> None:
        try:
            await self._link.post(NOTHING, ask.project, f"/help/{ask.id}", await self._answered(ask))
        except ProblemError as error:
            log.info("An answer to a request for help did not arrive: %s", error)
        except Exception:  # any error: the session asks again
            log.exception("A request for help of %s has no answer", ask.project)

    async def _answered(self, ask: HelpAsk) -> HelpAnswer:
        try:
            return HelpAnswer(state=await self._helping.take(ask))
        except ProblemError as error:
            return HelpAnswer(problem=error.problem)
        except StoreError as error:
            log.error("%s", error)  # noqa: TRY400
            return HelpAnswer(problem=unreachable(_NO_DATABASE).problem)
