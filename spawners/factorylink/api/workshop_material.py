"""The operations for a workshop's material: the link stores its archive, and delivers it into sessions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from factorycommon.messages import Message
from factorycommon.models import SessionState
from factorycommon.models.workshops import PREFIX
from factorycommon.models.workshops.material import (
    ArchiveDigest,
    DoorOrder,
    MaterialDeliveries,
    MaterialOrder,
    MaterialPiece,
    MaterialUpload,
)
from factorycommon.service.problems import unreachable
from factorylink.api.http import says
from factorylink.api.workshop_scope import InProject, WorkshopScope
from factorylink.sessions.material import MaterialSender

Digested = Annotated[ArchiveDigest, Path()]
_RUNS = (SessionState.STARTING, SessionState.RUNNING)


def router(scope: WorkshopScope, sender: MaterialSender) -> APIRouter:
    """Return a router by which the workshops service uploads material, and has it delivered into sessions.

    ``scope``: refuses projects that are not those of workshops, and people who are not in them.
    """
    routes = APIRouter()

    @routes.post("/projects/{project_id}/material/{digest}", responses=says(404, 503))
    async def upload(project_id: InProject, digest: Digested, body: MaterialPiece) -> MaterialUpload:
        """Store a piece of an archive; the answer says where in the archive the next piece begins."""
        scope.project(project_id)
        try:
            return await sender.archives.add(digest, body)
        except OSError as error:
            said = Message("material-no-room", "The link cannot keep the material: {why}.")
            raise unreachable(said.format(why=error.strerror)) from error

    @routes.post("/projects/{project_id}/material", responses=says(403, 404))
    async def deliver(project_id: InProject, body: MaterialOrder) -> MaterialDeliveries:
        """Deliver an archive into the sessions of ``people``; return what the delivery did in each session.

        Only sessions that are starting or running, and whose door is connected, get the archive. ``missing`` is true if
        the link lacks the archive.
        """
        project = scope.project(project_id)
        scope.people(project, body.people)
        archive = sender.archives.find(body.digest)
        if archive is None:
            return MaterialDeliveries(missing=True)
        wanted = set(body.people)
        there = [one for one in scope.sessions(project) if one.record.user in wanted and one.door_open]
        runs = [one for one in there if one.record.state in _RUNS]
        name = project.id.removeprefix(PREFIX)  # not from the service, so that it cannot write elsewhere
        order = DoorOrder(name=name, digest=body.digest, commit=body.commit, restore=body.restore, aside=body.aside)
        return MaterialDeliveries(sessions=await sender.send(order, archive, runs))

    return routes
