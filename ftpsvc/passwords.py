"""Passwords as argon2id hashes (RFC 9106): made, and compared where no session waits for it."""

from __future__ import annotations

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from ftpsvc.model import NAME_ERRORS

#: RFC 9106's second recommendation, which argon2-cffi has for its default: 64 MiB and a twentieth of a second or so.
_HASHER = argon2.PasswordHasher()

#: What a hash may ask for, in KiB and in rounds. More than this is a slip, and each login would stop the machine.
MAX_MEMORY = 2 * 1024 * 1024
MAX_ROUNDS = 100


def hashed(password: str) -> str:
    """A hash for a password, with a salt of its own. It takes its time."""
    return _HASHER.hash(_octets(password))


def check_hash(text: str) -> str:
    """The hash itself, if it is one. Raises `ValueError`, whose text doesn't repeat it."""
    try:
        parameters = argon2.extract_parameters(text)
    except InvalidHashError:
        raise ValueError("it is no argon2id hash; ftpsvc user passwd makes one") from None
    if parameters.type is not argon2.Type.ID:
        raise ValueError("it is a hash of argon2, but not of argon2id; ftpsvc user passwd makes one")
    if parameters.memory_cost > MAX_MEMORY or parameters.time_cost > MAX_ROUNDS:
        raise ValueError("each login with this hash would keep the machine busy; ftpsvc user passwd makes another")
    return text


def matches(hash_: str, password: str) -> bool:
    """Whether the password is the one that the hash was made of. It takes as long either way: for a thread."""
    try:
        return _HASHER.verify(hash_, _octets(password))
    except (VerificationError, InvalidHashError):
        return False


def _octets(password: str) -> bytes:
    # The bytes that came over the wire, whatever they are in.
    return password.encode("utf-8", NAME_ERRORS)
