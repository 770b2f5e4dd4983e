"""``python -P -m factorygate.session.bridge SOCKET``: joins stdin and stdout to the door's socket.

The batch scheduler runs this program inside the job, at sites where the door's node cannot be reached over the network.
The program ends when stdin or the door's socket ends, or when reading or writing fails. Bytes that are still on their
way in the other direction may then be lost. They belong to an SSH connection, which has its own signal for a complete
end, so both ends of the connection notice if anything is missing. Exit codes: 0 one side closed, 1 the door's socket
cannot be reached, 2 wrong arguments.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import threading

PIECE = 1 << 18  # bytes moved at a time


def _copy(source: int, sink: int) -> None:
    """Copy bytes from ``source`` to ``sink`` until end of file, through a buffer of this process.

    ``splice`` is not used, since not every scheduler's stdin and stdout support it.
    """
    buffer = bytearray(PIECE)
    view = memoryview(buffer)
    while count := os.readv(source, [buffer]):
        sent = 0
        while sent < count:
            sent += os.write(sink, view[sent:count])


def _widen(descriptor: int) -> None:
    """Enlarge a pipe's buffer from 64 KiB to 1 MiB, so that larger pieces are copied.

    Ignore files that are no pipes.
    """
    with contextlib.suppress(OSError):  # not a pipe, or over the system's limit
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)


def main(arguments: list[str]) -> int:
    """Copy stdin to the door's socket, and the socket's bytes to stdout, until one side closes; return the exit code.

    ``arguments``: the socket's path, and nothing else.
    """
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        door.connect(arguments[0])
    except OSError as error:
        print(f"The door at {arguments[0]} cannot be entered: {error.strerror}.", file=sys.stderr)
        return 1
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    _widen(stdin)
    _widen(stdout)
    over = threading.Event()

    def carry(source: int, sink: int) -> None:
        with contextlib.suppress(OSError):  # one side has closed, which is a normal end
            _copy(source, sink)
        over.set()

    for pair in ((stdin, door.fileno()), (door.fileno(), stdout)):
        threading.Thread(target=carry, args=pair, daemon=True).start()
    over.wait()
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # at once, since the other direction may be blocked in a read
