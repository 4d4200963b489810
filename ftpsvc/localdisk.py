"""The default storage: a folder on this machine.

Uploads go to a part file beside their target and get their name by rename, once they are on stable storage. The
rules behind every line here are in docs/architecture.md, "What 226 means".
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred

from ftpsvc import model
from ftpsvc.commits import Committer, WholeFile
from ftpsvc.diskentries import LOOK, Scan, entry_of
from ftpsvc.diskfiles import DiskAppendFile, DiskReadFile, DiskWriteFile, read_at_once
from ftpsvc.frames import digest_of
from ftpsvc.jail import Jail
from ftpsvc.model import Entry, Facts, Stored, Whole, decode_name, encode_name
from ftpsvc.oserrors import domain_error
from ftpsvc.parts import apply_facts, known_part, open_free_part, open_to_lock, rename_to_new, try_part
from ftpsvc.steadyfiles import SteadyReadFile, demand_unchanged
from ftpsvc.storage import SMALL
from ftpsvc.sweeping import Sweep, remove_if_only_parts
from ftpsvc.threads import Run, done_with, owning

#: How many links a file's last component may lead through before it is written.
MAX_FINAL_LINKS = 8

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY  # O_NONBLOCK: a FIFO in the tree must not hold the reactor

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])


def _in_domain_terms(method: Method) -> Method:
    """Let a coroutine method that takes a path raise domain errors instead of `OSError`."""

    @functools.wraps(method)
    async def translated(self: LocalDisk, path: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return await method(self, path, *args, **kwargs)
        except OSError as error:
            raise domain_error(error, path) from error

    return cast(Method, translated)


class LocalDisk:
    """The `Storage` over a root folder that nothing leaves."""

    def __init__(self, root: str, run: Run, *, owner: str = "", sync: bool = True, steady: bool = False) -> None:
        """Raises `OSError` if the root can't be opened. `owner` tells the parts of one account from another's.

        `steady`: a file that is changed while it is read can't be read to its end. `Changed` is raised.
        """
        self._jail = Jail(root)
        self._run = run
        self._owner = owner
        self._is_steady = steady
        self._committer = Committer(run, sync)

    def close(self) -> None:
        self._jail.close()

    @functools.cached_property
    def _mode(self) -> int:
        """The mode of a new file. Asked for by the first upload, because twistd sets the mask after the start."""
        return 0o666 & ~_umask()

    @_in_domain_terms
    async def stat(self, path: str) -> Entry:
        return self._stat(_relative(path), path.rpartition("/")[2])

    def _stat(self, path: bytes, name: str) -> Entry:
        if not stat.S_ISLNK((status := self._status(path, LOOK | os.O_NOFOLLOW)).st_mode):
            return entry_of(name, status)
        return entry_of(name, self._status(path, LOOK))._replace(is_link=True)  # what it leads to, and that it is one

    def _status(self, path: bytes, flags: int) -> os.stat_result:
        descriptor = self._jail.open(path, flags)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    async def list(self, path: str) -> AsyncGenerator[Entry, None]:
        try:
            scan = Scan(self._jail, self._run, _relative(path))
            try:
                while batch := await scan.next():
                    for entry in batch:
                        yield entry
            finally:
                await scan.close()
        except OSError as error:
            raise domain_error(error, path) from error

    @_in_domain_terms
    async def open_read(self, path: str, offset: int = 0) -> DiskReadFile:
        descriptor = self._jail.open(_relative(path), _READ)
        try:
            status = os.fstat(descriptor)
            entry = entry_of(path.rpartition("/")[2], status)
            if not entry.is_file:
                raise model.NotAFile(f"{path} is not a plain file.")
            if offset > entry.size:
                raise model.BadOffset(f"{path} has {entry.size} bytes; it can't be read from byte {offset}.")
        except BaseException:
            os.close(descriptor)
            raise
        kind = SteadyReadFile if self._is_steady else DiskReadFile
        return kind(descriptor, status.st_dev, entry, offset, self._run)

    @_in_domain_terms
    async def open_part(self, path: str, offset: int = 0) -> DiskReadFile:
        directory, name, _ = self._target(path)
        return self._reading(open_free_part(directory, name, self._owner, offset), name, offset)

    @_in_domain_terms
    async def open_begun(self, path: str) -> DiskReadFile:
        directory, name, _ = self._target(path)
        return self._reading(open_to_lock(directory, known_part(name, self._owner)), name)

    def _reading(self, descriptor: int, name: bytes, offset: int = 0) -> DiskReadFile:
        """A part that is open."""
        status = os.fstat(descriptor)
        return DiskReadFile(descriptor, status.st_dev, entry_of(decode_name(name), status), offset, self._run)

    @_in_domain_terms
    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> DiskWriteFile:
        file = self._begin(*self._target(path), replace)
        if offset:
            try:
                await file.resume(offset)
            except BaseException:
                await file.abort(keep=True)
                raise
        return file

    def _begin(self, lent: int, name: bytes, mode: int | None, may_replace: bool = True) -> DiskWriteFile:
        """Begin a file at a place that `_target` has found. Raises `OSError` where none can be made."""
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=lent, effective_ids=True):
            # The first bytes would find out too; but by then a client has been told to send, and sends it all.
            try_part(lent)
        replaces = mode is not None
        mode = self._mode if mode is None else mode
        return DiskWriteFile(os.dup(lent), name, mode, replaces, self._owner, self._run, self._committer, may_replace)

    @_in_domain_terms
    async def open_append(self, path: str) -> DiskAppendFile | DiskWriteFile:
        lent, name, mode = self._target(path)
        if mode is None:
            # Nothing to add to: an upload then. Nobody sees a part of it, and it replaces nothing that came meanwhile.
            return self._begin(lent, name, mode, may_replace=False)
        directory = os.dup(lent)
        try:
            return DiskAppendFile(directory, name, self._run, self._committer)
        except BaseException:
            os.close(directory)
            raise

    async def fetch(self, path: str) -> Whole:
        # Without the wrapper and its coroutine, here and in `put`: trees of small files are made of these two.
        try:
            descriptor = self._jail.open_file(_relative(path), _READ)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise model.NotAFile(f"{path} is not a plain file.")
                size = status.st_size
                if size > SMALL:
                    raise model.TooLarge(f"{path} has more than {SMALL} bytes.")
                data = read_at_once(descriptor, status.st_dev, size, 0)
                if data is None:
                    job: Deferred[bytes] = self._run(owning, os.pread, os.dup(descriptor), size, 0)
                    data = await job
                if self._is_steady:
                    demand_unchanged(path, descriptor, size, status.st_mtime_ns)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise domain_error(error, path) from error
        if len(data) < size:
            raise model.LocalFault(f"{path} became shorter while it was read.")
        return Whole(data, Facts(status.st_mtime_ns, status.st_mode & 0o777))

    async def put(self, path: str, whole: Whole) -> Stored:
        data, (modified, mode) = whole.data, whole.facts
        try:
            directory, name, device = self._jail.place(_relative(path))
            # Most files of a tree are new, and in memory: those need no look at what is there.
            file = WholeFile(directory, name, data, self._mode if mode is None else mode, modified)
            if not self._committer.is_quick_on(device) or not self._committer.create_now(file):
                await self._replace(path, whole)
        except OSError as error:
            raise domain_error(error, path) from error
        return Stored(len(data), digest_of(data))

    async def _replace(self, path: str, whole: Whole) -> None:
        directory, name, mode = self._target(path)
        facts = whole.facts
        if facts.mode is not None:
            mode = facts.mode
        file = WholeFile(directory, name, whole.data, self._mode if mode is None else mode, facts.modified)
        if self._committer.is_quick(directory):
            self._committer.commit_now(file)
        else:
            await self._commit_later(file)

    async def _commit_later(self, file: WholeFile) -> None:
        kept = os.dup(file.directory)
        done = self._committer.commit(file._replace(directory=kept))
        waiting = done_with(done)
        done.addBoth(lambda _: os.close(kept))
        await waiting

    def _target(self, path: str) -> tuple[int, bytes, int | None]:
        """Where a file is to be written: directory (lent by the jail), name, and the mode of the file that is there.

        A link is written through, as long as it leads to a plain file inside the root.
        """
        at = _relative(path)
        for _ in range(MAX_FINAL_LINKS):
            directory, name = self._jail.parent(at)
            try:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                return directory, name, None
            if stat.S_ISREG(status.st_mode):
                return directory, name, status.st_mode & 0o777
            if not stat.S_ISLNK(status.st_mode):
                raise model.NotAFile(f"{path} is there, and is not a plain file.")
            link = os.readlink(name, dir_fd=directory)
            os.close(self._jail.open(at, LOOK))  # a link that leads nowhere is not filled
            at = link if link.startswith(b"/") else at.rpartition(b"/")[0] + b"/" + link
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    @_in_domain_terms
    async def make_dir(self, path: str) -> None:
        with self._parent(path) as (directory, name):
            os.mkdir(name, 0o777, dir_fd=directory)
            await self._committer.sync(directory)

    @_in_domain_terms
    async def remove(self, path: str) -> None:
        with self._parent(path) as (directory, name):
            os.unlink(name, dir_fd=directory)

    async def remove_dir(self, path: str) -> None:
        await self.remove_dir_and_parts(path)

    @_in_domain_terms
    async def remove_dir_and_parts(self, path: str) -> int:
        self._jail.forget()
        with self._parent(path) as (directory, name):
            try:
                os.rmdir(name, dir_fd=directory)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                # What nobody sees must not keep it: the parts of uploads that broke off.
                return await done_with(self._run(owning, remove_if_only_parts, os.dup(directory), name))
            return 0

    async def rename(self, source: str, target: str, replace: bool = True) -> None:
        try:
            with self._parent(source) as (old, old_name), self._parent(target) as (new, new_name):
                if not replace:
                    rename_to_new(old, old_name, new, new_name)
                else:
                    _rename_over(old, old_name, new, new_name)
                self._jail.forget()
                await self._committer.sync(new)
        except OSError as error:
            raise domain_error(error, f"{source} to {target}") from error

    @_in_domain_terms
    async def set_facts(self, path: str, facts: Facts) -> None:
        try:
            descriptor = self._jail.open(_relative(path), _READ)
        except PermissionError:
            # The owner of a file may set its mode without the right to read it.
            descriptor = self._jail.open(_relative(path), LOOK)
        try:
            apply_facts(descriptor, facts)
        finally:
            os.close(descriptor)

    async def sweep(self, before: float, run: str = "") -> int:
        """Remove the parts that no upload holds and that were last written before this time of day, or that have names
        of this run (`parts.RUN`), which nobody can go on from; how many."""
        sweep = Sweep(self._jail, before, run)
        job = self._run(sweep.step)
        try:
            while await done_with(job):
                job = self._run(sweep.step)
            return sweep.removed
        finally:
            await job  # a thread can't be stopped, and uses what is closed next
            sweep.close()

    @_in_domain_terms
    async def space(self, path: str) -> int:
        descriptor = self._jail.open(_relative(path), LOOK)
        try:
            status = os.fstatvfs(descriptor)
            if not status.f_blocks:  # /proc and its like count no blocks
                raise model.NotImplementedHere(f"{path}: its free space can't be told.")
            return status.f_bavail * status.f_frsize
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, bytes]]:
        directory, name = self._jail.open_parent(_relative(path))
        try:
            yield directory, name
        finally:
            os.close(directory)


def _rename_over(old: int, old_name: bytes, new: int, new_name: bytes) -> None:
    """Rename, and replace what has the name, unless that is a directory."""
    _refuse_to_replace_directory(old, old_name, new, new_name)
    if _are_names_of_one_file(old, old_name, new, new_name):
        os.unlink(old_name, dir_fd=old)  # rename(2) does nothing then, and calls that a success
    else:
        os.rename(old_name, new_name, src_dir_fd=old, dst_dir_fd=new)


def _refuse_to_replace_directory(old: int, old_name: bytes, new: int, new_name: bytes) -> None:
    # rename(2) would let a directory take the place of an empty one.
    try:
        target = os.stat(new_name, dir_fd=new, follow_symlinks=False)
    except FileNotFoundError:
        return
    source = os.stat(old_name, dir_fd=old, follow_symlinks=False)
    if stat.S_ISDIR(target.st_mode) and not os.path.samestat(source, target):
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))


def _are_names_of_one_file(old: int, old_name: bytes, new: int, new_name: bytes) -> bool:
    source = os.stat(old_name, dir_fd=old, follow_symlinks=False)
    if source.st_nlink < 2 or stat.S_ISDIR(source.st_mode):
        return False
    try:
        target = os.stat(new_name, dir_fd=new, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not os.path.samestat(source, target):
        return False
    # One name may be written in two ways: through a link to its folder, or where case doesn't count.
    is_one_name = decode_name(old_name).casefold() == decode_name(new_name).casefold()
    return not (is_one_name and os.path.samestat(os.fstat(old), os.fstat(new)))


def _relative(path: str) -> bytes:
    if "\0" in path:
        raise model.InvalidName("A name can't hold NUL.")
    return encode_name(path[1:])


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
