"""Identifies the caller of the user API: a person with their own token, or a session with its server's token."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from factorycommon.models import Choice, ClusterRequest, Problem, ProjectId, ResolvedChoice, Session, Slug
from factorycommon.service.hub_tokens import TokenOwner
from factorycommon.service.problems import NoTokenError
from factorylink.errors import FactoryError
from factorylink.explain import explain
from factorylink.hub_client import HubClient
from factorylink.ledger.cluster_store import ClusterRecord
from factorylink.problems import ProblemError, forbidden, from_link_error, gone, of_words
from factorylink.projects.book import ProjectBook
from factorylink.site.offered_factories import OfferedFactories
from factorylink.state.live_session import LiveSession
from factorylink.state.session_table import SessionTable

# Fields of a person's sessions that a session's token does not see in other sessions. The account is a required field
# and becomes "_".
_NOT_TOLD = {
    **{"account": "_", "job": None, "node": None, "partition": None, "url": None, "waits_for": None, "end": None},
    **{"log": (), "log_tail": (), "exit_code": None, "gpu_percent": None, "memory_bytes": None, "busy_with": ()},
    **{"remark": None, "steps": ()},
}


@dataclass(frozen=True)
class Caller:
    """The caller of a request: a person or one of their sessions.

    ``session``: the session whose token was used, which may act for its own factory and project only; None: the
    person's own token was used. ``machine``: the name of the machine of the session's factory, as people know it, ""
    without a session. ``root``: the hub's URL for people (``LinkConfig.root``).
    """

    user: str
    session: LiveSession | None
    sessions: SessionTable
    projects: ProjectBook
    machine: str = ""
    root: str = ""

    def sees(self, session: Session) -> None:
        """Raise ProblemError unless the caller may see ``session``.

        The status is 404 for another person's session, as if it did not exist; 403 if a session's token is used for
        another session of the same person.
        """
        if session.user != self.user:
            raise gone(f"The session {session.id}")
        if self.session is not None and session.id != self.session.record.id:
            raise of_words("forbidden", explain.own("token-other-session"))

    def shown(self, session: Session) -> Session:
        """Return ``session``, a session of the caller's person, reduced to what the caller may see.

        With a person's own token, this is the whole session, with the URL that the person opens. With a session's
        token, the same holds for that session. The person's other sessions are returned without site account, job,
        node, partition, URL, log, exit code, explanations, use of resources, names of busy notebooks and terminals, and
        the steps that the person has done.
        """
        if self.session is None or session.id == self.session.record.id:
            return session.addressed(self.root)
        return session.model_copy(update=_NOT_TOLD)

    def acts_at(self, factory: Slug, project: ProjectId | None) -> ProjectId | None:
        """Return the project to use for a request of the caller that names ``factory`` and ``project``.

        With a person's own token, this is ``project``. With a session's token, it is the project that is charged for
        that session (None: there is none). Raises ProblemError, with a session's token only: if ``factory`` is not the
        session's, or if ``project`` is neither None nor the session's.
        """
        if self.session is None:
            return project
        own = self.session.record.choice
        if factory != own.factory or project not in (None, self._payer(own)):
            raise self._too_far()
        return self._payer(own)

    def chooses(self, choice: Choice) -> Choice:
        """Return the choice that holds for this caller.

        With a person's own token, this is ``choice`` itself. With a session's token, it is a copy, in which the project
        is the one that is charged for the session (None: there is none). If ``choice`` names no factory, the copy names
        the session's. Raises ProblemError if a session's token is used for another factory or project than the
        session's.
        """
        if self.session is None:
            return choice
        factory = choice.factory or self.session.record.choice.factory
        return choice.model_copy(update={"factory": factory, "project": self.acts_at(factory, choice.project)})

    def reaches(self, choice: ResolvedChoice) -> bool:
        """Return whether the caller's token is valid for the factory and the project of ``choice``.

        A person's own token is valid for all; a session's token, only for the factory and the project of that session.
        """
        own = None if self.session is None else self.session.record.choice
        return own is None or (choice.factory, self._payer(choice)) == (own.factory, self._payer(own))

    def has(self, cluster: ClusterRecord) -> None:
        """Raise ProblemError unless the caller may act for ``cluster``.

        The status is 404 for another person's cluster, as if it did not exist; 403 if a session's token is not valid
        for the cluster's factory or project.
        """
        if cluster.user != self.user:
            raise gone(f"The cluster {cluster.id}")
        if not self.reaches(cluster.choice):
            raise self._too_far()

    def may_begin(self) -> None:
        """Raise ProblemError if the caller is a session that is ending: its token may start nothing any more."""
        if self.session is not None and self.session.record.wish != "run":
            raise of_words("forbidden", explain.own("token-session-over"))

    def begins(self, request: ClusterRequest) -> ClusterRequest:
        """Return the request for a cluster as it holds for this caller.

        With a person's own token, this is ``request`` itself. With a session's token, it is a copy, in which
        ``project`` is the project that is charged for that session (None: there is none). Raises ProblemError, with a
        session's token only: if that session is ending, if ``request`` names another factory or project than the
        session's, or if ``request.session`` is a live session of another factory or project.
        """
        self.may_begin()
        project = self.acts_at(request.factory, request.project)
        if self.session is None:
            return request
        holder = self.sessions.get(request.session or "")
        if holder is not None and not self.reaches(holder.record.choice):
            raise self._too_far()
        return request.model_copy(update={"project": project})

    async def stream(self, body: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """Yield the body of an event stream.

        If a session's token was used, the stream ends after the session has ended, at the next event or heartbeat.
        """
        async with aclosing(body) as pieces:
            async for piece in pieces:
                if self.session is not None and self.session.record.ended is not None:
                    return
                yield piece

    def _payer(self, choice: ResolvedChoice) -> ProjectId | None:
        return self.projects.payer(choice)

    def _too_far(self) -> ProblemError:
        return of_words("forbidden", explain.filled("token-of-session", factory=self.machine))


class Callers:
    """Finds the callers of requests by asking the hub for the owner of a token."""

    def __init__(
        self, hub: HubClient, table: SessionTable, projects: ProjectBook, factories: OfferedFactories, root: str
    ) -> None:
        self._hub = hub
        self._table = table
        self._projects = projects
        self._factories = factories
        self._root = root

    async def of(self, headers: Mapping[str, str]) -> Caller:
        """Return the caller that a request's ``Authorization`` header identifies.

        Raises ProblemError if the token is missing, unknown or not allowed, if its session has ended, or if the hub
        does not say whose token it is.
        """
        kind, _, token = headers.get("Authorization", "").partition(" ")
        if kind.lower() not in ("bearer", "token") or not token.strip():
            raise _no_token("Send a hub token of yours: Authorization: Bearer TOKEN.")
        try:
            owner = await self._hub.user_of(token.strip())
        except FactoryError as error:
            raise from_link_error(error) from error
        if owner is None:
            raise _no_token("The hub does not know this token, or it has expired.")
        if not owner.allowed:
            raise forbidden(
                "This token may not use the factories: it lacks the scope access:services!service=factories, or it is "
                "for several servers. Make another on the hub's Token page."
            )
        session = self._session(owner)
        machine = "" if session is None else self._machine(session.record.factory)
        return Caller(owner.name, session, self._table, self._projects, machine, self._root)

    def _machine(self, factory_id: Slug) -> str:
        connection = self._factories.get(factory_id)
        return factory_id if connection is None else connection.factory.site.machine

    def _session(self, owner: TokenOwner) -> LiveSession | None:
        """Return the session for which a server's token acts; None for a person's own token.

        Raises ProblemError if the token's server has no session any more.
        """
        if owner.server is None:
            return None
        of_server = (one for one in self._table.values() if one.record.user == owner.name and not one.record.head)
        mine = [one for one in of_server if one.record.server == owner.server]
        if not mine:
            raise of_words("forbidden", explain.own("token-session-over"))
        return next((one for one in mine if one.record.wish == "run"), mine[0])


def _no_token(message: str) -> NoTokenError:
    return NoTokenError(Problem(kind="forbidden", message=message))
