"""The link's API for the hub and the operator's command.

The API is on a Unix socket that only these two can open, and over TLS for a hub on another host.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Literal

from fastapi import FastAPI, Path, Query, Response
from fastapi.responses import PlainTextResponse
from pydantic import AwareDatetime, BeforeValidator

from factorycommon import messages
from factorycommon.models import (
    AcceptBody,
    AccessStatus,
    AuditLine,
    BannerBody,
    ChecklistView,
    Choice,
    Cluster,
    ClusterId,
    ComingView,
    CredentialBody,
    CredentialView,
    DrainBody,
    EnvironmentBody,
    Estimate,
    ExtendBody,
    FactoryView,
    Hours,
    HubRules,
    MessageBody,
    NetworkView,
    OperatorView,
    Person,
    PersonBody,
    ProjectId,
    ProjectView,
    ReadyView,
    ServerName,
    Session,
    SessionId,
    SessionRequest,
    SiteCheck,
    Slug,
    StopsBody,
    StopsView,
    TokenBody,
    UsageLine,
)
from factorylink.api.checklist_view import Checklist
from factorylink.api.factory_views import Offers
from factorylink.api.http import EventStream, events, new_app, says, tells
from factorylink.api.network_view import network
from factorylink.background.hub_recovery import HubRecovery
from factorylink.clusters.service import Clusters
from factorylink.errors import FactoryError
from factorylink.ledger.charges import Charges
from factorylink.ledger.ledger import Ledger, LedgerError
from factorylink.problems import ProblemError, forbidden, from_link_error, gone
from factorylink.projects import usage_report
from factorylink.projects.book import ProjectBook
from factorylink.projects.people import KnownPeople
from factorylink.sessions.extension import Extender
from factorylink.sessions.live_feed import LiveFeed
from factorylink.sessions.operator_overview import OperatorOverview
from factorylink.sessions.service import Sessions
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import GATEWAY, OPERATOR, OfferedFactories

log = logging.getLogger("factorylink")

Limit = Annotated[int, Query(ge=1, le=500)]
Ended = Annotated[int, Query(ge=0, le=50)]
Number = Annotated[int, Query(ge=0, lt=2**63)]  # the number of an audit line in the ledger


def _in_full(text: object) -> object:
    """Return ``text`` unchanged if it has a T, as in 2026-01-31T12:00:00Z; otherwise raise ValueError.

    A number is refused, since pydantic would read it as seconds since 1970.
    """
    if "T" not in str(text).upper():
        raise ValueError("say it as 2026-01-31T12:00:00Z")
    return text


def _a_day(text: object) -> object:
    """Return ``text`` unchanged if it has the form 2026-01-31; otherwise raise ValueError.

    A number is refused, since pydantic would read it as seconds since 1970.
    """
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", str(text)):
        raise ValueError("say it as 2026-01-31")
    return text


class Csv(Response):
    """A CSV response, for spreadsheets."""

    media_type = "text/csv"


Day = Annotated[date, BeforeValidator(_a_day)]
FullMoment = Annotated[AwareDatetime, BeforeValidator(_in_full)]


def hub_app(
    *,
    sessions: Sessions,
    extender: Extender,
    feed: LiveFeed,
    clusters: Clusters,
    offers: Offers,
    recovery: HubRecovery,
    checklist: Checklist,
    factories: OfferedFactories,
    people: KnownPeople,
    projects: ProjectBook,
    charges: Charges,
    ledger: Ledger,
    operator: OperatorOverview,
    metrics: Callable[[], bytes],
) -> FastAPI:
    """Return the app for the hub and the operator. ``metrics``: returns the link's metrics.

    The app checks no token: only the hub and the operator can open its Unix socket, and its TLS listener accepts only
    the hub's certificate.
    """
    app = new_app("factorygate link, for the hub")

    @app.put("/sessions/{session_id}", responses=says(403, 409) | {201: {"model": Session}})
    async def put_session(session_id: SessionId, request: SessionRequest, response: Response) -> Session:
        session, created = await sessions.put(session_id, request)
        response.status_code = 201 if created else 200
        return session

    @app.get("/sessions")
    async def list_sessions(
        user: Person | None = None, server: ServerName | None = None, live: bool = True, limit: Limit = 20
    ) -> list[Session]:
        return await sessions.sessions(user, server, live, limit)

    @app.get("/sessions/{session_id}", responses=says(404))
    async def get_session(session_id: SessionId) -> Session:
        return await sessions.session(session_id)

    @app.get("/sessions/{session_id}/events", response_class=EventStream, responses=says(404) | tells("session"))
    async def session_events(session_id: SessionId) -> EventStream:
        return events(feed.session(session_id, await sessions.session(session_id)))

    @app.post("/sessions/{session_id}/environment", responses=says(404, 409))
    async def send_environment(session_id: SessionId, body: EnvironmentBody) -> Session:
        await sessions.send_environment(session_id, body.environment, body.argv)
        return await sessions.session(session_id)

    @app.get("/sessions/{session_id}/token", responses=says(404, 409))
    async def get_token(session_id: SessionId) -> TokenBody:
        return TokenBody(token=await sessions.token(session_id))

    @app.post("/sessions/{session_id}/extend", responses=says(403, 404, 409))
    async def extend_session(session_id: SessionId, body: ExtendBody) -> Session:
        return await extender.extend(session_id, body.hours, "hub")

    @app.post("/sessions/{session_id}/messages", status_code=204, responses=says(404, 409))
    async def tell_session(session_id: SessionId, body: MessageBody) -> None:
        await sessions.tell(session_id, body)

    @app.delete("/sessions/{session_id}", status_code=202, responses=says(404))
    async def stop_session(session_id: SessionId, by: Literal["person", "hub", "operator"] = "hub") -> None:
        await sessions.stop(session_id, by)

    @app.post("/stops")
    async def stop_sessions(body: StopsBody) -> StopsView:
        """Request the end of many sessions; return those that will certainly end, have ended, or will never start."""
        stopped = await asyncio.gather(*(stop_kept(sessions, *stop) for stop in body.sessions.items()))
        return StopsView(done=tuple(one for one, kept in zip(body.sessions, stopped, strict=True) if kept))

    @app.get(
        "/table", response_class=EventStream, responses=tells("snapshot", "banner", "session", "factory", "cluster")
    )
    async def table() -> EventStream:
        recovery.hub_came()
        return events(feed.table())

    @app.get("/factories")
    async def list_factories(user: Person) -> list[FactoryView]:
        return offers.views(user)

    @app.get("/factories/events", response_class=EventStream, responses=tells("factories"))
    async def factories_events(user: Person) -> EventStream:
        return events(offers.stream(user))

    @app.get("/usage")
    async def usage_lines(
        project: ProjectId | None = None, since: Day | None = None, person: Person | None = None
    ) -> list[UsageLine]:
        return await charges.usage(project, since, person)

    @app.get("/usage.csv", response_class=Csv)
    async def usage_csv(
        project: ProjectId | None = None, since: Day | None = None, person: Person | None = None
    ) -> Csv:
        return Csv(usage_report.as_csv(await charges.usage(project, since, person)))

    @app.get("/projects")
    async def list_projects(user: Person) -> list[ProjectView]:
        return await offers.projects(user)

    @app.get("/people/{user}/ready")
    async def ready(user: Annotated[Person, Path()]) -> ReadyView:
        return offers.ready(user)

    @app.get("/people/{user}/checklist")
    async def whole_checklist(user: Annotated[Person, Path()]) -> ChecklistView:
        return await checklist.of(user)

    @app.put("/people/{user}/acceptances/{factory_id}", status_code=204, responses=says(404, 409))
    async def accept(user: Annotated[Person, Path()], factory_id: Slug, body: AcceptBody) -> None:
        await checklist.accept(user, factory_id, body.version)

    @app.get("/factories/{factory_id}/rules", responses=says(404))
    async def site_rules(factory_id: Slug, user: Person | None = None) -> SiteCheck:
        return checklist.site(factory_id, user)

    @app.get("/coming")
    async def coming() -> list[ComingView]:
        return offers.coming()

    @app.get("/network")
    async def whole_network() -> NetworkView:
        return network(factories)

    @app.get("/factories/{factory_id}/estimate", responses=says(403, 404, 429))
    async def estimate(
        factory_id: Slug, user: Person, size: Slug, hours: Hours | None = None, project: ProjectId | None = None
    ) -> Estimate:
        return await offers.estimate(factory_id, user, size, hours, project)

    @app.put("/factories/{factory_id}/drain", status_code=204, responses=says(404))
    async def drain(factory_id: Slug, body: DrainBody) -> None:
        _known(factory_id)
        await factories.drain(factory_id, body.message, body.by)

    @app.delete("/factories/{factory_id}/drain", status_code=204, responses=says(404))
    async def undrain(factory_id: Slug, by: Person = OPERATOR) -> None:
        _known(factory_id)
        await factories.undrain(factory_id, by)

    @app.put("/factories/{factory_id}/pause", status_code=204, responses=says(404))
    async def pause(factory_id: Slug, body: DrainBody) -> None:
        _known(factory_id)
        await factories.pause(factory_id, body.message, body.by)

    @app.delete("/factories/{factory_id}/pause", status_code=204, responses=says(404))
    async def resume(factory_id: Slug, by: Person = OPERATOR) -> None:
        _known(factory_id)
        await factories.resume(factory_id, by)

    @app.get("/operator")
    async def operator_view() -> OperatorView:
        return await operator.view()

    @app.put("/starts/pause", status_code=204)
    async def pause_starts(body: DrainBody) -> None:
        await factories.close_all(body.message, body.by)

    @app.delete("/starts/pause", status_code=204)
    async def resume_starts(by: Person = OPERATOR) -> None:
        await factories.open_all(by)

    @app.put("/banner", status_code=204)
    async def show_banner(body: BannerBody) -> None:
        await factories.show_banner(body.message, body.by, body.until)
        if body.sessions:
            operator.tell_sessions(body.message)

    @app.delete("/banner", status_code=204)
    async def drop_banner(by: Person = OPERATOR) -> None:
        await factories.show_banner("", by)

    @app.get("/factories/{factory_id}/audit", responses=says(404))
    async def audit(factory_id: Slug, since: FullMoment | None = None, after: Number = 0) -> list[AuditLine]:
        known = {*factories, *factories.catalogue.entries, GATEWAY}
        if factory_id not in known and not await ledger.audit(factory_id, limit=1):
            raise gone(f"The factory {factory_id}")  # an empty audit would look like a known factory
        return await ledger.audit(factory_id, since, after)

    @app.put("/credentials/{factory_id}", responses=says(403, 404))
    async def renew(factory_id: Slug, body: CredentialBody) -> CredentialView:
        _known(factory_id)
        return await renew_credential(projects, factories[factory_id], body)

    def _known(factory_id: str) -> None:
        if factory_id not in factories:
            raise gone(f"The factory {factory_id}")

    @app.put("/people/{user}", status_code=204)
    async def put_person(user: Annotated[Person, Path()], body: PersonBody) -> None:
        await people.put(user, body)

    @app.put("/people/{user}/access", status_code=204)
    async def put_access(user: Annotated[Person, Path()], body: AccessStatus) -> None:
        await people.put_access(user, body)

    @app.put("/rules", status_code=204)
    async def put_rules(body: HubRules) -> None:
        await people.put_rules(body)

    @app.get("/people/{user}/choice")
    async def last_choice(user: Annotated[Person, Path()]) -> Choice | None:
        return await ledger.last_choice(user)

    @app.get("/people/{user}/sessions")
    async def person_sessions(user: Annotated[Person, Path()], limit: Limit = 20) -> list[Session]:
        return await sessions.sessions(user, None, False, limit)

    @app.get("/people/{user}/clusters")
    async def person_clusters(user: Annotated[Person, Path()], ended: Ended = 5) -> list[Cluster]:
        return await clusters.figures_of(user, ended)

    @app.delete("/people/{user}/clusters/{cluster_id}", status_code=202, responses=says(404))
    async def end_cluster(user: Annotated[Person, Path()], cluster_id: ClusterId) -> None:
        await clusters.end(cluster_id, user)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def all_metrics() -> Response:
        return Response(metrics(), media_type="text/plain; version=0.0.4")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {name: factories.health(name).state for name in factories}

    return app


async def stop_kept(sessions: Sessions, session_id: SessionId, by: Literal["person", "hub", "operator"]) -> bool:
    """Request the end of a session; return whether the session will certainly end, has ended, or will never start.

    True: the ledger holds the request, the session has ended, or the link does not know the session and will refuse to
    start one with this id. False: the ledger cannot be read or written.
    """
    try:
        await sessions.stop(session_id, by)
    except LedgerError as error:
        log.warning("The wish to stop session %s is not in the ledger: %s", session_id, error)
        return False
    except ProblemError as error:
        return error.problem.kind == "gone"
    return True


async def renew_credential(
    projects: ProjectBook, connection: FactoryConnection, body: CredentialBody
) -> CredentialView:
    """Get SSH certificates for a person's site accounts with the person's token; return until when all are valid.

    The accounts are those at the factory that belong to this person alone. Raises ProblemError if there is no such
    account, if the factory takes no tokens, or if the certificate authority refuses the token, does not answer, or
    gives no certificate that is valid at the factory.
    """
    accounts, url = projects.personal(body.user, connection), connection.access_status.renew_url
    if not accounts or url is None:
        raise forbidden(messages.Message("takes-no-token", "This factory takes no token of yours."))
    try:
        until = min([await connection.access_status.renew(account, body.token) for account in sorted(accounts)])
    except FactoryError as error:
        raise from_link_error(error) from error
    return CredentialView(renew_url=url, until=until)
