"""The link's database: sessions, clusters, charges and the audit."""
