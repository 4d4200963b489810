"""Part files: what an upload is before it gets its name. No listing shows them and no path reaches them."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import platform
import stat
from secrets import token_hex
from typing import NamedTuple

import xxhash

from ftpsvc.locks import NoLocks, lock, unlock
from ftpsvc.model import PART_PREFIX, BadOffset, Facts, encode_name
from ftpsvc.storage import CHUNK, Buffer

_PREFIX = encode_name(PART_PREFIX)

#: What tells this process's made-up names from those of any other.
RUN = token_hex(8)

_count = itertools.count()


def is_part(name: bytes) -> bool:
    """Whether a name in a directory is a part's."""
    return name.startswith(_PREFIX)


def made_up_part() -> bytes:
    """A name that no other part has, for one that nobody will go on from."""
    return b"%s%x" % (made_up_in(RUN), next(_count))


def made_up_in(run: str) -> bytes:
    """What all names that one process makes up begin with."""
    return b"%s%s-" % (_PREFIX, run.encode())


def is_made_up(name: bytes) -> bool:
    """Whether a part has a name of `made_up_part`, of whichever process."""
    return b"-" in name[len(_PREFIX) :]


def known_part(name: bytes, owner: str) -> bytes:
    """The name of the part that an upload of this name by this owner is gone on from."""
    return encode_name(PART_PREFIX + xxhash.xxh3_64_hexdigest(encode_name(owner) + b"\0" + name))


#: What the system says where what bears the name of a part is none of ours: a link, a folder, a file of another user.
_NOT_OURS = (errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EISDIR)


def open_part(directory: int, name: bytes, owner: str) -> tuple[int, bytes, int]:
    """The part file for a target: its descriptor, locked and at its beginning, its name, and its size.

    The name comes from the target and the owner, so that a resume finds it. While another upload of the same target
    holds that one, a name is made up, so that a part never blocks a name. Where there are no locks, who holds a part is
    who has given it a name of his own.
    """
    known = known_part(name, owner)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    part = known
    for _ in range(MAX_PART_TRIES):
        try:
            descriptor = os.open(part, flags, 0o600, dir_fd=directory)
        except OSError as error:
            if part is not known or error.errno not in _NOT_OURS:
                raise
            descriptor = -1
        if descriptor >= 0:
            try:
                status = _lock(descriptor, directory, part)
            except NoLocks:
                os.close(descriptor)
                return _claim(directory, part)
            if status is not None:
                return descriptor, part, status.st_size
            os.close(descriptor)
        part = made_up_part()
        flags |= os.O_EXCL
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _claim(directory: int, part: bytes) -> tuple[int, bytes, int]:
    """The same without locks. Only one can rename it, and whoever comes after that begins anew. Raises `OSError`."""
    own = made_up_part()
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        os.rename(part, own, src_dir_fd=directory, dst_dir_fd=directory)
    except FileNotFoundError:
        flags |= os.O_CREAT | os.O_EXCL
    descriptor = os.open(own, flags, 0o600, dir_fd=directory)
    return descriptor, own, os.fstat(descriptor).st_size


def try_part(directory: int) -> None:
    """Make a part and remove it. Raises the `OSError` with which none can be made: access(2), which costs less, doesn't
    say why not, and where a C library has to work the answer out by itself, it knows nothing of access lists."""
    part = made_up_part()
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory))
    os.unlink(part, dir_fd=directory)


def leave_part(descriptor: int, part: bytes, directory: int, known: bytes) -> bool:
    """Let a part have the name by which it is gone on from, unless that is another's; whether it has it. Raises
    `OSError`."""
    if part == known:
        return True
    try:
        lock(descriptor)  # our own, where there are locks: then somebody else held the one of that name
    except NoLocks:
        os.rename(part, known, src_dir_fd=directory, dst_dir_fd=directory)
        return True
    return False


def status_of_part(directory: int, name: bytes, owner: str) -> os.stat_result | None:
    """What the system says of what an earlier attempt has left of a target; None if none has. Raises `OSError`."""
    return _status_of(directory, known_part(name, owner))


def _status_of(directory: int, name: bytes) -> os.stat_result | None:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def open_to_lock(directory: int, part: bytes) -> int:
    """A part that can be read, and locked: over NFS that takes the right to write. Raises `OSError`."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        try:
            return os.open(part, flags | os.O_RDWR, dir_fd=directory)
        except PermissionError:  # it has the mode of its file already, which may be a read-only one
            return os.open(part, flags | os.O_RDONLY, dir_fd=directory)
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error


def open_free_part(directory: int, name: bytes, owner: str, offset: int) -> int:
    """The part that an earlier attempt has left and nobody holds, for reading. Raises `OSError` and `BadOffset`."""
    part = known_part(name, owner)
    descriptor = open_to_lock(directory, part)
    try:
        if _lock(descriptor, directory, part, to_look=True) is None:
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        unlock(descriptor)  # whoever wants to go on from it has it, even while it is looked at
    except NoLocks:
        pass  # who held it would have given it another name
    if offset > (size := os.fstat(descriptor).st_size):
        os.close(descriptor)
        raise BadOffset(f"Only {size} bytes are kept of it.")
    return descriptor


def open_again(descriptor: int, part: bytes, directory: int) -> int:
    """A part that is being written, for reading, with an offset of its own. Raises `OSError`."""
    again = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    if not os.path.samestat(os.fstat(again), os.fstat(descriptor)):
        os.close(again)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    return again


def remove_own_part(descriptor: int, part: bytes, directory: int) -> None:
    """Remove a part, unless the name is another upload's by now, because this one has got its own. Raises `OSError`."""
    if os.path.samestat(os.stat(part, dir_fd=directory, follow_symlinks=False), os.fstat(descriptor)):
        os.unlink(part, dir_fd=directory)


#: The first name may be taken; a made-up one never is, but for somebody who guesses 64 bits.
MAX_PART_TRIES = 3


def _lock(descriptor: int, directory: int, part: bytes, to_look: bool = False) -> os.stat_result | None:
    """Lock a part. None if it is no plain file, or another upload has it, or had it and has renamed it since it was
    opened. Raises `NoLocks`."""
    try:
        lock(descriptor, to_look)
        named = os.stat(part, dir_fd=directory, follow_symlinks=False)
        opened = os.fstat(descriptor)
    except NoLocks:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        raise
    except OSError:
        return None
    return opened if os.path.samestat(named, opened) and stat.S_ISREG(opened.st_mode) else None


def give_name(directory: int, part: bytes, name: bytes, replace: bool = True) -> None:
    """Let a part have its name, in one step; without `replace` only if nothing has it. Raises `OSError`."""
    if replace:
        os.rename(part, name, src_dir_fd=directory, dst_dir_fd=directory)
    elif not _rename_to_new(directory, part, directory, name):
        _link_to_new(directory, part, name)


def rename_to_new(old: int, old_name: bytes, new: int, new_name: bytes) -> None:
    """Give an entry a name that nothing bears, perhaps in another directory. Raises `OSError`."""
    if not _rename_to_new(old, old_name, new, new_name):
        _refuse_if_there(new, new_name)  # not in one step with the rename, as below
        os.rename(old_name, new_name, src_dir_fd=old, dst_dir_fd=new)


def _link_to_new(directory: int, part: bytes, name: bytes) -> None:
    """Second best, where the system or the file system has no such rename: for a moment it bears both names."""
    try:
        os.link(part, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _refuse_if_there(directory, name)  # not in one step with the rename, but nearly, and the best there is
        os.rename(part, name, src_dir_fd=directory, dst_dir_fd=directory)
    else:
        os.unlink(part, dir_fd=directory)


#: What file systems without hard links say.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def _refuse_if_there(directory: int, name: bytes) -> None:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


# From linux/fs.h.
_RENAME_NOREPLACE = 1

_libc = ctypes.CDLL(None, use_errno=True) if platform.system() == "Linux" else None
_renameat2 = getattr(_libc, "renameat2", None)


def _rename_to_new(old: int, old_name: bytes, new: int, new_name: bytes) -> bool:
    """Rename, in one step, to a name that nothing bears; whether that can be done here. Raises `OSError`."""
    if _renameat2 is None:
        return False
    if _renameat2(old, old_name, new, new_name, _RENAME_NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code))


def apply_facts(descriptor: int, facts: Facts) -> None:
    """Set mode and modify time of an open file. Raises `OSError`."""
    try:
        if facts.mode is not None:
            os.fchmod(descriptor, facts.mode)
        if facts.modified is not None:
            os.utime(descriptor, ns=(facts.modified, facts.modified))
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        _apply_by_name(descriptor, facts)


def _apply_by_name(descriptor: int, facts: Facts) -> None:
    """The same for O_PATH, which fchmod does not take: by the name that Linux has for every descriptor."""
    path = f"/proc/self/fd/{descriptor}"
    if facts.mode is not None:
        os.chmod(path, facts.mode)
    if facts.modified is not None:
        os.utime(path, ns=(facts.modified, facts.modified))


def write_all(descriptor: int, data: Buffer) -> None:
    """Write all of it, however the system cuts it up. Raises `OSError`."""
    written = os.write(descriptor, data)
    while written < len(data):
        more = os.write(descriptor, memoryview(data)[written:])
        if not more:
            raise OSError(errno.EIO, "nothing more was written")  # or it would be tried for ever
        written += more


class Start(NamedTuple):
    """The file of which a resumed upload has its first bytes, as it was when that was decided."""

    is_part: bool  #: it is what an earlier attempt has left
    device: int
    inode: int
    size: int
    modified: int


def find_start(directory: int, name: bytes, offset: int, part: os.stat_result | None) -> Start | None:
    """What an upload that goes on from a byte is gone on from; None if nothing is that long. Raises `OSError`.

    `part`: what an earlier attempt has left. The file itself wins if it ends at that byte.
    """
    target = _status_of(directory, name)
    if part is not None and part.st_size >= offset and (target is None or target.st_size != offset):
        return _start_in(part, True)
    return _start_in(target, False) if target is not None and target.st_size >= offset else None


def _start_in(status: os.stat_result, is_part: bool) -> Start:
    return Start(is_part, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def copy_start(directory: int, name: bytes, start: Start, target: int, size: int) -> None:
    """The first `size` bytes of a file into another; shared, not copied, where the file system can."""
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        copied = 0
        while copied < size:
            count = os.sendfile(target, source, copied, min(CHUNK, size - copied))
            if not count:
                raise OSError(errno.EIO, "the file became shorter")
            copied += count
        if _start_in(os.fstat(source), False) != start:
            raise OSError(errno.EAGAIN, "the file has changed")
    finally:
        os.close(source)


def close_both(file: int, directory: int) -> None:
    """Never twice: the number may be another's by then. Raises `OSError`, as for bytes that could not be stored."""
    try:
        if file >= 0:
            os.close(file)
    finally:
        os.close(directory)
