"""Exit 0 if the gateway at the address that is given answers, and its hub hears the link; else say what is wrong."""

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
