"""``python -m factoryinstaller``: runs the command ``factorygate-install``."""

import sys

from factoryinstaller.cli import main

if __name__ == "__main__":
    sys.exit(main())
