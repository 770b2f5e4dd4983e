"""Processes with precedence at the processor: their threads and children have it, too.

A child in a process session of its own does not have it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import processes

PRIORITY = -15
PROGRAM = """
import os, subprocess, sys, threading
ready, over = threading.Event(), threading.Event()
thread = threading.Thread(target=lambda: (ready.set(), over.wait()))
thread.start()
ready.wait()
print(thread.native_id, flush=True)
sys.stdin.readline()
look = "print(open('/proc/self/autogroup').read().split()[-1])"
for apart in (False, True):
    print(subprocess.run((sys.executable, "-c", look), start_new_session=apart, capture_output=True, text=True).stdout)
over.set()
"""


def test_its_threads_and_what_it_starts_go_first_but_no_session_of_its_own() -> None:
    argv = (sys.executable, "-c", PROGRAM)
    with subprocess.Popen(
        argv, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        thread = int(child.stdout.readline())
        processes.put_first((child.pid,))
        if os.getpriority(os.PRIO_PROCESS, child.pid) != PRIORITY:
            child.kill()
            pytest.skip("only root may give a higher priority")
        assert os.getpriority(os.PRIO_PROCESS, thread) == PRIORITY
        if not Path("/proc/self/autogroup").exists():
            child.kill()
            pytest.skip("this kernel has no priorities of sessions")
        told, _ = child.communicate("\n", timeout=60)
    assert told.split() == [str(PRIORITY), "0"]


def test_a_process_that_has_ended_is_no_error() -> None:
    with subprocess.Popen((sys.executable, "-c", "")) as child:
        pass
    processes.put_first((child.pid,))
