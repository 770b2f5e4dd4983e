"""Runs the operator's command ``factorygate``, as ``python -m factoryoperator``."""

from __future__ import annotations

import sys

from factoryoperator.cli import main

if __name__ == "__main__":
    sys.exit(main())
