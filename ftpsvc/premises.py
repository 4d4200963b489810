"""What the options make in each process that serves, be it the only one or one of several; and what that asks for."""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ftpsvc import collector, parts
from ftpsvc.admission import Entrance, admitted
from ftpsvc.allocator import keep_freed_memory, share_one_heap
from ftpsvc.commons import Common
from ftpsvc.everywhere.entry import joined
from ftpsvc.factory import ServerFactory
from ftpsvc.homes import Homes, since_the_start
from ftpsvc.limits import Limits
from ftpsvc.localdisk import LocalDisk
from ftpsvc.objects.opening import AllHomes, Objects
from ftpsvc.objects.urls import is_address
from ftpsvc.options import Options
from ftpsvc.reloading import Reloading
from ftpsvc.securing import refuse, secured
from ftpsvc.states import Required
from ftpsvc.threads import THREADS, THREADS_OF_A_DISK, by_device, pool_of
from ftpsvc.tls import ServerTLS
from ftpsvc.usage import Usage

if TYPE_CHECKING:
    from ftpsvc.everywhere.joining import Joined


class Made(NamedTuple):
    """What the options make, in each process that serves, before anybody is let in."""

    storage: AllHomes
    homes: Homes
    factory: ServerFactory
    tls: ServerTLS
    entrance: Entrance
    reloading: Reloading
    told: list[str]  #: what to tell of the root
    everywhere: Joined | None  #: what it counts with other nodes; None without them


def made(options: Options, reactor: Any, common: Common | None, node: str = "") -> Made:
    """Open the folder, and read what there is to read. `common`: where to count; None for here. `node`: what several
    processes have in common that serve as one; empty for this one alone."""
    common = common or Common()
    everywhere = joined(options, reactor, common, f"{node or parts.RUN}.{parts.RUN}", _room(common))
    reactor.suggestThreadPoolSize(THREADS)
    run = pool_of(reactor)
    disks = by_device(run, THREADS_OF_A_DISK)
    sync = options["sync"] == "on"
    objects = Objects(options["objects"], reactor)
    homes = Homes(
        lambda home, owner: (
            objects.open(home) if is_address(home) else LocalDisk(home, disks(home), owner=owner, sync=sync)
        ),
        run,
        since_the_start,
        common,
        Usage if everywhere is None else everywhere.usage,
    )
    told = _check_root(options["root"], objects)
    entrance = Entrance(admitted(options, homes, run))
    homes.known = lambda: entrance.now.homes()
    tls = secured(options["certificate"], options["key"], options["state"], options.runs_as)
    tls.wants_certificates = lambda: entrance.now.wants_certificates()
    required = Required(options["require-tls"])
    limits = affordable(options["limits"], common)
    factory = ServerFactory(entrance, reactor, run, limits, options["passive"], tls, required, common)
    reloading = Reloading(options, factory, entrance, homes, lambda limits: affordable(limits, common))
    return Made(AllHomes(homes, objects), homes, factory, tls, entrance, reloading, told, everywhere)


#: The part of the descriptors that connections may have. The others are for data, files, and ports that listen.
_SHARE = 2 / 3


def affordable(limits: Limits, common: Common | None = None) -> Limits:
    """The limits, with no more connections than there is room for. Of many nodes each has its own, and the limit is for
    all of them."""
    room = _room(common)
    if room is None or 0 < limits.connections <= room or (common is not None and common.everywhere is not None):
        return limits
    return replace(limits, connections=room)


def _room(common: Common | None) -> int | None:
    """No more connections than there are descriptors for: a server without any can't even refuse; nor more than can be
    counted. None for any number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(hard * _SHARE) if hard != resource.RLIM_INFINITY else None
    if common is None or common.room is None:
        return most
    return common.room if most is None else min(most, common.room)


def _check_root(root: str, objects: Objects) -> list[str]:
    """What to tell of it. Refuses to start with one that can't be served."""
    if is_address(root):
        try:
            return [objects.check(root)]
        except OSError as error:
            refuse(f"can't serve {root}: {error.strerror}. See docs/object-storage.md")
    try:
        os.scandir(root).close()  # may it be listed?
        os.stat(os.path.join(root, "."))  # may what is in it be reached?
    except OSError as error:
        refuse(f"can't serve {root}: {error.strerror}. Choose a folder that is there and may be read: --root DIR")
    return []


def settle_in() -> None:
    """What a process that serves asks of the system and of Python."""
    _allow_many_files()
    collector.relax()
    keep_freed_memory()
    share_one_heap()


def _allow_many_files() -> None:
    """Each session and each transfer holds descriptors, and the usual soft limit of 1024 is soon reached."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS says "unlimited" and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
