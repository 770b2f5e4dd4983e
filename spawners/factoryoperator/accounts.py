"""Converts user and group ids of this machine to names, and back, since ids differ between machines."""

from __future__ import annotations

import grp
import pwd


def user_name(number: int) -> str:
    """Return the name of the user with this uid, or the uid as text if this machine has no such user."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    """Return the name of the group with this gid, or the gid as text if this machine has no such group."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def user_number(name: str) -> int:
    """Return the uid of the user ``name``, or ``name`` itself if it is a number. Raises KeyError for unknown names."""
    return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid


def group_number(name: str) -> int:
    """Return the gid of the group ``name``, or ``name`` itself if it is a number. Raises KeyError for unknown names."""
    return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
