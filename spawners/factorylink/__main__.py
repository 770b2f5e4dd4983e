"""``python -m factorylink --config link.yaml``: runs the link in the foreground, until SIGTERM or SIGINT."""

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
from factorylink.app.process import serve
from factorylink.catalogue import catalogue as federation
from factorylink.catalogue.loading import CatalogueError, load_link_config, offered
from factorylink.ledger.ledger import LedgerError, LedgerOfOtherRelease


def main() -> int:
    """Run the link; return its exit code.

    0: the link was asked to end. 2: the link could not start, and the reason is printed. 3: this release cannot use the
    ledger, so another release must be installed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m factorylink", description="The link between a hub and its factories."
    )
    parser.add_argument("--config", type=Path, required=True, help="link.yaml")
    parser.add_argument("--verbose", action="store_true", help="log also what is of use in a search for a fault")
    options = parser.parse_args()
    level = logging.DEBUG if options.verbose else logging.INFO
    logs.begin(level)
    os.umask(0o077)
    try:
        config = load_link_config(options.config)
        logs.begin(level, config.log_format)
        known = federation.load(config.catalogue, federation.antennas_beside(config.catalogue))
        asyncio.run(serve(config, offered(config, known.factories), known))
    except (CatalogueError, StartError, LedgerError) as error:
        sys.stderr.write(f"The link cannot start.\n{error}\n")
        return STORE_UNUSABLE if isinstance(error, LedgerOfOtherRelease) else CANNOT_START
    return 0


if __name__ == "__main__":
    sys.exit(main())
