"""The errors of the installer."""

from __future__ import annotations


class InstallerError(Exception):
    """Raised if a step of the installer is not possible or fails. The message is for the person at the terminal."""


class ReleaseError(InstallerError):
    """Raised if a release cannot be read, built or used."""
