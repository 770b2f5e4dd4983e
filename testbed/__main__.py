"""``python -m testbed``: see ``testbed.commands``.

A Python without the testbed's packages prints which commands install them.
"""

from __future__ import annotations

import sys

from testbed.install import environments as install


def main() -> int:
    """Run a command of the testbed; return its exit code, or 1 if the packages that it needs are missing."""
    try:
        from testbed import commands
    except ModuleNotFoundError as error:
        print(what_to_run(str(error)), file=sys.stderr)
        return 1
    return commands.main()


def what_to_run(missing: str) -> str:
    """Return a message that says which module this Python lacks, and which command to run instead.

    If the testbed's environment is not installed in this checkout yet, the message first says how to install it.
    ``missing``: the text of the error about the missing module.
    """
    python = install.program_folder() / "hub" / "bin" / "python"
    lines = [f"testbed: this Python ({sys.executable}) lacks the testbed's packages: {missing}."]
    if not python.exists():
        lines.append("Install them into this checkout once:  python3 -m testbed.install demo")
    return "\n".join([*lines, f"Then run:  {python} -m testbed {' '.join(sys.argv[1:]) or '--help'}"])


if __name__ == "__main__":
    sys.exit(main())
