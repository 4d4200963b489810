"""Opening paths inside a root that no path and no symbolic link leaves, whatever changes during the walk.

Every open begins at a descriptor of the root. Linux does the walk in one call, `openat2` with `RESOLVE_IN_ROOT`: a
link to `/etc` leads to `etc` inside the root, `..` at the root stays there, and no rename during the walk can change
that. Elsewhere, and where a sandbox forbids that call, the walk is done here, one directory descriptor at a time,
with no step ever following a link by itself. There is no `realpath` and then `open`: between the two, a name
could have become a link.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
import time
from collections import deque

#: As Linux itself allows in one path. More is a loop.
MAX_LINKS = 40

#: For how long, in seconds, a parent that was resolved is used again. Files come in hundreds to one directory; what
#: another process renames meanwhile might as well have been renamed this much later.
LEND_TIME = 0.001

#: How often a walk is begun again because something was renamed meanwhile. Renaming in a loop must not hold us.
MAX_TRIES = 64

# From linux/openat2.h. The call's number is the same on every architecture.
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10

_O_PATH = getattr(os, "O_PATH", os.O_RDONLY)
# To name a directory's entries by: O_PATH needs no right to list them.
_DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC | _O_PATH


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Jail:
    """A root directory. Paths are bytes relative to it, without a leading slash; `b""` is the root itself."""

    def __init__(self, root: str | bytes, kernel_walk: bool = True) -> None:
        """Raises `OSError` if the root is no directory. `kernel_walk` is off only to test the other walk."""
        self._root = os.open(root, os.O_DIRECTORY | os.O_CLOEXEC | os.O_RDONLY)
        self._kernel_walk = kernel_walk and _has_openat2(self._root)
        self._root_device = os.fstat(self._root).st_dev
        self._lent_device = -1
        self._lent = -1
        self._lent_path = b""
        self._lent_until = 0.0

    def close(self) -> None:
        self.forget()
        os.close(self._root)

    def open(self, path: bytes, flags: int) -> int:
        """A descriptor for what `path` leads to, links followed inside the root. Raises `OSError`."""
        _refuse_nul(path)
        flags |= os.O_CLOEXEC
        if self._kernel_walk:
            return _openat2(self._root, path or b".", flags)
        return self._walk(path, flags)

    def open_file(self, path: bytes, flags: int) -> int:
        """The same for one of many files in a directory, which is then not looked for again each time."""
        directory, name, _ = self.place(path)
        try:
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        return self.open(path, flags)  # it is a link

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """The directory in which `path` is an entry, and that entry's name, which may be a link or missing.

        The descriptor is lent: it is good until the next call, and must be neither kept nor closed. It can be synced if
        the directory may be read. The root is nobody's entry: for it this raises `OSError`.
        """
        return self.place(path)[:2]

    def place(self, path: bytes) -> tuple[int, bytes, int]:
        """The same, with the device that the directory is on."""
        parent, _, name = path.rpartition(b"/")
        if not name or name == b"..":  # which no caller asks for; here it would lead out of the root
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        _refuse_nul(name)
        if not parent:
            return self._root, name, self._root_device
        now = time.monotonic()
        if parent != self._lent_path or now > self._lent_until:
            self.forget()
            try:
                self._lent = self.open(parent, os.O_RDONLY | os.O_DIRECTORY)
            except PermissionError:
                self._lent = self.open(parent, _DIRECTORY)
            self._lent_path, self._lent_until = parent, now + LEND_TIME
            self._lent_device = os.fstat(self._lent).st_dev
        return self._lent, name, self._lent_device

    def forget(self) -> None:
        """Resolve the next parent anew, because something was renamed or removed here."""
        if self._lent >= 0:
            os.close(self._lent)
        self._lent, self._lent_path = -1, b""

    def open_parent(self, path: bytes) -> tuple[int, bytes]:
        """The same with a descriptor to keep, and to close."""
        directory, name = self.parent(path)
        return os.dup(directory), name

    def _walk(self, path: bytes, flags: int) -> int:
        """The same by hand: a stack of directory descriptors, each step with O_NOFOLLOW."""
        todo = deque(path.split(b"/"))
        stack = [os.dup(self._root)]
        links = 0
        try:
            while todo:
                name = todo.popleft()
                if name in (b"", b"."):
                    continue
                if name == b"..":
                    if len(stack) > 1:
                        os.close(stack.pop())
                    continue
                link = self._step(stack, name, last=not any(todo), flags=flags)
                if link is not None:
                    links += 1
                    if links > MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    todo.extendleft(reversed(link.split(b"/")))
                    if link.startswith(b"/"):
                        _close_all(stack[1:])
                        del stack[1:]
            if len(stack) > 1 and not stat.S_ISDIR(os.fstat(stack[-1]).st_mode):
                return stack.pop()
            # A directory was opened to walk on from; open it once more as it was asked for.
            return os.open(b".", flags, dir_fd=stack[-1])
        finally:
            _close_all(stack)

    @staticmethod
    def _step(stack: list[int], name: bytes, last: bool, flags: int) -> bytes | None:
        """Descend by one component, or return the text of the link that it is."""
        is_link_wanted = last and flags & os.O_NOFOLLOW and flags & _O_PATH  # no other open has a link for its result
        for _ in range(MAX_TRIES):
            kind = os.stat(name, dir_fd=stack[-1], follow_symlinks=False).st_mode
            try:
                if stat.S_ISLNK(kind) and not is_link_wanted:
                    return os.readlink(name, dir_fd=stack[-1])
                # If the name has become a link since, O_NOFOLLOW makes this fail: nothing outside is ever opened.
                wanted = flags if last and not stat.S_ISDIR(kind) else _DIRECTORY
                stack.append(os.open(name, wanted | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack[-1]))
                return None
            except OSError as error:
                if error.errno != _CHANGED.get(stat.S_IFMT(kind), errno.ELOOP):
                    raise
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


#: What says that a name isn't any more what it was a moment ago, by what it was.
_CHANGED = {stat.S_IFLNK: errno.EINVAL, stat.S_IFDIR: errno.ENOTDIR}


def _refuse_nul(path: bytes) -> None:
    # The system's own calls would take such a name for a shorter one, or raise a ValueError.
    if b"\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


_libc = ctypes.CDLL(None, use_errno=True) if platform.system() == "Linux" else None


def _openat2(root: int, path: bytes, flags: int) -> int:
    assert _libc is not None
    how = _hows.get(flags)
    if how is None:
        how = _hows[flags] = _How(flags, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    code = 0
    for _ in range(MAX_TRIES):
        descriptor: int = _libc.syscall(_SYS_OPENAT2, root, path, ctypes.byref(how), ctypes.sizeof(how))
        if descriptor >= 0:
            return descriptor
        code = ctypes.get_errno()
        # EAGAIN: something was renamed during the walk, and the kernel can't vouch for `..`. EINTR: a signal.
        if code not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(code, os.strerror(code))


_hows: dict[int, _How] = {}


def _has_openat2(root: int) -> bool:
    if _libc is None:
        return False
    try:
        os.close(_openat2(root, b".", _DIRECTORY))
    except OSError:
        return False
    return True
