"""How a one-shot command ended: the exit code for each cause. docs/scripts.md has the same table."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from ftpsvc import model
from ftpsvc.console import Stopped

#: Class of error, exit code, the cause's name in JSON. The first row that an error is an instance of counts.
OUTCOMES: tuple[tuple[type[BaseException], int, str], ...] = (
    (model.NoSuchHost, 3, "name"),
    (model.ConnectionRefused, 4, "refused"),
    (model.NoTLS, 5, "tls"),
    (model.HandshakeFailed, 5, "tls"),
    (model.Unprotected, 5, "tls"),
    (model.NotProtected, 5, "tls"),
    (model.RefusedByPolicy, 5, "tls"),
    (model.UnsupportedProtection, 5, "tls"),
    (model.NotLoggedIn, 6, "login"),
    (model.NotFound, 7, "missing"),
    (model.Unavailable, 8, "denied"),
    (model.InvalidName, 8, "denied"),
    (model.NoSpace, 9, "space"),
    (model.OverQuota, 9, "space"),
    (model.Damaged, 10, "integrity"),
    (model.Changed, 12, "changed"),
    (model.ConnectionFailed, 11, "lost"),
    (model.ServiceClosing, 11, "lost"),
    (model.BadArgument, 2, "usage"),
    (model.BadCommand, 2, "usage"),
    (Stopped, 130, "interrupted"),
    (CancelledError, 130, "interrupted"),
)

#: Whatever else failed.
OTHER = (1, "other")


def outcome(error: BaseException) -> tuple[int, str]:
    """The exit code and the cause's name."""
    if isinstance(error, (model.BadArgument, model.BadCommand)) and error.is_answer:
        return OTHER  # it is the server that doesn't understand, or says 500 for whatever is wrong with it
    return next(((code, name) for kind, code, name in OUTCOMES if isinstance(error, kind)), OTHER)
