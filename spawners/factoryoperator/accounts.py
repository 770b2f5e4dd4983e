"""Converts this machine's user and group numbers to names, and back, since numbers differ between machines."""

from __future__ import annotations

import grp
import pwd


def user_name(number: int) -> str:
    """Return the user's name, or the number if this machine has no such user."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    """Return the group's name, or the number if this machine has no such group."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def user_number(name: str) -> int:
    """Return the user's number. Raises KeyError."""
    return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid


def group_number(name: str) -> int:
    """Return the group's number. Raises KeyError."""
    return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
