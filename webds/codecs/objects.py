"""Python objects: msgpack and pickle."""

from __future__ import annotations

import io
import pickle
from typing import Any, Final, final

import attrs
from typing_extensions import override

from webds.abc import Codec
from webds.codecs.buffers import flat
from webds.codecs.exact import check_exact, fault_of_text, shown
from webds.errors import DecodeError, EncodeError, MissingExtraError, UntrustedDataError
from webds.typing import Buffer

__all__ = ["MsgpackCodec", "PickleCodec"]

_PROTOCOL: Final = 4
"""Of pickle: the same in all Pythons, so that equal values give equal bytes."""


def _msgpack() -> Any:
    try:
        import msgpack  # noqa: PLC0415  # an optional package
    except ImportError as error:
        raise MissingExtraError.of("msgpack", "msgpack", "msgpack") from error
    return msgpack


@final
@attrs.frozen
class MsgpackCodec(Codec[Any]):
    """MessagePack values: None, bool, int of 64 bits, float, str, bytes, list, dict, ``ExtType`` and ``Timestamp``.

    The keys of a dict may be any of these but lists and dicts. Encoding refuses, and says at which place, what
    would come back as something else: tuples, arrays, bytearrays, subclasses of the types above, integers beyond
    64 bits, surrogates. Dicts keep their order.

    Decoding refuses a map that has a key twice, since one of its values would be lost, and lengths that the data
    does not have, before memory is taken for them. Needs the extra ``msgpack``.
    """

    @override
    def decode(self, data: Buffer, field: str) -> Any:
        msgpack = _msgpack()
        try:
            raw = flat(data)
            _check_msgpack(msgpack, raw)
            return msgpack.unpackb(raw, raw=False, strict_map_key=False, object_pairs_hook=_dict_of)
        except Exception as error:
            raise DecodeError(f"no msgpack: {str(error) or type(error).__name__}", field=field) from error

    @override
    def encode(self, value: Any, field: str) -> bytes:
        msgpack = _msgpack()
        try:
            check_exact(value, _msgpack_fault, _msgpack_fault)
            data: bytes = msgpack.packb(value, use_bin_type=True, strict_types=True)
        except Exception as error:
            raise EncodeError(f"no msgpack value: {error}", field=field) from error
        return data


def _check_msgpack(msgpack: Any, raw: memoryview) -> None:
    """Go through the data once without making values: what this gets through is no larger than it says."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(raw)))
    unpacker.feed(raw)
    unpacker.skip()
    if unpacker.tell() != len(raw):
        raise ValueError(f"the value ends at byte {unpacker.tell()} of {len(raw)}")


def _dict_of(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError(f"a map has a key twice; its keys are {shown([key for key, _ in pairs])}")
    return value


def _msgpack_fault(value: Any) -> str | None:
    kind = type(value)
    if kind is str:
        return fault_of_text(value)
    if kind is int:
        return None if -(1 << 63) <= value < 1 << 64 else "an integer beyond 64 bits"
    if value is None or kind in {bool, float, bytes}:
        return None
    msgpack = _msgpack()
    if kind is msgpack.Timestamp or (kind is msgpack.ExtType and type(value.data) is bytes and type(value.code) is int):
        return None
    return f"{shown(value)} is a {kind.__module__}.{kind.__qualname__}, which msgpack does not have"


@final
@attrs.frozen
class PickleCodec(Codec[Any]):
    """Python objects in pickle's protocol 4.

    Whoever writes a pickle decides what code runs where it is read. So decoding refuses, unless it was told that
    the data is trusted. Encoding is harmless, and refuses what pickle cannot pickle.

    Objects come back as their own pickling makes them. This is not called `lossless`, since nothing makes them equal:
    ``object()`` is equal to itself only. Equal objects give equal bytes only as far as pickle does: it writes sets in
    their order of the moment, and an object that it meets twice as a reference.

    Attributes:
        trusted: whether the data may run code when it is decoded.
    """

    trusted: bool = False
    lossless: bool = attrs.field(default=False, init=False)

    @override
    def decode(self, data: Buffer, field: str) -> Any:
        extension = field.rpartition(".")[2] or "pyd"
        if not self.trusted:
            raise UntrustedDataError(
                "a pickle can run any code, and so it is not decoded; if you trust whoever wrote it: "
                f".with_decoder({extension!r}, webds.PickleCodec(trusted=True))",
                field=field,
            )
        try:
            file = io.BytesIO(flat(data))
            value = pickle.Unpickler(file).load()  # noqa: S301  # trusted by name
        except Exception as error:
            raise DecodeError(f"no pickle: {error}", field=field) from error
        if file.read(1):
            raise DecodeError("no pickle: something else follows the object", field=field)
        return value

    @override
    def encode(self, value: Any, field: str) -> bytes:
        try:
            return pickle.dumps(value, protocol=_PROTOCOL)
        except Exception as error:
            raise EncodeError(f"{shown(value)} cannot be pickled: {error}", field=field) from error
