"""What a program says to whoever started it, where that may be a pipe that nobody reads, or a disk that is full."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from ftpsvc.model import LocalFault, NoSpace


class _WritingOut:
    """`with writing_out():` something is written to whoever started the program.

    Raises `NoSpace`, `LocalFault`, or `BrokenPipeError`.
    """

    is_under_way = False  #: for a signal that comes meanwhile: nobody may ever take it

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        self.is_under_way = True
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            kind = NoSpace if error.errno == errno.ENOSPC else LocalFault
            raise kind(f"what is to be said can't be written: {error.strerror}.") from error
        finally:
            self.is_under_way = False


writing_out = _WritingOut()
