"""Text, integers and JSON."""

from __future__ import annotations

import json
import math
import operator
import re
from typing import Any, Final, final

import attrs
import numpy as np
from typing_extensions import override

from webds.abc import Codec
from webds.codecs.buffers import flat
from webds.codecs.exact import check_exact, fault_of_text, shown
from webds.errors import DecodeError, EncodeError
from webds.typing import Buffer

__all__ = ["IntCodec", "JsonCodec", "TextCodec"]

_INTEGER: Final = re.compile(rb"[+-]?[0-9]+")
_TORCH_INTEGER: Final = re.compile(r"torch\.u?int(?:8|16|32|64)")

MAX_DIGITS: Final = 4300
"""Python's own limit, beyond which the time that a number takes grows with the square of its length."""

_JSON: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_TOO_LARGE: Final = 10**MAX_DIGITS
_SHORT: Final = 10**18  # within every limit on digits that an interpreter can be given


def _encode_text(value: str, field: str) -> bytes:
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise EncodeError(f"no text that UTF-8 can hold: {error}", field=field) from error


def _decode_text(data: Buffer, field: str) -> str:
    try:
        return str(flat(data), "utf-8")
    except Exception as error:
        raise DecodeError(f"no UTF-8 text: {error}", field=field) from error


@final
@attrs.frozen
class TextCodec(Codec[str]):
    r"""``str`` as UTF-8.

    Characters are kept as they are: line ends are not translated, ``"\r\n"`` stays that, and a byte order mark
    stays the text's first character. Bytes that are not UTF-8 are an error, and so is a str with surrogates,
    which UTF-8 has no form for. Of a numpy string scalar the text is stored; another subclass of str would lose
    its type and is refused.
    """

    @override
    def decode(self, data: Buffer, field: str) -> str:
        return _decode_text(data, field)

    @override
    def encode(self, value: str, field: str) -> bytes:
        if type(value) is not str and type(value) is not np.str_:
            raise EncodeError(f"a text is a str, not a {type(value).__name__}: {shown(value)}", field=field)
        return _encode_text(value, field)


@final
@attrs.frozen
class IntCodec(Codec[int | str]):
    r"""``int`` as ASCII digits; a text that is no integer stays that text.

    Decoding passes over white space around the number, as in ``b"7\n"``; a sign and leading zeros are allowed.
    Everything else is UTF-8 text, returned with its white space. Numbers have at most 4300 digits, so that they
    are read in no time.

    Integer scalars of numpy, and integer arrays and tensors without dimensions, are stored as the number they
    hold. Refused is what would come back as something else: a bool (as 1 or 0), an ``IntEnum``, a float, and a
    str that reads as an integer.
    """

    @override
    def decode(self, data: Buffer, field: str) -> int | str:
        try:
            raw = bytes(flat(data))
        except Exception as error:
            raise DecodeError(f"no bytes: {error}", field=field) from error
        digits = raw.strip()
        if _INTEGER.fullmatch(digits) is None:
            return _decode_text(raw, field)
        if len(digits.lstrip(b"+-")) > MAX_DIGITS:
            raise DecodeError(f"an integer of more than {MAX_DIGITS} digits", field=field)
        try:
            return int(digits)
        except ValueError as error:  # where the interpreter was given a lower limit
            raise DecodeError(f"no integer: {error}", field=field) from error

    @override
    def encode(self, value: int | str, field: str) -> bytes:
        if type(value) is int and -_SHORT < value < _SHORT:
            return b"%d" % value
        if type(value) is str or type(value) is np.str_:
            data = _encode_text(value, field)
            if _INTEGER.fullmatch(data.strip()) is not None:
                raise EncodeError(f"{shown(value)} would come back as an int: write the number", field=field)
            return data
        number = _integer(value)
        if number is None:
            raise EncodeError(
                f"{shown(value)} is a {type(value).__name__}: an int (no subclass of it, such as bool) or a str "
                "comes back as it is",
                field=field,
            )
        if abs(number) >= _TOO_LARGE:
            raise EncodeError(f"an integer of more than {MAX_DIGITS} digits", field=field)
        try:
            return str(number).encode("ascii")
        except ValueError as error:  # where the interpreter was given a lower limit
            raise EncodeError(f"no integer that can be read again: {error}", field=field) from error


def _integer(value: Any) -> int | None:
    """Return the number that ``value`` holds; None if it is no integer scalar."""
    if type(value) is int:
        return value
    try:
        if value.shape != ():
            return None
        # A timedelta64 counts as an integer for numpy: the kind of the dtype tells.
        if getattr(value.dtype, "kind", "") in ("i", "u") or _TORCH_INTEGER.fullmatch(str(value.dtype)):
            return operator.index(value.item())
    except Exception:  # no array, or one without data
        return None
    return None


@final
@attrs.frozen
class JsonCodec(Codec[Any]):
    """JSON values as UTF-8: None, bool, int, float, str, list, and dict with str keys.

    Encoding refuses, and says at which place, what would come back as something else or is not JSON: tuples, keys
    that are not str, NaN and infinities, scalars and arrays of numpy, subclasses of the types above, enums,
    surrogates, integers of more than 4300 digits, nesting deeper than 200. Dicts keep their order; there is no
    white space between the values.

    Decoding takes what JSON is, and three things that are found in files: a byte order mark, ``NaN`` and
    ``Infinity`` as Python and others write them. A key that an object has twice is an error, since one of its
    values would be lost.
    """

    @override
    def decode(self, data: Buffer, field: str) -> Any:
        try:
            text = str(flat(data), "utf-8").removeprefix("\ufeff")
            return json.loads(text, object_pairs_hook=_dict_of)
        except RecursionError as error:
            raise DecodeError("JSON that is nested too deeply", field=field) from error
        except Exception as error:
            raise DecodeError(f"no JSON: {error}", field=field) from error

    @override
    def encode(self, value: Any, field: str) -> bytes:
        try:
            check_exact(value, _json_fault, _json_key_fault)
            return _JSON.encode(value).encode("utf-8")
        except Exception as error:
            raise EncodeError(f"no JSON value: {error}", field=field) from error


def _dict_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError(f"an object has a key twice; its keys are {shown([key for key, _ in pairs])}")
    return value


def _json_fault(value: Any) -> str | None:
    kind = type(value)
    if kind is str:
        return fault_of_text(value)
    if kind is float:
        return None if math.isfinite(value) else f"{value} is no JSON number"
    if kind is int:
        return None if -_TOO_LARGE < value < _TOO_LARGE else f"an integer of more than {MAX_DIGITS} digits"
    if kind is bool or value is None:
        return None
    return f"{shown(value)} is a {kind.__module__}.{kind.__qualname__}, which JSON does not have"


def _json_key_fault(key: Any) -> str | None:
    if type(key) is str:
        return fault_of_text(key)
    return f"it is a {type(key).__name__}, and keys must be str"
