"""The errors of the installer."""

from __future__ import annotations


class InstallerError(Exception):
    """Raised if the machine or an option does not allow a step. The message is for the person at the terminal."""


class ReleaseError(InstallerError):
    """Raised if a release cannot be read or built."""
