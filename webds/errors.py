"""What can go wrong, one class each.

::

    WebdsError                      the root: catch this to catch all
    ├── TarFormatError              an archive that is damaged, cut short or not a tar (also tarfile.ReadError)
    ├── SampleError                 members that do not make up samples: fields twice, keys apart (also ValueError)
    ├── OpenError                   a URL that cannot be opened or read to its end (also OSError)
    ├── StaleIndexError             an index that does not fit its shard, or is none (also ValueError)
    ├── StateError                  a saved state that does not fit, or cannot be told (also ValueError)
    ├── UrlError                    a pattern without a match, a directory, an empty list (also ValueError)
    ├── DecodeError                 bytes that a decoder cannot turn into a value (also ValueError)
    │   └── UntrustedDataError      bytes that would run code if decoded (also PermissionError)
    ├── EncodeError                 a value that an encoder cannot turn into bytes (also ValueError)
    ├── FieldError                  a field that is not there, or of the wrong type (also KeyError, ValueError)
    ├── BatchError                  samples that do not fit into one batch (also ValueError)
    ├── WriteError                  a sample or a shard that a sink refuses (also ValueError)
    ├── EmptyDatasetError           a stream from which everything was dropped (also ValueError)
    ├── SplitError                  shards that cannot be divided as asked (also ValueError)
    ├── LengthError                 a length that is not known (also TypeError)
    ├── ErrorBudgetError            more errors than the policy lets pass (also RuntimeError)
    ├── WorkerError                 a process that came to an end before its work (also RuntimeError)
    └── MissingExtraError           an optional package that is not installed (also ImportError)

Every one says in its text where it happened, and carries the same as attributes. The text is enough to
rebuild the error: a DataLoader re-raises what a worker raised as ``type(text)``, and the attributes come back.
"""

from __future__ import annotations

import json
import re
import tarfile
from typing import Any, Final, Self

from typing_extensions import override

from webds.redaction import redact

__all__ = [
    "BatchError",
    "DecodeError",
    "EmptyDatasetError",
    "EncodeError",
    "ErrorBudgetError",
    "FieldError",
    "LengthError",
    "MissingExtraError",
    "OpenError",
    "SampleError",
    "SplitError",
    "StaleIndexError",
    "StateError",
    "TarFormatError",
    "UntrustedDataError",
    "UrlError",
    "WebdsError",
    "WorkerError",
    "WriteError",
    "annotate",
    "place_of",
]

_MARK: Final = re.compile(r"\[webds: (?P<place>\{.*\})\]")
_TYPES: Final[dict[str, type]] = {"url": str, "key": str, "field": str, "offset": int, "stage": str, "source": str}


def _mark(place: dict[str, Any]) -> str:
    """Write what is known of ``place`` so that `_split` finds it again at the end of any text."""
    known = {name: value for name, value in place.items() if value is not None}
    # Brackets of a key are escaped, so that the last "[webds: {" begins the mark and the first "}]" ends it.
    text = json.dumps(known, ensure_ascii=False, default=str).replace("[", "\\u005b").replace("]", "\\u005d")
    return f"[webds: {text}]" if known else ""


def _unmark(mark: str) -> dict[str, Any]:
    """Return the place that `_mark` wrote; nothing for a text that only looks like it, as anybody's key may."""
    found = _MARK.fullmatch(mark)
    try:
        place = json.loads(found["place"]) if found else {}
    except (ValueError, RecursionError):
        place = {}
    return {name: place[name] for name, kind in _TYPES.items() if isinstance(place.get(name), kind)}


def _split(text: str) -> tuple[str, dict[str, Any]]:
    """Return the message and the place of an error's text, or of a traceback that ends with it."""
    start = text.rfind("[webds: {")
    end = text.find("}]", start) + 2
    place = _unmark(text[start:end]) if 0 <= start < end else {}
    rest = text[end:].strip()
    if not place or "Traceback (most recent call last):" in rest:  # the mark is not this error's but its cause's
        return text, {}
    return "\n".join(filter(None, (text[:start].rstrip(), rest))), place  # what follows are notes


class WebdsError(Exception):
    """Root of all errors that webds raises.

    Args:
        message: one sentence that helps. A text that an error of this kind once produced, alone or inside a
            traceback, gives its attributes back.
        url: the shard or file, shown without its secrets.
        key: the sample.
        field: the field of the sample, or the name of the member.
        offset: byte position in the (uncompressed) stream.
        stage: what was being done: ``open``, ``read``, ``decode``, ``map``, ``batch``, ``write``, ….
        source: which source of a mix it was, by its name there.
    """

    message: str
    url: str | None
    key: str | None
    field: str | None
    offset: int | None
    stage: str | None
    source: str | None

    def __init__(
        self,
        message: str = "",
        *,
        url: str | None = None,
        key: str | None = None,
        field: str | None = None,
        offset: int | None = None,
        stage: str | None = None,
        source: str | None = None,
    ) -> None:
        message, place = _split(message)
        self.message = redact(message)
        new = {"url": url, "key": key, "field": field, "offset": offset, "stage": stage, "source": source}
        self._set({name: place.get(name) if value is None else value for name, value in new.items()})

    def _set(self, place: dict[str, Any]) -> None:
        if place["url"] is not None:
            place["url"] = redact(place["url"])
        self.__dict__.update(place)
        super().__init__(f"{self.message} {_mark(place)}".rstrip())

    def locate(
        self,
        *,
        url: str | None = None,
        key: str | None = None,
        field: str | None = None,
        offset: int | None = None,
        stage: str | None = None,
        source: str | None = None,
    ) -> Self:
        """Fill in what is not yet known of the place, and return the same error.

        The innermost word counts: what is known already stays.
        """
        new = {"url": url, "key": key, "field": field, "offset": offset, "stage": stage, "source": source}
        self._set({name: value if getattr(self, name) is None else getattr(self, name) for name, value in new.items()})
        return self

    @override
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        notes: list[str] = getattr(self, "__notes__", [])
        return (type(self), (str(self),), {"__notes__": notes}) if notes else (type(self), (str(self),))


class TarFormatError(WebdsError, tarfile.ReadError):
    """An archive that is damaged, cut short, or no tar at all."""


class SampleError(WebdsError, ValueError):
    """Members that do not make up whole samples: a field twice, a key that comes back, nothing recognised."""


class OpenError(WebdsError, OSError):
    """A URL that cannot be opened, or whose stream ends in an error."""


class StaleIndexError(WebdsError, ValueError):
    """An index that is damaged, or says of a shard what is not so: it is of another version of the shard."""


class UrlError(WebdsError, ValueError):
    """A URL or pattern that names nothing to read: no match, an empty list, a directory."""


class DecodeError(WebdsError, ValueError):
    """Bytes that a decoder cannot turn into a value."""


class UntrustedDataError(DecodeError, PermissionError):
    """Data or a list that would make this process run code, and was not trusted by name."""


class EncodeError(WebdsError, ValueError):
    """A value that an encoder cannot turn into bytes from which it would come back."""


class FieldError(WebdsError, KeyError, ValueError):
    """A field that the sample does not have, or that has not the type it was declared with."""


class BatchError(WebdsError, ValueError):
    """Samples that do not fit into one batch."""


class WriteError(WebdsError, ValueError):
    """A sample or a shard that a sink refuses; nothing of it was written."""


class EmptyDatasetError(WebdsError, ValueError):
    """A stream from which everything that went in was dropped."""


class SplitError(WebdsError, ValueError):
    """Shards that cannot be divided over ranks and workers as asked."""


class LengthError(WebdsError, TypeError):
    """A length that is not known before everything has been read."""


class StateError(WebdsError, ValueError):
    """A saved state that does not fit what it is loaded into, or cannot be told."""


class ErrorBudgetError(WebdsError, RuntimeError):
    """More errors than the policy was told to let pass."""


class WorkerError(WebdsError, RuntimeError):
    """A process that came to an end before its work did, or an exception of it that could not be handed on."""


class MissingExtraError(WebdsError, ImportError):
    """An optional package that is not installed; the text names the extra that brings it."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> Self:
        """Return the error for ``package``, needed for ``purpose`` and brought by ``webds[extra]``."""
        return cls(f"{purpose} needs the package {package!r}, which is not installed: pip install 'webds[{extra}]'")


def annotate(
    error: BaseException,
    *,
    url: str | None = None,
    key: str | None = None,
    field: str | None = None,
    stage: str | None = None,
    source: str | None = None,
) -> None:
    """Say where ``error`` happened: as attributes of a `WebdsError`, as a note on anybody else's exception.

    The innermost word counts: what is known already stays.
    """
    if isinstance(error, WebdsError):
        error.locate(url=url, key=key, field=field, stage=stage, source=source)
        return
    place = {"stage": stage, "url": None if url is None else redact(url), "key": key, "field": field, "source": source}
    notes: list[str] = getattr(error, "__notes__", [])
    for i, note in enumerate(notes):
        if _unmark(note):
            notes[i] = _mark(place | place_of(error))
            return
    error.add_note(_mark(place))


def place_of(error: BaseException) -> dict[str, Any]:
    """Return what is known of where ``error`` happened: any of ``url, key, field, offset, stage, source``."""
    if isinstance(error, WebdsError):
        names = ("url", "key", "field", "offset", "stage", "source")
        return {name: value for name in names if (value := getattr(error, name)) is not None}
    return next(filter(None, map(_unmark, getattr(error, "__notes__", ()))), {})
