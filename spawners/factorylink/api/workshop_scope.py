"""Finds what a request of the workshops service may concern: a workshop's project, its people and its sessions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import Path

from factorycommon.messages import Message
from factorycommon.models import Person, Project, SessionId
from factorycommon.models.workshops import PREFIX, WorkshopProjectId
from factorylink.problems import forbidden, gone
from factorylink.projects.book import ProjectBook
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable

InProject = Annotated[WorkshopProjectId, Path()]
InSession = Annotated[SessionId, Path()]


class WorkshopScope:
    """Finds a workshop's project and its sessions; refuses other projects, and people and sessions of other projects.

    Every method except ``sessions`` and ``lives`` may raise ProblemError.
    """

    def __init__(self, projects: ProjectBook, live_sessions: SessionTable) -> None:
        self._projects = projects
        self._live_sessions = live_sessions

    def project(self, project_id: str) -> Project:
        """Return the project of a workshop; a project that is not in the table of workshops is refused with 404."""
        project = self._projects.get(project_id) if project_id.startswith(PREFIX) else None
        if project is None:
            raise gone(Message("workshop-project", "The project {project}").format(project=project_id))
        return project

    def people(self, project: Project, people: Iterable[Person]) -> None:
        """Raise ProblemError if one of these people is not in the project."""
        for person in people:
            if not project.has(person, frozenset()):
                said = Message("not-in-workshop", "{person} is not in the project {project}.")
                raise forbidden(said.format(person=person, project=project.id))

    def sessions(self, project: Project) -> list[LiveSession]:
        """Return the project's live sessions, without Dask schedulers and sessions that people see as ended."""
        return [one for one in self._live_sessions.values() if is_of(one, project.id)]

    def lives(self, session_id: SessionId) -> bool:
        """Return whether any live session has this id."""
        return session_id in self._live_sessions

    def session(self, project: Project, session_id: SessionId) -> LiveSession:
        """Return the project's live session with this id; refuse with 404 if the project has no such session."""
        found = self._live_sessions.get(session_id)
        if found is None or not is_of(found, project.id):
            raise gone(Message("live-session", "The live session {session}").format(session=session_id))
        return found


def is_of(live_session: LiveSession, project_id: str) -> bool:
    """Return whether a live session runs a notebook for this project.

    False for two kinds of sessions that are still live, but that people and hub see as ended: sessions that failed
    before any caller was told that they exist (``withdrawn``), and sessions that were stopped because their class has
    moved to another factory (``moved``).
    """
    record = live_session.record
    hidden = record.head or live_session.withdrawn or live_session.moved
    return record.choice.project == project_id and not hidden
