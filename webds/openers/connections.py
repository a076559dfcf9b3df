"""Connections to web servers whose waits another thread can end. Imported late: urllib3 takes long."""

from __future__ import annotations

import contextlib
import functools
import socket
from typing import Any, cast, final

from typing_extensions import override
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from webds.interrupting import ended_by

__all__ = ["endable"]


def _end(connection: HTTPConnection) -> None:
    """End what is waited for at a connection; what comes of it is an error."""
    sock: object = connection.sock
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):  # it is closed
            # Not by the method of a TLS socket, which would take it apart while another thread reads.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Ended(HTTPConnection):
    """A connection that can be ended while it is made, and while an answer is waited for."""

    @override
    def connect(self) -> None:
        with ended_by(functools.partial(_end, self)):
            super().connect()

    @override
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as of its base
        with ended_by(functools.partial(_end, self)):
            return super().getresponse()


@final
class _EndedTls(_Ended, HTTPSConnection):
    """The same for ``https:``."""


@final
class _Pool(HTTPConnectionPool):
    ConnectionCls = cast("Any", _Ended)  # the protocol that is declared wants more than the class it is for has


@final
class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = cast("Any", _EndedTls)  # the same


def endable(pool: PoolManager) -> PoolManager:
    """Let the connections of ``pool``, which has none yet, be such, and return it."""
    classes: dict[str, type[HTTPConnectionPool | HTTPSConnectionPool]] = {"http": _Pool, "https": _TlsPool}
    pool.pool_classes_by_scheme = classes
    return pool
