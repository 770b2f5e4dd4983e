"""``python -m testbed.install``: see ``testbed.install.environments``."""

import sys

from testbed.install.environments import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
