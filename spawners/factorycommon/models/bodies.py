"""The bodies of requests to the link's API, and of its responses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints

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
    """Return ``moment`` unchanged if it is a datetime, or if its text contains a T or t, as in 2026-01-31T12:00:00Z.

    Raises ValueError for anything else. So each number is refused, which pydantic would read as seconds since 1970.
    """
    if not isinstance(moment, datetime) and "T" not in str(moment).upper():
        raise ValueError("say it as 2026-01-31T12:00:00Z")
    return moment


Until = Annotated[AwareDatetime, BeforeValidator(_written_out)]
_LINES = r"[^\x00-\x09\x0b-\x1f\x7f-\x9f]"  # newlines are the only control characters that are allowed
MessageId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
MessageText = Annotated[
    str, StringConstraints(max_length=1000, pattern=rf"^{_LINES}*[^\s\x00-\x1f\x7f-\x9f]{_LINES}*$")
]
LanguageCode = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
MessageTexts = Annotated[dict[LanguageCode, MessageText], Field(max_length=30)]


class Problem(Coded):
    """The body of error responses of the link, of the workshops service, and of the hub's ``/gateway/api``.

    ``code``: the stable code of the message, "" if the message has none; ``docs/reasons.md`` lists some of the codes.
    ``field``: the field of the request that is wrong, None: no single field; ``do``: what the person can do; ``whose``:
    who can act, None: not said; ``scheduler``: the scheduler's own message, or the original message of another error.
    ``fits``: how many of the requested jobs may start now, None: not said. ``request``: the id of the request, which
    people can quote to the operators.
    """

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
    """Body of ``POST /sessions/{id}/environment``: the environment variables and the command line of the notebook.

    The link sends them through the door, and neither stores nor logs them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    environment: dict[str, str] = Field(repr=False)
    argv: list[str] = Field(repr=False)


class StopsBody(Model):
    """Body of ``POST /stops``: the sessions to end, and for each session who wants it to end."""

    sessions: dict[SessionId, Literal["person", "hub", "operator"]] = Field(max_length=1000)


class StopsView(Model):
    """Response to ``POST /stops``: the sessions that have ended, will certainly end, or will never start.

    ``done`` has a session if the ledger says that the session has ended, if the ledger has recorded the stop request,
    or if the link does not know the session. In the last case, the link refuses a later request to start the session.
    The link remembers the last 10,000 such sessions until it restarts. The hub must send the request again for all
    sessions that are not in ``done``.
    """

    done: tuple[SessionId, ...]


class ExtendBody(Model):
    """Body of ``POST /sessions/{id}/extend``: the hours to add to the session's walltime."""

    hours: Hours


class MessageBody(Model):
    """Body of ``POST /sessions/{id}/messages``: a message that the person in the session sees.

    A message is ignored if the door still keeps an earlier message with the same ``id``. ``texts``: the message by
    language code, in some languages; a person who wants none of these languages gets ``text``.
    """

    id: MessageId
    text: MessageText
    kind: Literal["info", "success", "warning", "error"] = "info"
    texts: MessageTexts = Field(default_factory=dict)


class TokenBody(Model):
    """Response to ``GET /sessions/{id}/token``: the notebook's hub token; None while the notebook has no token."""

    token: str | None = Field(repr=False)


class DrainBody(Model):
    """Body of the operator's three requests to let nothing new start: the message that people see meanwhile.

    The requests are ``PUT /factories/{id}/drain``, ``PUT /factories/{id}/pause`` and ``PUT /starts/pause``. ``by``: the
    operator who gave the order, for the audit.
    """

    message: str = Field(min_length=1, max_length=500)
    by: Person = "operator"


class AccessStatus(Model):
    """Whether a person may start anything, by the hub's rules.

    ``until``: when the status expires, None: never; the hub must send a new status before that time. ``refusal``: why
    the person may start nothing; None: the hub refuses nothing. ``terms``: the version of the gateway's terms that the
    person has accepted; None: no version."""

    until: Until | None = None
    refusal: Words | None = None
    terms: Version | None = None


class PersonBody(Model):
    """Body of ``PUT /people/{name}``: what the hub knows about a person now.

    ``blocked``: True if nothing of this person may run. ``access``: whether they may start anything; None: not known
    (see ``HubRules.access``). ``options``: the operator's additions to this person's jobs; None keeps the options of
    the last request."""

    groups: frozenset[Group] = Field(frozenset(), json_schema_extra={"uniqueItems": False})  # duplicates are ignored
    blocked: StrictBool = False
    access: AccessStatus | None = None
    options: JobOptions | None = None


class HubRules(Model):
    """Body of ``PUT /rules``: the hub's rules for all people.

    ``access``: True if a person may start something only after the hub has sent their ``AccessStatus``. ``terms``: the
    present version of the gateway's terms; None: there are no terms. ``options``: the operator's additions to the jobs
    of people for whom the hub sent no options."""

    access: StrictBool = True
    terms: Version | None = None
    options: JobOptions = JobOptions()


class AcceptBody(Model):
    """Body of ``PUT /people/{name}/acceptances/{factory}``: the version of the site's rules that a person accepted."""

    version: Version


class RenewBody(BaseModel):
    """Body of the hub's ``PUT /gateway/api/factories/{factory}/credential``: renews the person's login at the factory.

    ``token``: the token that the person got for the new login.

    The token is kept in memory only, and is never logged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: str = Field(repr=False, min_length=1, max_length=16384, pattern=r"^[!-~]+$")


class CredentialBody(RenewBody):
    """Body of ``PUT /credentials/{factory}``: a token to renew the logins of a person's own site accounts."""

    user: Person


class AuditLine(Model):
    """One line of the audit, for example a submission, a person's acceptance of a site's rules, or an operator's order.

    ``person``: for whom the link acted, who accepted the rules, or who gave the order, "": not known; ``account``: the
    site account, "": none; ``factory``: the factory's id, or ``gateway`` for an order about the whole gateway; ``job``:
    None if the line is about no job; ``key_id``: the id of the certificate or key with which the link logged in at the
    site, ``local`` if the factory needs no login, "" if no login is recorded.
    """

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
    """One factory in the table of sessions and factories that the link sends to the hub (``GET /table``)."""

    id: Slug
    health: Health


class TableSnapshot(Model):
    """First event of ``GET /table``: the gateway's live sessions and clusters, and all factories.

    ``sessions`` lacks the sessions that run a cluster's Dask scheduler, and those that people see as ended already.
    ``clusters`` also has clusters that have just ended; the ``workers`` of each cluster are left out. The link sends a
    new snapshot to a reader that was too slow for the changes.
    """

    sessions: tuple[Session, ...]
    factories: tuple[TableFactory, ...]
    clusters: tuple[Cluster, ...] = ()
