"""What an `OSError` means, in the domain's terms. The one place where the operating system's errors are translated."""

from __future__ import annotations

import errno
import os

from ftpsvc import model

_ERRORS: dict[int, tuple[type[model.TransferError], str]] = {
    errno.ENOENT: (model.NotFound, "there is no such file or directory"),
    errno.ENOTDIR: (model.NotADirectory, "it is not a directory, or one of its parents isn't"),
    errno.EISDIR: (model.NotAFile, "it is a directory"),
    errno.EACCES: (model.Denied, "the server's system does not permit it"),
    errno.EPERM: (model.Denied, "the server's system does not permit it"),
    errno.EROFS: (model.Denied, "the file system is read-only"),
    errno.EEXIST: (model.AlreadyExists, "it is there already"),
    errno.ENOTEMPTY: (model.NotEmpty, "the directory is not empty"),
    errno.EBUSY: (model.Denied, "the root, or a mount point, stays what it is"),
    errno.ELOOP: (model.Unavailable, "its links lead round in a circle"),
    errno.ENXIO: (model.NotAFile, "it is not a plain file"),
    errno.EXDEV: (model.Unavailable, "it lies on another file system"),
    errno.EINVAL: (model.InvalidName, "the file system can't hold such a name, or such a move"),
    errno.ENAMETOOLONG: (model.InvalidName, "the name is too long"),
    errno.EILSEQ: (model.InvalidName, "the file system can't hold such a name"),
    errno.ENOSPC: (model.NoSpace, "no space is left on the server's disk"),
    errno.EDQUOT: (model.OverQuota, "the disk quota is used up"),
    errno.EFBIG: (model.OverQuota, "the file would be larger than the file system allows"),
    errno.EMFILE: (model.Busy, "the server has too many files open; try again later"),
    errno.ENFILE: (model.Busy, "the server has too many files open; try again later"),
    errno.ENOMEM: (model.Busy, "the server is short of memory; try again later"),
    errno.EAGAIN: (model.Busy, "it is in use; try again later"),
}

#: What the system says when it has no more to give for another connection.
NO_MORE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def domain_error(error: OSError, path: str) -> model.TransferError:
    """What an `OSError` means, told with the virtual path: a real one never leaves the server."""
    code = error.errno or 0
    kind, why = _ERRORS.get(code, (model.LocalFault, os.strerror(code) if code else "the disk failed"))
    return kind(f"{path}: {why}.")
