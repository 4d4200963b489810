"""Copying a file from one storage to another. Download and upload are both this one function.

What is read to its end without an error is whole: `ReadFile.read` checks the digest. What is not committed never
bears its name: so a copy that fails changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from ftpsvc.model import ConnectionFailed, ServiceClosing, Stored, TooLarge
from ftpsvc.storage import CHUNK, SMALL, Storage, announce, timed

#: Told how many bytes have been copied since the last call.
Progress = Callable[[int], None]


async def copy(
    source: Storage, path: str, target: Storage, name: str, progress: Progress = lambda count: None, modified: int = 0
) -> Stored:
    """Copy the file `path` of one storage to `name` in another, with its modify time and mode.

    `modified` is the time that a listing tells, for a source that doesn't tell it with the file.
    """
    reading = await source.open_read(path)
    try:
        announce(target, name, reading.facts)
        writing = await target.open_write(name)
        try:
            while chunk := await reading.read(CHUNK):
                await writing.write(chunk)
                progress(len(chunk))
            facts = timed(reading.facts, modified)
        except BaseException as error:
            await writing.abort(keep=isinstance(error, ConnectionFailed | ServiceClosing))
            raise
        return await writing.commit(facts)
    finally:
        await reading.close()


async def copy_known(source: Storage, path: str, size: int, target: Storage, name: str, modified: int = 0) -> Stored:
    """Copy a file whose size is known from a listing, as its time may be: a small one in one piece."""
    if size <= SMALL:
        try:
            whole = await source.fetch(path)
            if modified and whole.facts.modified is None:
                whole = whole._replace(facts=timed(whole.facts, modified))
            return await target.put(name, whole)
        except TooLarge:
            pass  # it has grown since
    return await copy(source, path, target, name, modified=modified)
