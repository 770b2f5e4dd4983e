"""Makes audit entries about sessions and clusters."""

from __future__ import annotations

from factorylink.ledger.cluster_store import ClusterRecord
from factorylink.ledger.ledger import AuditEntry
from factorylink.ledger.schema import SessionRecord
from factorylink.site.offered_factories import OfferedFactories

_AT_THE_SITE = ("submit", "cancel", "enter", "extend")  # actions for which the link logs in at the site with a key


class AuditEntries:
    """Makes audit entries; an entry about an action at the site has the id of the key with which the link logged in."""

    def __init__(self, factories: OfferedFactories) -> None:
        self._factories = factories

    def of_session(self, record: SessionRecord, action: str, detail: str = "") -> AuditEntry:
        """Return an entry about a session and its present job.

        ``action``: what the link does, in a word such as ``submit``; ``detail``: more about this, for the operator.
        """
        key_id = self._key_id(record, action)
        return AuditEntry(record.user, record.account, record.factory, action, record.job, detail, key_id)

    def of_cluster(self, record: ClusterRecord, action: str, detail: str = "", job: str | None = None) -> AuditEntry:
        """Return an entry about a cluster.

        ``action``: what the link does, in a word such as ``submit``; ``detail``: more about this, for the operator.
        ``job``: the scheduler's id of the job or array that the action concerns; if these are several jobs, the id of
        one of them; None: the entry names no job.
        """
        key_id = self._key_id(record, action)
        return AuditEntry(
            record.user, record.account, record.factory, action, job, f"cluster {record.id}: {detail}", key_id
        )

    def _key_id(self, record: SessionRecord | ClusterRecord, action: str) -> str:
        return self._factories.key_id(record.factory, record.account) if action in _AT_THE_SITE else ""
