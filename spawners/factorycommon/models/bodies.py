"""Bodies of requests to the link's API, and of its answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from factorycommon.models.base import Hours, JobId, Model, Person, SessionId, Slug
from factorycommon.models.clusters import Cluster
from factorycommon.models.messages import Coded
from factorycommon.models.projects import Group
from factorycommon.models.requests import JobOptions
from factorycommon.models.rules import Version
from factorycommon.models.sessions import Session, Whose, Words
from factorycommon.models.views import Health

ProblemKind = Literal[
    "invalid", "refused", "limit", "draining", "unreachable", "gone", "conflict", "forbidden", "too-many"
]


def _written_out(moment: object) -> object:
    """Return ``moment``. Raises ValueError for a number, which pydantic would take for seconds since 1970."""
    if not isinstance(moment, datetime) and "T" not in str(moment).upper():
        raise ValueError("say it as 2026-01-31T12:00:00Z")
    return moment


Until = Annotated[AwareDatetime, BeforeValidator(_written_out)]
_LINES = r"[^\x00-\x09\x0b-\x1f\x7f-\x9f]"  # no control characters but the end of a line


class Problem(Coded):
    """Body of every error answer of the link. ``code``: as in Words, where it is one of those. ``fits``: how many of
    the jobs that were asked for may begin now; None where that is not known, or where it is not their number that is
    refused. ``request``: id of the request, to be quoted to the operators."""

    TEXTS = ("message", "do")

    kind: ProblemKind
    message: str
    field: str | None = None
    scheduler: str = ""
    do: str = ""
    whose: Whose | None = None
    fits: int | None = None
    request: str = ""


class EnvironmentBody(BaseModel):
    """Body of ``POST /sessions/{id}/environment``: goes through the door; stored and logged nowhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    environment: dict[str, str] = Field(repr=False)
    argv: list[str] = Field(repr=False)


class StopsBody(Model):
    """Body of ``POST /stops``: the sessions that are to end, each with who wants that."""

    sessions: dict[SessionId, Literal["person", "hub", "operator"]] = Field(max_length=1000)


class StopsView(Model):
    """Answer to ``POST /stops``: the sessions of which the ledger holds that they end, or that never begin. The others
    are to be asked for again."""

    done: tuple[SessionId, ...]


class ExtendBody(Model):
    """Body of ``POST /sessions/{id}/extend``: hours to add to the session's time."""

    hours: Hours


class MessageBody(Model):
    """Body of ``POST /sessions/{id}/messages``: shown to whoever is in the session, once for each ``id``."""

    id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    text: str = Field(max_length=1000, pattern=rf"^{_LINES}*[^\s\x00-\x1f\x7f-\x9f]{_LINES}*$")
    kind: Literal["info", "success", "warning", "error"] = "info"


class TokenBody(Model):
    """Answer of ``GET /sessions/{id}/token``: the hub token the notebook has; None: it has none yet."""

    token: str | None = Field(repr=False)


class DrainBody(Model):
    """Body of ``PUT /factories/{id}/drain`` and ``…/pause``, and of ``PUT /starts/pause``: what people are told
    meanwhile. ``by``: the operator who says so, for the audit."""

    message: str = Field(min_length=1, max_length=500)
    by: Person = "operator"


class AccessStatus(Model):
    """Whether a person may begin anything, by the hub's rules. ``until``: when that has to be said anew, since a login
    counts for a while only; None: no such moment. ``refusal``: why nothing of theirs may begin; ``terms``: the version
    of the gateway's terms that they accepted."""

    until: Until | None = None
    refusal: Words | None = None
    terms: Version | None = None


class PersonBody(Model):
    """Body of ``PUT /people/{name}``: who a person is now, by the hub. ``blocked``: nothing may run; ``access``: None:
    not known; ``options``: what the operator adds to the person's jobs; None: as told before."""

    groups: frozenset[Group] = Field(frozenset(), json_schema_extra={"uniqueItems": False})  # once or twice is the same
    blocked: StrictBool = False
    access: AccessStatus | None = None
    options: JobOptions | None = None


class HubRules(Model):
    """Body of ``PUT /rules``: what the hub asks of everybody. ``access``: whether nothing of a person begins unless
    the hub told their ``AccessStatus``; ``terms``: the version of the gateway's terms that counts now; ``options``:
    what the operator adds to the jobs of people of whom the hub told no other."""

    access: StrictBool = True
    terms: Version | None = None
    options: JobOptions = JobOptions()


class AcceptBody(Model):
    """Body of ``PUT /people/{name}/acceptances/{factory}``: the version of the site's rules that they have read."""

    version: Version


class RenewBody(BaseModel):
    """What a person's page sends to the hub to renew a login: kept in memory only, and logged nowhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: str = Field(repr=False, min_length=1, max_length=16384, pattern=r"^[!-~]+$")


class CredentialBody(RenewBody):
    """Body of ``PUT /credentials/{factory}``: the same, for the person's own account there."""

    user: Person


class AuditLine(Model):
    """One line of a factory's audit. ``key_id``: of the certificate or key that the link was logged in with."""

    number: int
    at: datetime
    person: str
    account: str
    factory: str
    action: str
    job: JobId | None
    key_id: str
    detail: str


class TableFactory(Model):
    """A factory in the table that spawners keep."""

    id: Slug
    health: Health


class TableSnapshot(Model):
    """First event of ``GET /table``, and again where the reader was too slow: all live sessions and clusters, these
    without their jobs, and all factories."""

    sessions: tuple[Session, ...]
    factories: tuple[TableFactory, ...]
    clusters: tuple[Cluster, ...] = ()
