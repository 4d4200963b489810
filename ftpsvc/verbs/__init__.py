"""Every command that the server carries out. FEAT, HELP and the documentation are made from this one table."""

from __future__ import annotations

from ftpsvc.session import Verb
from ftpsvc.verbs import access, browse, transfer

VERBS: dict[str, Verb] = {verb.name: verb for verb in (*access.VERBS, *browse.VERBS, *transfer.VERBS)}
