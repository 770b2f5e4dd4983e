"""The common language of all parts: catalogue, requests, sessions, and what a scheduler says.

Pydantic only; imports nothing else of ours, so every part may import it. Times are seconds, moments are aware
datetimes in UTC, memory is bytes unless a name says otherwise (``memory_gb``, ``hours``). A GB is 10**9 bytes as on
the sites' price lists; dialects turn it into their scheduler's units.
"""

from factorylink.models.base import N_, Hours, JobId, Model, Person, ServerName, SessionId, Slug, UnixAccount, Word
from factorylink.models.bodies import (
    AuditLine,
    CredentialBody,
    DrainBody,
    EnvironmentBody,
    ExtendBody,
    MessageBody,
    Problem,
    ProblemKind,
    RenewBody,
    TableFactory,
    TableSnapshot,
    TokenBody,
)
from factorylink.models.catalogue import (
    Accelerator,
    Environment,
    Factory,
    Folder,
    IdleLimits,
    NodeShape,
    NodeSize,
    Partition,
    Qos,
    Site,
)
from factorylink.models.requests import ADOPT, Choice, JobOptions, JobRequest, ResolvedChoice, SessionRequest
from factorylink.models.scheduler import End, Estimate, Job, JobState, NodeState
from factorylink.models.sessions import EndReason, LogLine, Notice, Session, SessionState, Whose, Words
from factorylink.models.views import CredentialView, FactoryView, Health, PartitionLoad, SizeView

__all__ = [
    "ADOPT",
    "N_",
    "Accelerator",
    "AuditLine",
    "Choice",
    "CredentialBody",
    "CredentialView",
    "DrainBody",
    "End",
    "EndReason",
    "Environment",
    "EnvironmentBody",
    "Estimate",
    "ExtendBody",
    "Factory",
    "FactoryView",
    "Folder",
    "Health",
    "Hours",
    "IdleLimits",
    "Job",
    "JobId",
    "JobOptions",
    "JobRequest",
    "JobState",
    "LogLine",
    "MessageBody",
    "Model",
    "NodeShape",
    "NodeSize",
    "NodeState",
    "Notice",
    "Partition",
    "PartitionLoad",
    "Person",
    "Problem",
    "ProblemKind",
    "Qos",
    "RenewBody",
    "ResolvedChoice",
    "ServerName",
    "Session",
    "SessionId",
    "SessionRequest",
    "SessionState",
    "Site",
    "SizeView",
    "Slug",
    "TableFactory",
    "TableSnapshot",
    "TokenBody",
    "UnixAccount",
    "Whose",
    "Word",
    "Words",
]
