"""Makes `twistd ftpsvc` and `twist ftpsvc` known. The folder has no `__init__.py`, so that Twisted finds it."""

from twisted.application.service import ServiceMaker

ftpsvc = ServiceMaker("ftpsvc", "ftpsvc.service", "A file server that nobody loses a file with.", "ftpsvc")
