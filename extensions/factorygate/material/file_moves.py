"""Moves files between open folders so that no existing file is overwritten.

Linux does so with ``renameat2``; on file systems without it (some network file systems), a move takes two steps. Where
hard links do not work either, a file that another program creates during the move may be overwritten.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable

_NO_REPLACE, _EXCHANGE = 1, 2  # flags of renameat2
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EMLINK})


def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]


_RENAME = _renameat2()


def _rename(source: int, name: str, target: int, new_name: str, flags: int) -> bool:
    """Call ``renameat2`` with ``flags``; return False if this system or file system does not support them, else True.

    ``source``, ``target``: descriptors of the folders that contain ``name`` and ``new_name``. Raises OSError.
    """
    if _RENAME is None:
        return False
    if _RENAME(source, os.fsencode(name), target, os.fsencode(new_name), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), new_name)


def exchange(source: int, name: str, target: int, new_name: str) -> bool:
    """Exchange two files atomically; return False if the file system cannot. Raises OSError.

    ``source``, ``target``: descriptors of the folders that contain ``name`` and ``new_name``.
    """
    return _rename(source, name, target, new_name, _EXCHANGE)


def move_new(source: int, name: str, target: int, new_name: str) -> None:
    """Move a file or a folder to a name that must be free.

    ``source``, ``target``: descriptors of the folders of the old and the new name. Raises FileExistsError if
    ``new_name`` is taken; OSError.
    """
    if _rename(source, name, target, new_name, _NO_REPLACE):
        return
    try:
        os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    else:
        os.unlink(name, dir_fd=source)
        return
    # neither is possible here: look first, which leaves a moment in which another program could create the file
    try:
        os.stat(new_name, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
