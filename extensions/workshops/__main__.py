"""``python -m workshops --config workshops.yaml``: runs the service in the foreground, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from factorycommon.service import logs
from factorycommon.service.exit_codes import CANNOT_START, STORE_UNUSABLE
from factorycommon.service.serving import StartError
from factorycommon.service.yaml_file import CatalogueError
from workshops.app import serve
from workshops.config import load
from workshops.store.store import StoreError, StoreOfOtherRelease


def main() -> int:
    """Run the service until it is asked to end, and return the exit code.

    0: the service was asked to end; 2: it could not start, and the reason was printed; 3: this release cannot use the
    database, and another release must be installed.
    """
    parser = argparse.ArgumentParser(prog="python -m workshops", description="The service for workshops.")
    parser.add_argument("--config", type=Path, required=True, help="workshops.yaml")
    parser.add_argument("--verbose", action="store_true", help="log also what is of use in a search for a fault")
    options = parser.parse_args()
    level = logging.DEBUG if options.verbose else logging.INFO
    logs.begin(level, program="workshops")
    os.umask(0o077)
    try:
        config = load(options.config)
        logs.begin(level, config.log_format, "workshops")
        asyncio.run(serve(config))
    except (CatalogueError, StartError, StoreError) as error:
        sys.stderr.write(f"The workshops service cannot start.\n{error}\n")
        return STORE_UNUSABLE if isinstance(error, StoreOfOtherRelease) else CANNOT_START
    return 0


if __name__ == "__main__":
    sys.exit(main())
