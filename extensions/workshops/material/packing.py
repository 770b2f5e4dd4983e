"""Makes an archive of a commit's tree, or says which of its files may not be in a workshop's material. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from factorycommon.material.archive import BadArchive, MaterialFile, MaterialLimits, pack
from factorycommon.material.names import faults
from factorycommon.material.steps import ENDING, KnownStep, steps_of
from factorycommon.messages import Message
from workshops.models.material import MOST_REFUSED, RefusedFile

_LARGE_FILE_POINTER = b"version https://git-lfs.github.com/spec/"
_REGULAR = ("100644", "100755", "100664")
_MOST_SHOWN = 200  # characters of a path


@dataclass(frozen=True)
class TreeEntry:
    """One entry of a commit's tree, as git lists it.

    ``object``: git's object id; ``size``: bytes of a file or symbolic link; None: the entry is a submodule.
    """

    mode: str
    object: str
    size: int | None
    path: str


class TreeRefused(Exception):
    """Raised for a tree that may not be material.

    ``files``: the files because of which the tree is refused, at most ``MOST_REFUSED``, each with the reason; () if no
    single file is the reason.
    """

    def __init__(self, message: Message, files: Sequence[RefusedFile] = ()) -> None:
        super().__init__(message)
        self.files = tuple(files)


def read_tree(listing: bytes) -> list[TreeEntry]:
    """Return the entries in ``listing``, the output of ``git ls-tree -r -l -z``.

    Raises TreeRefused if a file's name is not UTF-8, ValueError if the text before a name is not as git writes it. Text
    after the last NUL is ignored.
    """
    entries = []
    for line in listing.split(b"\0")[:-1]:
        head, _, path = line.partition(b"\t")
        mode, _kind, identity, size = head.decode("ascii").split()
        try:
            name = path.decode()
        except UnicodeDecodeError as error:
            shown = path.decode(errors="replace")[:_MOST_SHOWN]
            why = Message("material-not-utf8", "The name is not UTF-8.")
            raise TreeRefused(_refused(1), [RefusedFile(path=shown, why=why)]) from error
        entries.append(TreeEntry(mode, identity, None if size == "-" else int(size), name))
    return entries


def check_tree(entries: Sequence[TreeEntry], limits: MaterialLimits) -> None:
    """Check names, kinds, sizes and number of a tree's files, without their contents.

    Raises TreeRefused if the tree may not be material.
    """
    if not entries:
        raise TreeRefused(Message("material-empty", "The commit has no files."))
    if len(entries) > limits.files:
        said = Message("material-many", "The commit has {count} files; at most {most} are allowed.")
        raise TreeRefused(said.format(count=len(entries), most=limits.files))
    counts = Counter(one.path for one in entries)
    wrong = faults(counts)
    for one in entries:
        if (fault := _fault_of(one, counts[one.path], limits)) is not None:
            wrong.setdefault(one.path, fault)
    _check(wrong)
    total = sum(one.size or 0 for one in entries)
    if total > limits.total_bytes:
        said = Message("material-large", "The files of the commit have {size} MiB; at most {most} MiB are allowed.")
        raise TreeRefused(said.format(size=-(-total >> 20), most=limits.total_bytes >> 20))


def _fault_of(entry: TreeEntry, count: int, limits: MaterialLimits) -> Message | None:
    if count > 1:
        return Message("material-twice", "Another file has the same name, but for upper and lower case.")
    if entry.mode == "120000":
        return Message("material-link", "It is a symbolic link.")
    if entry.mode == "160000":
        return Message("material-submodule", "It is a submodule, which is not fetched.")
    if entry.mode not in _REGULAR or entry.size is None:
        return Message("material-no-file", "It is no regular file.")
    if entry.size > limits.file_bytes:
        said = Message("material-large-file", "It has {size} MiB; at most {most} MiB are allowed for one file.")
        return said.format(size=-(-entry.size >> 20), most=limits.file_bytes >> 20)
    return None


def pack_with_steps(
    entries: Sequence[TreeEntry], content_of: Callable[[TreeEntry], bytes], limits: MaterialLimits
) -> tuple[bytes, tuple[KnownStep, ...]]:
    """Return the archive of a tree, and the steps in its notebooks. Raises TreeRefused if the tree may not be material.

    ``content_of``: returns the content of an entry; called once for each entry, in order.
    """
    notebooks: dict[str, bytes] = {}

    def noted(entry: TreeEntry) -> bytes:
        content = content_of(entry)
        if entry.path.endswith(ENDING):
            notebooks[entry.path] = content
        return content

    archive = pack_tree(entries, noted, limits)
    return archive, steps_of(notebooks)


def pack_tree(entries: Sequence[TreeEntry], content_of: Callable[[TreeEntry], bytes], limits: MaterialLimits) -> bytes:
    """Return the archive of a tree. Raises TreeRefused if the tree may not be material.

    ``content_of``: returns the content of an entry; called once for each entry, in order.
    """
    check_tree(entries, limits)
    files: dict[str, MaterialFile] = {}
    wrong: dict[str, Message] = {}
    for one in entries:
        content = content_of(one)
        if content.startswith(_LARGE_FILE_POINTER):
            wrong[one.path] = Message("material-lfs", "Its content is in Git LFS, which is not fetched.")
        files[one.path] = MaterialFile(content, one.mode == "100755")
    _check(wrong)
    try:
        return pack(files, limits)
    except BadArchive as error:
        raise TreeRefused(Message("material-archive", "{why}").format(why=error)) from error


def _check(wrong: dict[str, Message]) -> None:
    if wrong:
        listed = [RefusedFile(path=_shown(path), why=str(why)) for path, why in list(wrong.items())[:MOST_REFUSED]]
        raise TreeRefused(_refused(len(wrong)), listed)


def _shown(path: str) -> str:
    """Return a path as pages show it: with escapes if it has unprintable characters, and cut if it is long."""
    return (path if path.isprintable() else ascii(path)[1:-1])[:_MOST_SHOWN]


def _refused(count: int) -> Message:
    said = Message("material-refused", "{count} files of the commit may not be in a workshop’s material.")
    return said.format(count=count)
