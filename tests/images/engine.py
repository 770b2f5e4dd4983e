"""Runs built images like an operator: with any UID, read-only, and without network unless containers share one."""

from __future__ import annotations

import uuid

from tests.support.podman import Podman

UID = 54321  # a UID that no user of this machine or of an image has


class Engine(Podman):
    """podman, with the options with which the tests start containers."""

    def argv(self, network: str, *options: str) -> list[str]:
        """Return the arguments of podman that start a container, with the options that all containers of the tests get.

        ``options``: further options; the image has to follow.
        """
        return [
            *("run", "--read-only", f"--user={UID}:0", f"--network={network}", "--ulimit=host", "--cap-drop=all"),
            *("--security-opt=no-new-privileges", "--pull=never", *options),
        ]

    def run(self, image: str, *argv: str, stdin: str | None = None) -> str:
        """Run a program in a new container without any network; return its stdout."""
        return self(*self.argv("none", "--rm", "--interactive"), image, *argv, stdin=stdin).stdout

    def start(self, image: str, *options: str, network: str = "none") -> str:
        """Start an image's own command; return the container's name."""
        name = f"test-{uuid.uuid4().hex[:8]}"
        self(*self.argv(network, "--detach", f"--name={name}", *options), image)
        return name
