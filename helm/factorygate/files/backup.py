"""Make a backup, then remove backups older than ``--days`` from its folder, but never the newest one."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--days", type=int, required=True)
parser.add_argument("arguments", nargs="+", help="of factorygate; the last one is the folder")
options = parser.parse_args()

# The image names the configuration files of hub and link; a pod has only its own, which the arguments name.
env = {name: value for name, value in os.environ.items() if name not in ("FACTORYGATE_HUB_CONFIG", "FACTORYGATE_LINK")}
done = subprocess.run(["factorygate", *options.arguments], env=env, check=False)
if done.returncode:
    sys.exit(done.returncode)
before = time.time() - options.days * 86400
backups = sorted(Path(options.arguments[-1]).glob("factorygate-*.tar.gz"), key=lambda path: path.stat().st_mtime)
for path in backups[:-1]:
    if path.stat().st_mtime < before:
        path.unlink()
        print(f"removed {path}")
