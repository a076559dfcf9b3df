"""Connections to web servers whose waits another thread can end. Imported late: urllib3 takes long."""

from __future__ import annotations

import contextlib
import functools
import socket
from typing import final

from typing_extensions import override
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from webds.interrupting import ended_by

__all__ = ["with_ends"]


def _end(connection: HTTPConnection) -> None:
    """End what is waited for at a connection; what comes of it is an error."""
    _shut(connection.sock)


def _shut(sock: socket.socket | None, how: int = socket.SHUT_RDWR) -> None:
    # Not by the method of a TLS socket, which would take it apart while another thread reads.
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):  # it is closed
            socket.socket.shutdown(sock, how)


class _Ended(HTTPConnection):
    """A connection that can be ended while it is made, and while an answer is waited for."""

    @override
    def connect(self) -> None:
        with ended_by(functools.partial(_end, self)):
            super().connect()

    @override
    def getresponse(self) -> HTTPResponse:
        with ended_by(functools.partial(_end, self)):
            sock = self.sock
            response = super().getresponse()
        if not hasattr(response, "shutdown"):  # of urllib3 2.3
            setattr(response, "shutdown", functools.partial(_shut, sock))  # noqa: B010  # it has none that is declared
        return response


@final
class _EndedTls(_Ended, HTTPSConnection):
    """The same for ``https:``."""


@final
class _Pool(HTTPConnectionPool):
    ConnectionCls = _Ended


@final
class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _EndedTls


def with_ends(pool: PoolManager) -> PoolManager:
    """Let the connections of ``pool``, which has none yet, be such, and return it."""
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return pool
