"""Exit codes of hub, link and workshops service when they cannot start."""

from __future__ import annotations

CANNOT_START = 2  # an operator must correct something; systemd may try again
STORE_UNUSABLE = 3  # this release cannot use a store: the systemd units do not try again
