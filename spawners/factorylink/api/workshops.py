"""The link's API for the workshops service, on a Unix socket of its own.

The API gives access to workshops only: its operations concern the projects in the table of workshops, their people and
their sessions. So somebody who gets access to the socket reaches no other session, and not the ledger.
"""

from __future__ import annotations

from fastapi import FastAPI

from factorylink.api import (
    workshop_help,
    workshop_history,
    workshop_material,
    workshop_rehearsal,
    workshop_room,
    workshop_seats,
)
from factorylink.api.http import Bounded, new_app
from factorylink.api.workshop_scope import WorkshopScope
from factorylink.background.warm_connections import WarmConnections
from factorylink.ledger.charges import Charges
from factorylink.ledger.project_history import ProjectHistory
from factorylink.projects.account_holds import AccountHolds
from factorylink.projects.book import ProjectBook
from factorylink.sessions.help_relay import HelpRelay
from factorylink.sessions.material import MaterialSender
from factorylink.sessions.permission import Permission
from factorylink.sessions.service import Sessions
from factorylink.sessions.workshop_feed import WorkshopFeed
from factorylink.sessions.workshop_seats import WorkshopSeats
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.cluster_table import ClusterTable
from factorylink.state.session_table import SessionTable

MOST_BYTES = 1024 * 1024  # of a request's body


def workshops_app(
    *,
    projects: ProjectBook,
    live_sessions: SessionTable,
    live_clusters: ClusterTable,
    sessions: Sessions,
    feed: WorkshopFeed,
    seats: WorkshopSeats,
    holds: AccountHolds,
    connections: WarmConnections,
    history: ProjectHistory,
    charges: Charges,
    factories: OfferedFactories,
    material: MaterialSender,
    permission: Permission,
    relay: HelpRelay,
) -> FastAPI:
    """Return the app with the link's API for the workshops service.

    The app checks no token, since only the workshops service can open the app's socket.
    """
    app = new_app("factorygate link, for the workshops service")
    app.add_middleware(Bounded, most=MOST_BYTES)
    scope = WorkshopScope(projects, live_sessions)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    app.include_router(workshop_room.router(scope, sessions, feed))
    app.include_router(workshop_seats.router(scope, seats, holds, connections))
    app.include_router(workshop_history.router(scope, history, charges, live_clusters, factories))
    app.include_router(workshop_material.router(scope, material))
    app.include_router(workshop_rehearsal.router(scope, seats, permission, holds, charges, factories))
    app.include_router(workshop_help.router(scope, relay))
    return app
