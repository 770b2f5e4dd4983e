"""Sets for how long the gateway's HTTP clients keep idle connections."""

from __future__ import annotations

# Seconds. Node.js, and Uvicorn by default, close a connection that is idle for 5 s. A request that meets the closing is
# lost, and its client cannot tell whether it was read, so clients close idle connections first.
IDLE_SECONDS = 2.0
