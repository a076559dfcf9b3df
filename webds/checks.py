"""Argument checks in one line each: a `ValueError` that names the value and the expectation."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, NoReturn, Protocol

from typing_extensions import TypeVar

__all__ = ["check", "checkcallable", "checkmember", "checknotnone", "checkrange", "checktype"]

V = TypeVar("V")


class _Ordered(Protocol):
    def __le__(self, other: Any, /) -> bool: ...


OrderedT = TypeVar("OrderedT", bound=_Ordered)


def _fail(value: object, expectation: str, msg: str) -> NoReturn:
    shown = repr(value)
    if len(shown) > 200:
        shown = shown[:200] + "…"
    raise ValueError(f"{msg + ': ' if msg else ''}{shown} ({type(value).__name__}): expected {expectation}")


def check(value: object, msg: str = "") -> None:
    """Raise `ValueError` unless ``value`` is true."""
    if not value:
        _fail(value, "a true value", msg)


def checkcallable(value: object, msg: str = "") -> None:
    """Raise `ValueError` unless ``value`` can be called."""
    if not callable(value):
        _fail(value, "something that can be called", msg)


def checkmember(value: V, values: Container[V], msg: str = "") -> None:
    """Raise `ValueError` unless ``value`` is one of ``values``."""
    try:
        found = value in values
    except TypeError:  # a set does not look for what cannot be hashed, nor a string for numbers
        found = False
    if not found:
        _fail(value, f"one of {values!r}", msg)


def checknotnone(value: object, msg: str = "") -> None:
    """Raise `ValueError` if ``value`` is None."""
    if value is None:
        _fail(value, "anything but None", msg)


def checkrange(value: OrderedT, lo: OrderedT, hi: OrderedT, msg: str = "") -> None:
    """Raise `ValueError` unless ``lo <= value <= hi``."""
    try:
        inside = bool(lo <= value <= hi)
    except TypeError:  # a text is not between two numbers
        inside = False
    if not inside:
        _fail(value, f"a value from {lo!r} to {hi!r}", msg)


def checktype(value: object, types: type[V] | tuple[type[V], ...], msg: str = "") -> None:
    """Raise `ValueError` unless ``value`` is an instance of ``types``."""
    if not isinstance(value, types):
        names = " or ".join(kind.__name__ for kind in (types if isinstance(types, tuple) else (types,)))
        _fail(value, f"an instance of {names}", msg)
