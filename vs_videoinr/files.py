"""Opening files that somebody else names, without being held up or filled up by them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path, limit: int) -> BinaryIO:
    """Open a regular file of at most `limit` bytes; a device, a pipe or a folder is refused without reading from it.

    Raises:
        OSError: It does not exist, cannot be opened, is none, or is too large (errno is EFBIG); `strerror` says why.
    """
    if path.is_dir():  # which Windows only says that it may not open
        raise OSError(errno.EISDIR, "a folder, not a regular file")
    try:
        # A pipe that nobody writes to would block a plain open().
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError:
        what = "a NUL character" if "\0" in str(path) else "a character that no text has"
        raise OSError(errno.EINVAL, f"no file can have this name, which contains {what}") from None
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file")
    if about.st_size > limit:
        os.close(handle)
        raise OSError(errno.EFBIG, f"{about.st_size} bytes, at most {limit}")
    return os.fdopen(handle, "rb")
