"""``python -P -m factorygate.material``: delivers the archive on stdin, and prints one line of JSON.

Exit codes: 0 if the line is the report; 1 if the line is ``{"error": words}``; 2 if an option is wrong, without a line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from factorycommon.material.archive import MOST, BadArchive
from factorygate.material.delivery import DeliveryFailed, deliver
from factorygate.material.person_folder import FolderBlocked, FolderBusy


def _matching(pattern: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{pattern} is needed")
        return text

    return check


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line ``argv``, given without the program's name. Raises SystemExit (code 2) if it is wrong."""
    parser = argparse.ArgumentParser(prog="factorygate.material", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="the folder of the notebook's files")
    parser.add_argument("--name", type=_matching("[a-z0-9][a-z0-9-]{0,62}"), required=True, help="a folder below it")
    parser.add_argument("--commit", type=_matching("[0-9a-f]{40}([0-9a-f]{24})?"), required=True)
    parser.add_argument("--digest", type=_matching("[0-9a-f]{64}"), required=True, help="SHA-256 of the archive")
    parser.add_argument("--restore", action="store_true", help="write again what the person deleted")
    parser.add_argument("--aside", type=_matching(r"\d{4}-\d\d-\d\d-\d{6}"), help="keep the folder under this date")
    parser.add_argument("--umask", type=lambda text: int(text, 8), default=0o077, help="octal, for new files")
    return parser.parse_args(argv)


def run(options: argparse.Namespace, archive: bytes) -> dict[str, object]:
    """Bring a workshop's material (``archive``, a tar.gz) into the person's folder; return the report.

    If this fails, return an object with ``error`` instead: what went wrong. ``options``: what ``parse`` returns.
    """
    if hashlib.sha256(archive).hexdigest() != options.digest:
        return {"error": "The material did not arrive complete."}
    try:
        return deliver(options.root, options.name, archive, options.commit, options.restore, options.aside).as_json()
    except (DeliveryFailed, BadArchive, FolderBlocked, FolderBusy) as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"The folder {options.name} cannot be used: {error.strerror}."}


def main() -> int:
    """Bring the material (an archive on stdin) into the person's folder; print the report, return the exit code."""
    options = parse(sys.argv[1:])
    os.umask(options.umask & 0o777)
    report = run(options, sys.stdin.buffer.read(MOST.archive_bytes + 1))
    print(json.dumps(report))
    return 1 if "error" in report else 0


if __name__ == "__main__":
    sys.exit(main())
