"""Answers the pages' requests about factories: which there are, when a session would start, and a person's logins."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError
from tornado import web

from factorycommon.language import N_
from factorycommon.messages import Message
from factorycommon.models import ComingView, CredentialView, Estimate, FactoryView, Problem, RenewBody
from factorylink.client import LinkProblem
from factoryspawner.api.handler import GatewayHandler
from factoryspawner.event_stream import Source

FACTORIES = TypeAdapter(list[FactoryView])
COMING = TypeAdapter(list[ComingView])
ESTIMATE = TypeAdapter(Estimate)
CREDENTIAL = TypeAdapter(CredentialView)


class Factories(GatewayHandler):
    """Answers requests for the factories that this person may use, with what they may use at each."""

    async def get(self) -> None:
        """Answer ``list[FactoryView]``."""
        self.answer(FACTORIES, await self.gateway.link.factories(self.person))


class FactoriesEvents(GatewayHandler):
    """Streams the factories that this person may use, with what they may use at each."""

    async def get(self) -> None:
        """Send the event ``factories``: the whole ``list[FactoryView]``, at once and at every change."""
        await self.send(Source("factories", FACTORIES, self.gateway.link.factories_events(self.person)))


class ComingFactories(GatewayHandler):
    """Answers requests for the factories of the catalogue that have no machine yet."""

    async def get(self) -> None:
        """Answer ``list[ComingView]``."""
        self.answer(COMING, await self.gateway.link.coming())


class FactoryEstimate(GatewayHandler):
    """Answers requests for the estimate of when a session of this person with a given node size would start."""

    async def get(self, factory: str) -> None:
        """Answer ``Estimate``.

        Query: ``size``; ``hours``, if they differ from the size's default; ``project``, if several projects can be
        charged. Raises LinkProblem (400) if ``hours`` is not a number; HTTPError 400 without ``size``.
        """
        size = self.get_query_argument("size")
        hours, project = self.get_query_argument("hours", ""), self.get_query_argument("project", None)
        try:
            wanted = float(hours) if hours else None
        except ValueError as error:
            said = Message("not-a-number", "{field}: {value} is not a number.")
            problem = Problem(kind="invalid", message=said.format(field="hours", value=repr(hours)), field="hours")
            raise LinkProblem(400, problem) from error
        self.answer(ESTIMATE, await self.gateway.link.estimate(factory, self.person, size, wanted, project))


class FactoryCredential(GatewayHandler):
    """Takes a new token for the person's own login at a factory."""

    async def put(self, factory: str) -> None:
        """Pass the token of the body ``{"token": …}`` on to the link without storing it. Answer ``CredentialView``.

        Raises HTTPError 400 if the body has no valid token.
        """
        try:
            wanted = RenewBody.model_validate_json(self.request.body)
        except ValidationError:
            raise web.HTTPError(400, N_("That is not a token.")) from None  # nothing of it in a log
        self.answer(CREDENTIAL, await self.gateway.link.renew(factory, self.person, wanted.token))


ROUTES: tuple[tuple[str, type[GatewayHandler]], ...] = (
    (r"factories", Factories),
    (r"factories/events", FactoriesEvents),
    (r"coming", ComingFactories),
    (r"factories/([a-z0-9-]+)/estimate", FactoryEstimate),
    (r"factories/([a-z0-9-]+)/credential", FactoryCredential),
)
