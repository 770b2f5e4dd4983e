"""``python -m testbed.demo``: see ``testbed.demo.command``."""

import sys

from testbed.demo.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
