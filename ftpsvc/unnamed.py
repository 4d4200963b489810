"""Small files that have no name until they are finished: then one call gives them theirs, if nothing else bears it.

Linux only (O_TMPFILE). There is no part that could be left behind, and nobody has to look first what is there.
"""

from __future__ import annotations

import ctypes
import os
import platform
import tempfile

from ftpsvc.parts import write_all

_UNNAMED = getattr(os, "O_TMPFILE", 0) | os.O_WRONLY | os.O_CLOEXEC  # without the flag it is a directory: EISDIR
_AT_EMPTY_PATH = 0x1000  # linux/fcntl.h

_libc = ctypes.CDLL(None, use_errno=True) if platform.system() == "Linux" else None


def create(directory: int, name: bytes, data: bytes, mode: int, modified: int | None, sync: bool) -> bool:
    """Make a file of these bytes. False where something bears the name, or the file system doesn't know how.

    With `sync` its bytes are on stable storage before it has its name; the directory is the caller's to sync.
    Raises `OSError`; then nothing is left.
    """
    try:
        file = os.open(b".", _UNNAMED, 0o600, dir_fd=directory)
    except OSError:
        return False  # whatever it is, the usual way meets it too, and says what it means
    try:
        write_all(file, data)
        os.fchmod(file, mode)
        if modified is not None:
            os.utime(file, ns=(modified, modified))
        if sync:
            os.fsync(file)
        return _link(file, directory, name)
    finally:
        os.close(file)


def _link(file: int, directory: int, name: bytes) -> bool:
    assert _libc is not None
    if not _libc.linkat(file, b"", directory, name, _AT_EMPTY_PATH):
        return True
    try:
        # Before Linux 6.10 only root may do it that way.
        os.link(b"/proc/self/fd/%d" % file, name, dst_dir_fd=directory, follow_symlinks=True)
    except OSError:
        return False
    return True


def in_memory(data: bytes) -> int:
    """A descriptor of a file without a name that has these bytes; the caller's to close."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("ftpsvc", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    with open(descriptor, "wb", closefd=False) as opened:
        opened.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
