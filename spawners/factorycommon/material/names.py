"""Checks whether paths may be in a workshop's material. Pure.

The service checks a repository by these rules, and each session checks again what it receives.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from factorycommon.messages import Message

MOST_PATH = 800  # bytes of a path
MOST_NAME = 200  # bytes of one name, so that a mark such as ``.new-0123456`` still fits
MOST_DEPTH = 16  # names of a path

# Control and format characters, unpaired surrogates, private and unassigned characters, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_NOT_ON_WINDOWS = re.compile(r'[<>:"\\|?*]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_OURS = frozenset({".git", "git~1", ".factorygate"})  # folders of git and of the gateway


def fault_of(path: str) -> Message | None:
    """Return why a path may not be in a workshop's material; None if it may.

    ``path``: names separated by slashes, relative to the material's folder.
    """
    if not path or path.startswith("/"):
        return Message("material-absolute", "The path is absolute or empty.")
    if any(unicodedata.category(character) in _UNSEEN for character in path):
        return Message("material-control", "The name has control characters or characters that nobody sees.")
    names = path.split("/")
    if len(path.encode()) > MOST_PATH or len(names) > MOST_DEPTH or any(len(n.encode()) > MOST_NAME for n in names):
        return Message("material-long", "The name is too long, or too many folders deep.")
    return next((fault for name in names if (fault := _fault_of_name(name)) is not None), None)


def _fault_of_name(name: str) -> Message | None:
    if name in ("", ".", ".."):
        return Message("material-dots", "The path has empty names or dots in place of a name.")
    if name.startswith("-"):
        return Message("material-dash", "The name begins with a dash, which programs take for an option.")
    if name.casefold() in _OURS:
        return Message("material-ours", "Folders of this name belong to git or to the gateway.")
    if _NOT_ON_WINDOWS.search(name) or _DEVICE.fullmatch(name) or name != name.strip() or name.endswith("."):
        return Message("material-windows", "Windows cannot have a file of this name.")
    return None


def faults(paths: Iterable[str]) -> dict[str, Message]:
    """Return why paths may not be in a workshop's material, by path; {} if all may.

    A path is refused for the reasons of ``fault_of``. It is also refused if it, or a folder in it, has the same name as
    another file or folder on systems that ignore case and the ways in which accents are written.
    """
    found: dict[str, Message] = {}
    files: set[str] = set()
    folders: dict[str, str] = {}  # by the folded name of a folder: the name as it is written
    for path in sorted(paths):
        if (fault := fault_of(path)) is not None:
            found[path] = fault
            continue
        names = path.split("/")
        above = ["/".join(names[:depth]) for depth in range(1, len(names))]
        same = folded(path)
        if (
            same in files
            or same in folders
            or any(folded(one) in files or folders.get(folded(one), one) != one for one in above)
        ):
            found[path] = Message("material-twice", "Another file has the same name, but for upper and lower case.")
            continue
        files.add(same)
        folders |= {folded(one): one for one in above}
    return found


def folded(path: str) -> str:
    """Return a path in a form that is equal for paths that differ only in case or in how accents are written."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
