"""The examination of `ftpsvc doctor`, as a table: step after step from the server's name to its clock."""

from __future__ import annotations

from ftpsvc.doctor import Step
from ftpsvc.patient import Patient
from ftpsvc.reachchecks import greeting, name, tcp, tls
from ftpsvc.servicechecks import ADVICE_PASSIVE, address, clock, credentials, inline, login, passive, permissions

_NETWORK = "Look at the server's log, and try it from the server's own machine: ftpsvc doctor"
_INSIDE = "Look at the server's log: it has the reason."

STEPS: tuple[Step[Patient], ...] = (
    Step("name", 10, name, "Look at this machine's DNS: cat /etc/resolv.conf"),
    Step("tcp", 30, tcp, "Is the machine up, and does a firewall drop connections to this port?", ("name",)),
    Step("greeting", 15, greeting, f"An FTP server greets at once. Check the port. {_NETWORK}", ("tcp",)),
    Step("tls", 15, tls, f"TLS 1.2 or 1.3 is needed. {_NETWORK}", ("greeting",)),
    Step("login", 30, login, _INSIDE, ("tls",), credentials),
    Step("inline", 15, inline, _INSIDE, ("login",)),
    Step("passive", 25, passive, ADVICE_PASSIVE, ("login",)),
    Step("address", 10, address, _INSIDE, ("login",)),
    Step("permissions", 10, permissions, _INSIDE, ("login",)),
    Step("clock", 30, clock, f"Is there space, and may the account store? {_INSIDE}", ("login",)),
)
