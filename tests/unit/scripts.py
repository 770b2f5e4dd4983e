"""Runs batch scripts as a scheduler would run them on a node."""

from __future__ import annotations

import subprocess


def run(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    bare = {"PATH": "/usr/bin:/bin"} | env
    return subprocess.run(
        ["bash", "-s"], input=script, env=bare, capture_output=True, text=True, timeout=60, check=False
    )
