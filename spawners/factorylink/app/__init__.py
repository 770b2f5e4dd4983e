"""The start of the link: ``assembly`` creates and connects the link's parts, and ``process`` runs its servers."""
