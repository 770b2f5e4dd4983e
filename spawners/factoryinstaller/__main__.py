"""``python -m factoryinstaller``: see ``factoryinstaller.cli``."""

import sys

from factoryinstaller.cli import main

if __name__ == "__main__":
    sys.exit(main())
