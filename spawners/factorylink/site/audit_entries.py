"""Lines for the audit about sessions and clusters."""

from __future__ import annotations

from factorylink.ledger.cluster_store import ClusterRecord
from factorylink.ledger.ledger import AuditEntry
from factorylink.ledger.schema import SessionRecord
from factorylink.site.factories import Factories

_AT_THE_SITE = ("submit", "cancel", "enter", "extend")  # actions that a key logs in for


class AuditEntries:
    """Makes entries that name the key which logged in, where an action is done at the site."""

    def __init__(self, factories: Factories) -> None:
        self._factories = factories

    def of_session(self, row: SessionRecord, action: str, detail: str = "") -> AuditEntry:
        """Return an entry about a session."""
        key_id = self._key_id(row, action)
        return AuditEntry(row.user, row.account, row.factory, action, row.job, detail, key_id)

    def of_cluster(self, row: ClusterRecord, action: str, detail: str = "", job: str | None = None) -> AuditEntry:
        """Return an entry about a cluster."""
        key_id = self._key_id(row, action)
        return AuditEntry(row.user, row.account, row.factory, action, job, f"cluster {row.id}: {detail}", key_id)

    def _key_id(self, row: SessionRecord | ClusterRecord, action: str) -> str:
        return self._factories.key_id(row.factory, row.account) if action in _AT_THE_SITE else ""
