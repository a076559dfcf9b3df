"""Connections to web servers whose waits another thread can end."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from webds.streams.interrupting import ended_by

if TYPE_CHECKING:  # imported where it is used: most programs read local files
    from urllib3 import HTTPConnectionPool, PoolManager

__all__ = ["endable"]


def endable(pool: PoolManager) -> PoolManager:
    """Let the connections of ``pool``, which has none yet, be such, and return it.

    They can be ended while they are made, and while an answer is waited for; what comes of it is an error.
    """
    kinds: dict[str, Any] = {scheme: _endable(kind) for scheme, kind in pool.pool_classes_by_scheme.items()}
    pool.pool_classes_by_scheme = kinds
    return pool


@functools.cache
def _endable(kind: type[HTTPConnectionPool]) -> type:
    base: Any = kind.ConnectionCls
    methods = {name: _ended(getattr(base, name)) for name in ("connect", "getresponse")}
    return type(kind.__name__, (kind,), {"ConnectionCls": type(base.__name__, (base,), methods)})


def _ended(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of connections that waits, as one whose wait can be ended."""

    @functools.wraps(method)
    def waits(connection: Any, *args: Any, **options: Any) -> Any:
        with ended_by(functools.partial(_end, connection)):
            return method(connection, *args, **options)

    return waits


def _end(connection: Any) -> None:
    sock = connection.sock
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):  # it is closed
            # Not by the method of a TLS socket, which would take it apart while another thread reads.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
