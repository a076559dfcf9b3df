"""From a sample to what its members hold: names that come back as they were, values as bytes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast, final

import attrs
from typing_extensions import override

from webds.abc import Encoder
from webds.codecs.gzipped import GzipCodec
from webds.codecs.tables import AnyEncoder, as_encoder, default_encoders
from webds.errors import EncodeError, WriteError, annotate
from webds.tar.naming import base_plus_ext, by_extension
from webds.tar.packing import Content
from webds.typing import UNREAD, Sample

__all__ = ["EncoderSpec", "SampleEncoder"]

EncoderSpec: TypeAlias = bool | Callable[[Sample], Mapping[str, Any]] | Mapping[str, AnyEncoder] | None
"""What a writer takes as its ``encoder``; see `SampleEncoder`."""

Layout: TypeAlias = list[tuple[str, Encoder[Any] | None]]
"""The fields of a sample that are written, in their order, and what encodes them; None if nothing does."""

Members: TypeAlias = tuple[str, list[tuple[str, Content]]]
"""A key, and (field, content) of the members that have it."""

# None of what `_check_key` refuses, and no metadata, whatever the fields are.
_PLAIN_KEY: Final = re.compile(r"(?!__|/)[^.\0\n\r]*[^./\0\n\r]").fullmatch
_BYTES_LIKE: Final = (bytes, bytearray, memoryview)
_MAX_LAYOUTS: Final = 1000
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
        self._layouts: dict[tuple[str, ...], Layout] = {}
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

    def encode(self, sample: Mapping[str, Any]) -> Members:
        """Return the key and, sorted, (field, content) of all members.

        The length of each content is its number of bytes.

        Raises:
            WriteError: the sample has no key, no field to write, or a name that would not come back as it is.
            EncodeError: a value cannot be encoded.
        """
        layout = self._layouts.get(tuple(sample)) if type(sample) is dict else None
        if layout is None:
            return self._encode_any(sample)
        key = sample["__key__"]
        if type(key) is not str or _PLAIN_KEY(key) is None:
            return self._encode_any(sample)
        members: list[tuple[str, Content]] = []
        try:
            for field, encoder in layout:
                value = sample[field]
                members.append((field, value if type(value) is bytes else self._content(field, value, encoder)))
        except Exception as error:
            annotate(error, key=key, stage="write")
            raise
        return key, members

    def _encode_any(self, sample: Mapping[str, Any]) -> Members:
        """Do `encode` with all checks, and remember what of them need not be done again."""
        key = _key_of(sample)  # for errors, as long as it is not checked
        try:
            result = self._rewritten(sample)
            key = _check_key(result, result.get("__key__", key))
            layout = [(field, self._encoder(field)) for field in self._fields(key, result)]
            members = [(field, self._content(field, result[field], encoder)) for field, encoder in layout]
        except Exception as error:
            annotate(error, key=key, stage="write")
            raise
        self._remember(result, layout)
        return key, members

    def _remember(self, sample: Mapping[str, Any], layout: Layout) -> None:
        """Keep the layout of samples with the names of this one, where names alone decide on it."""
        if self._whole is not None or "__key__" not in sample or len(self._layouts) >= _MAX_LAYOUTS:
            return
        if all(type(name) is str and (not name.startswith("_") or _is_internal(name)) for name in sample):
            self._layouts[tuple(sample)] = layout

    def _rewritten(self, sample: object) -> Mapping[str, Any]:
        if not isinstance(sample, Mapping):
            raise WriteError(f"a sample is a dict with a '__key__' and fields, not a {type(sample).__name__}")
        if self._whole is None:
            return sample
        result = cast("object", self._whole(dict(sample)))
        if not isinstance(result, Mapping):
            raise EncodeError(f"the encoder returned a {type(result).__name__}, not a dict of bytes")
        return result

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
        if not fields:
            raise WriteError(f"the sample has no field to write, only {sorted(sample)}")
        return sorted(fields)

    def _say_dropped(self, field: str, value: object) -> None:
        if _flat(value) is None:
            _check_metadata(field, value)
        if field not in self._dropped:
            self._dropped.add(field)
            warnings.warn(
                f"the field {field!r} is metadata, since its name begins with '_', and is not written; "
                "keep_meta=True writes it (this is said once)",
                RuntimeWarning,
                stacklevel=6,
            )

    def _encoder(self, field: str) -> Encoder[Any] | None:
        return _METADATA if field.startswith("_") else by_extension(self._by_extension, field)

    def _content(self, field: str, value: Any, encoder: Encoder[Any] | None) -> Content:
        data = _flat(value)
        if data is not None:
            return data
        if value is UNREAD:
            raise WriteError("the field was left out when the sample was read; write needs all of it", field=field)
        if encoder is None:
            raise self._no_encoder(field, value)
        try:
            result: object = encoder.encode(value, field)
        except Exception as error:
            annotate(error, field=field, stage="write")
            raise
        data = result if type(result) is bytes else _flat(result)
        if data is None:
            raise EncodeError(f"the encoder of {field!r} returned a {type(result).__name__}, not bytes", field=field)
        return data

    def _no_encoder(self, field: str, value: object) -> EncodeError:
        if self._by_extension:
            why = "no encoder has its extension, and encoder={...} can add one"
        else:
            why = "encoder=False takes nothing but bytes" if self._whole is None else "the encoder let it stand"
        return EncodeError(f"the field {field!r} holds a {type(value).__name__}, not bytes; {why}", field=field)


@final
class _MetadataEncoder(Encoder[Any]):
    """Stores metadata, whatever its extension."""

    @override
    def encode(self, value: Any, field: str) -> bytes:
        return _check_metadata(field, value)


_METADATA: Final = _MetadataEncoder()


def _extended(table: dict[str, Encoder[Any]], own: Mapping[str, AnyEncoder]) -> dict[str, Encoder[Any]]:
    """Return ``table`` with the entries of ``own``; what compresses fields uses these as well."""
    added = {name.lower().removeprefix("."): as_encoder(encoder) for name, encoder in own.items()}
    result = table | added
    gzip = result.get("gz")
    if isinstance(gzip, GzipCodec) and "gz" not in added:
        inner = {name: encoder for name, encoder in result.items() if name != "gz"}
        result["gz"] = attrs.evolve(gzip, inner=inner)
    return result


def _flat(value: object) -> Content | None:
    """Return a bytes-like value as something whose length is its number of bytes; None if it is no such value."""
    if not isinstance(value, _BYTES_LIKE):
        return None
    if type(value) is bytes or type(value) is bytearray:  # a subclass may have another length
        return value
    view = memoryview(value)
    return view if view.format == "B" and view.ndim == 1 and view.c_contiguous else view.tobytes()


def _check_metadata(field: str, value: object) -> bytes:
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
    return key if type(key) is str else str.__str__(key)  # a subclass may be shown as something else


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
