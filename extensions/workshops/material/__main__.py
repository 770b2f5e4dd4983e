"""``python -P -m workshops.material``: fetches the commit that a request on stdin names, and prints the result.

Request and result are JSON.
"""

from __future__ import annotations

import os
import sys

from workshops.material.fetching import fetched, limit_process
from workshops.models.material import FetchRequest


def main() -> int:
    """Fetch the commit that the request on stdin names, and print the result. Return 0, even if the fetch failed."""
    os.umask(0o077)
    request = FetchRequest.model_validate_json(sys.stdin.buffer.read(1 << 20))
    limit_process(request.settings)
    sys.stdout.write(fetched(request).model_dump_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
