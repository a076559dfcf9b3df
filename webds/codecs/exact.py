"""Which values come back as they are from a format that knows a few plain types only."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Any, Final, TypeAlias

__all__ = ["MAX_DEPTH", "Check", "check_exact", "fault_of_text", "shown"]

MAX_DEPTH: Final = 200
"""How deep lists and dicts may be nested to be encoded: what the decoders read at any depth of the stack."""

Check: TypeAlias = Callable[[Any], str | None]
"""Returns what is wrong with a value that is no list or dict, or with a key; None for nothing."""


def check_exact(value: Any, check: Check, check_key: Check) -> None:
    """Raise unless all parts of ``value`` would come back as they are.

    Lists and dicts are looked into; of these the types must be exactly ``list`` and ``dict``, since of a
    subclass only the content would come back.

    Args:
        value: what is to be encoded.
        check: for what is neither list nor dict.
        check_key: for the keys of dicts.

    Raises:
        ValueError: names the first part that would not, and why: ``value['boxes'][3]: a tuple, …``.
    """
    fault = _find_fault(value, check, check_key, 0)
    if fault is not None:
        raise ValueError(f"value{fault[0]}: {fault[1]}")


def _find_fault(value: Any, check: Check, check_key: Check, depth: int) -> tuple[str, str] | None:
    """Return (path, reason) of the first fault; the path grows on the way back, so that it costs nothing else."""
    kind = type(value)
    if kind is not list and kind is not dict:
        reason = check(value)
        return None if reason is None else ("", reason)
    if depth == MAX_DEPTH:
        return "", f"nested more than {MAX_DEPTH} deep, or in itself"
    for step, item in enumerate(value) if kind is list else value.items():
        if kind is dict and (reason := check_key(step)) is not None:
            return f", key {shown(step)}", reason
        if type(item) is list or type(item) is dict:
            fault = _find_fault(item, check, check_key, depth + 1)
            if fault is not None:
                return f"[{shown(step)}]{fault[0]}", fault[1]
        elif (reason := check(item)) is not None:
            return f"[{shown(step)}]", reason
    return None


def fault_of_text(text: str) -> str | None:
    """Return what is wrong with a str that is to be written as UTF-8; None for nothing."""
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"no text that UTF-8 can hold: {error}"
    return None


def shown(value: object) -> str:
    """Return what a message shows of ``value``, however large or deep it is."""
    try:
        return reprlib.repr(value)
    except Exception:  # such as that of an int with too many digits
        return f"a {type(value).__name__}"
