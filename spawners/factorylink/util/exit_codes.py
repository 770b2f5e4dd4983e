"""Exit codes of hub and link when they cannot start."""

from __future__ import annotations

CANNOT_START = 2  # an operator has to mend something; systemd may try again
STORE_UNUSABLE = 3  # this release cannot use a store: to start again is of no use, and the units do not do it
