"""How long a client may keep the server waiting, in seconds; with TLS, also the other way round."""

from __future__ import annotations

from dataclasses import dataclass

#: For a TLS handshake: four round trips at the most, and no work of a person in between.
HANDSHAKE_LIMIT = 10.0

#: For the other end's answer to the end of TLS, when everything has been sent. It owes that answer, but nothing hangs
#: on it: what there was to do is over.
FAREWELL_LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server may be told to make longer or shorter."""

    login: float = 60  #: from the connection to the login
    idle: float = 300  #: without a command, or in a transfer without a byte moving
    closing: float = 5  #: for the client to take the last reply
    connecting: float = 30  #: for a data connection to come about, from the command that needs it
