"""Exits with 0 if the gateway at the given address answers and its hub is connected to the link, else with 1.

Prints what the gateway answers, and the problem if there is one. The argument is the gateway's URL with ``/`` at its
end.
"""

import json
import sys
import urllib.request

url = sys.argv[1]
with urllib.request.urlopen(f"{url}hub/health", timeout=30) as answer:  # noqa: S310
    print(f"{url}hub/health: {answer.status}")
with urllib.request.urlopen(f"{url}hub/status.json", timeout=30) as answer:  # noqa: S310
    status = json.load(answer)
print(json.dumps(status)[:2000])
sys.exit(0 if status.get("link") == "ok" else "The hub does not hear its link.")
