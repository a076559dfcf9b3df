"""From a sample to what its members hold: names that come back as they were, values as bytes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast, final

import attrs

from webds.abc import Encoder
from webds.codecs.gzipped import GzipCodec
from webds.codecs.tables import AnyEncoder, as_encoder, default_encoders
from webds.errors import EncodeError, WriteError, annotate
from webds.tar.naming import base_plus_ext, by_extension
from webds.typing import UNREAD, Buffer, Sample

__all__ = ["EncoderSpec", "SampleEncoder"]

EncoderSpec: TypeAlias = bool | Callable[[Sample], Mapping[str, Any]] | Mapping[str, AnyEncoder] | None
"""What a writer takes as its ``encoder``; see `SampleEncoder`."""

_UNSAFE: Final = re.compile(r"[\0\n\r]")


@final
class SampleEncoder:
    """Makes the members of samples.

    Args:
        encoder: True: every field by its extension, from the default table. A dict extension → `Encoder` or
            function of the value: the same, with these entries before the default ones. A callable: called
            with a copy of the sample, it returns a dict in which all values are bytes. False or None: all
            values are bytes already. In all cases a value that is bytes-like is stored as it is.
        keep_meta: whether fields whose names begin with ``_`` are stored. If not, the first sample that has
            one makes a warning.

    Raises:
        TypeError: ``encoder``, or an entry of it, is nothing of these.
    """

    def __init__(self, encoder: EncoderSpec = True, *, keep_meta: bool = False) -> None:
        self._keep_meta = keep_meta
        self._dropped: set[str] = set()
        self._whole: Callable[[Sample], Mapping[str, Any]] | None = None
        self._by_extension: dict[str, Encoder[Any]] = {}
        if isinstance(encoder, Mapping):
            self._by_extension = _extended(default_encoders(), encoder)
        elif callable(encoder):
            self._whole = encoder
        elif encoder is True:
            self._by_extension = default_encoders()
        elif encoder is not False and encoder is not None:
            raise TypeError(
                f"encoder={encoder!r}: expected True, False, a function of the sample, or a dict such as "
                "{'flac': function or Encoder}"
            )

    def encode(self, sample: Mapping[str, Any]) -> tuple[str, list[tuple[str, Buffer]]]:
        """Return the key and, sorted, (field, content) of all members; each content is a flat buffer of bytes.

        Raises:
            WriteError: the sample has no key, no field to write, or a name that would not come back as it is.
            EncodeError: a value cannot be encoded.
        """
        key = _key_of(sample)  # for errors, as long as it is not checked
        try:
            result = self._rewritten(sample)
            key = _check_key(result, result.get("__key__", key))
            members = self._members(key, result)
        except Exception as error:
            annotate(error, key=key, stage="write")
            raise
        return key, members

    def _rewritten(self, sample: object) -> Mapping[str, Any]:
        if not isinstance(sample, Mapping):
            raise WriteError(f"a sample is a dict with a '__key__' and fields, not a {type(sample).__name__}")
        if self._whole is None:
            return sample
        result = cast("object", self._whole(dict(sample)))
        if not isinstance(result, Mapping):
            raise EncodeError(f"the encoder returned a {type(result).__name__}, not a dict of bytes")
        return result

    def _members(self, key: str, sample: Mapping[str, Any]) -> list[tuple[str, Buffer]]:
        fields = self._fields(key, sample)
        if not fields:
            raise WriteError(f"the sample has no field to write, only {sorted(sample)}")
        return [(field, self._content(field, sample[field])) for field in fields]

    def _fields(self, key: str, sample: Mapping[str, Any]) -> list[str]:
        """Return the names of the fields to write, in their order."""
        fields = [field for field in sample if not _is_internal(field)]
        for field in fields:
            _check_field(key, field)
        if not self._keep_meta:
            for field in fields:
                if field.startswith("_"):
                    self._say_dropped(field, sample[field])
            fields = [field for field in fields if not field.startswith("_")]
        return sorted(fields)

    def _say_dropped(self, field: str, value: object) -> None:
        _metadata(field, value)
        if field not in self._dropped:
            self._dropped.add(field)
            warnings.warn(
                f"the field {field!r} is metadata, since its name begins with '_', and is not written; "
                "keep_meta=True writes it (this is said once)",
                RuntimeWarning,
                stacklevel=6,
            )

    def _content(self, field: str, value: Any) -> Buffer:
        if isinstance(value, bytes):
            return value
        data = _flat(value)
        if data is not None:
            return data
        if value is UNREAD:
            raise WriteError("the field was left out when the sample was read; write needs all of it", field=field)
        if field.startswith("_"):
            return _metadata(field, value)
        return self._encode(field, value)

    def _encode(self, field: str, value: Any) -> Buffer:
        encoder = by_extension(self._by_extension, field)
        if encoder is None:
            if self._by_extension:
                why = "no encoder has its extension, and encoder={...} can add one"
            else:
                why = "encoder=False takes nothing but bytes" if self._whole is None else "the encoder let it stand"
            raise EncodeError(f"the field {field!r} holds a {type(value).__name__}, not bytes; {why}", field=field)
        try:
            result: object = encoder.encode(value, field)
        except Exception as error:
            annotate(error, field=field, stage="write")
            raise
        data = _flat(result)
        if data is None:
            raise EncodeError(f"the encoder of {field!r} returned a {type(result).__name__}, not bytes", field=field)
        return data


def _extended(table: dict[str, Encoder[Any]], own: Mapping[str, AnyEncoder]) -> dict[str, Encoder[Any]]:
    """Return ``table`` with the entries of ``own``; what compresses fields uses these as well."""
    added = {name.lower().removeprefix("."): as_encoder(encoder) for name, encoder in own.items()}
    result = table | added
    gzip = result.get("gz")
    if isinstance(gzip, GzipCodec) and "gz" not in added:
        inner = {name: encoder for name, encoder in result.items() if name != "gz"}
        result["gz"] = attrs.evolve(gzip, inner=inner)
    return result


def _flat(value: object) -> Buffer | None:
    """Return a bytes-like value as something whose length is its number of bytes; None if it is no such value."""
    if isinstance(value, bytes | bytearray):
        return value
    if not isinstance(value, memoryview):
        return None
    plain = value.format == "B" and value.ndim == 1 and value.c_contiguous
    return value if plain else value.tobytes()


def _metadata(field: str, value: object) -> Buffer:
    data = _flat(value)
    if data is not None:
        return data
    if not isinstance(value, str):
        raise WriteError(
            f"the field {field!r} is metadata, since its name begins with '_', and must be a str, "
            f"not a {type(value).__name__}",
            field=field,
        )
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise EncodeError(f"the metadata {field!r} is no text that UTF-8 can hold: {error}", field=field) from error


def _key_of(sample: object) -> str | None:
    key: object = sample.get("__key__") if isinstance(sample, Mapping) else None
    return key if isinstance(key, str) else None


def _check_key(sample: Mapping[str, Any], key: object) -> str:
    if key is None:
        raise WriteError(f"the sample has no '__key__', only {sorted(map(str, sample))}")
    if not isinstance(key, str):
        raise WriteError(f"the '__key__' must be a str, not {key!r}")
    fault = _fault_of_key(key)
    if fault is not None:
        raise WriteError(f"the key {key!r} {fault}", key=key)
    return key


def _fault_of_key(key: str) -> str | None:
    """Return what is wrong with a key, None for nothing: read again, it must be the same key."""
    base = key[key.rfind("/") + 1 :]
    if not base:
        return "names no file: a key is not empty and does not end in '/'"
    if "." in base:
        head, tail = base.split(".", 1)
        folder = key[: len(key) - len(base)]
        read_as = f"key {folder + head!r}, field {tail + '.…'!r}" if head else "no sample at all"
        return (
            f"has a dot in its last part; readers take the key up to the first dot there, and would find {read_as}. "
            "Dots are allowed in directories; replace those of the name"
        )
    if key.startswith("/") or ".." in key.split("/"):
        return "leads out of the folder that the shard would be unpacked in"
    if _UNSAFE.search(key):
        return "has a NUL or a line break in it"
    return None


def _is_internal(field: object) -> bool:
    return isinstance(field, str) and len(field) > 4 and field.startswith("__") and field.endswith("__")


def _check_field(key: str, field: object) -> None:
    if not isinstance(field, str):
        raise WriteError(f"a field's name must be a str, not {field!r}")
    if not field or "/" in field or _UNSAFE.search(field):
        raise WriteError(
            f"a field cannot be named {field!r}: names are not empty, and have no '/', NUL or line break", field=field
        )
    if field != field.lower():
        raise WriteError(
            f"the field {field!r} has upper-case letters and would be read as {field.lower()!r}; name it that",
            field=field,
        )
    if key.startswith("__") and base_plus_ext(f"{key}.{field}") != (key, field):
        raise WriteError(
            f"the member {f'{key}.{field}'!r} would be passed over: readers take '__…__' and what is in such "
            "a directory for metadata",
            field=field,
        )
