"""Every command that the server carries out. FEAT, HELP and the documentation are made from this one table."""

from __future__ import annotations

from ftpsvc.session import Verb
from ftpsvc.verbs import access, browse, change, data, digest, parameters, secure, transfer

_MODULES = (access, secure, parameters, browse, change, digest, data, transfer)

VERBS: dict[str, Verb] = {verb.name: verb for module in _MODULES for verb in module.VERBS}

#: The verbs behind which a sequence follows in MODE I, whatever becomes of the command.
UPLOADS = frozenset(verb.name for verb in VERBS.values() if verb.uploads)

#: The verbs that take the data connection that was prepared.
MOVING = frozenset(verb.name for verb in VERBS.values() if verb.moves_data)
