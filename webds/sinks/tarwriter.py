"""One shard: samples to the members of a tar."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from typing import Any, Final, Literal, final
from urllib.parse import urlsplit

from typing_extensions import override

from webds.abc import Sink
from webds.errors import WriteError, annotate
from webds.openers.schemes import default_opener
from webds.sinks.compression import Compression, compression_of, make_compressor
from webds.sinks.fields import EncoderSpec, SampleEncoder
from webds.sinks.targets import (
    CompressedTarget,
    FileTarget,
    OpenedTarget,
    StreamTarget,
    Target,
    is_device,
    refuse_existing,
)
from webds.tar.writer import HeaderTemplate, end_of_archive, padding
from webds.typing import Buffer, Sample, Writable
from webds.urls import local_path, path_url, scheme_of

__all__ = ["TarWriter"]

_JOINED: Final = 1 << 20
"""Samples up to this size are put together for a single write; a copy of a larger one would cost more than it saves."""


@final
class TarWriter(Sink[Sample]):
    """Writes samples into one tar.

    A local file has a temporary name (hidden, ending in ``.part``) until `close`, and no file is there before
    the first `write`; after a crash, a file under the final name does not exist, or is the one from before. An
    existing file is refused, at creation and again at `close`. A writer that is closed without a `write` makes
    an empty archive. Members are in the order of the samples, and within one sorted by field; equal samples and
    arguments give equal bytes.

    If the target fails in the middle of a write (a full disk, a broken pipe), what is there cannot be mended:
    the writer refuses further samples, and `close` aborts and raises.

    Not promised: use from several threads at once.

    Args:
        fileobj: a file's name or path, a URL that can be written (``pipe:command``, ``-`` for stdout, any
            scheme of the default opener), or an open binary stream. A stream is left open; if the writer is
            aborted, the stream gets no end of archive, so that readers see that it is cut short.
        user: owner's name of all members.
        group: group's name of all members.
        mode: permission bits of all members.
        compress: ``"gz"``, ``"bz2"``, ``"xz"`` or ``"zst"`` (extra ``zstd``); True is gzip, False is a plain
            tar, None goes by the suffix of a file's name (``.tgz``, ``.tar.gz``, ``.gz``, ``.tar.bz2``,
            ``.tar.xz``, ``.tar.zst``, …). Commands and streams are given a plain tar unless told.
        encoder: how values become bytes. True: by the extension of the field, from the default table. A dict
            extension → `webds.abc.Encoder` or function of the value: the same, with these entries coming
            first. A callable: gets a copy of the sample and returns a dict whose values are bytes. False: all
            values must be bytes. Values that are bytes-like are always stored as they are. (A `SampleEncoder`
            is all this, made before, and has its own ``keep_meta``.)
        keep_meta: whether fields that begin with ``_`` are stored (as UTF-8, under their name). Otherwise they
            are left out, and a warning says so once. They must be str (or bytes) in either case. Fields such as
            ``__key__`` or ``__url__`` are never stored.
        mtime: time of modification of all members, whole seconds since 1970.
        overwrite: whether an existing local file may be replaced. It is, at `close`, all at once.

    Raises:
        WriteError: the file exists and is not to be overwritten, or is a directory.
        OpenError: there is no directory to hold the file.
        TypeError: ``fileobj`` or ``encoder`` is nothing of the above.
        ValueError: another argument that has no meaning.
    """

    def __init__(
        self,
        fileobj: str | os.PathLike[str] | Writable,
        user: str = "bigdata",
        group: str = "bigdata",
        mode: int = 0o444,
        compress: bool | Compression | None = None,
        encoder: EncoderSpec | SampleEncoder = True,
        keep_meta: bool = False,
        *,
        mtime: int = 0,
        overwrite: bool = False,
    ) -> None:
        self._state: Literal["open", "failed", "ended"] = "ended"  # until all arguments are known to be good
        self._target: Target | None = None
        self._headers = HeaderTemplate(mode, user, group, mtime)
        self._samples = encoder if isinstance(encoder, SampleEncoder) else SampleEncoder(encoder, keep_meta=keep_meta)
        self._url, path, self._open = _destination(fileobj, overwrite=overwrite)
        self._compression: Compression | None = compression_of(compress, path)
        self._keys: set[str] = set()
        self._offset = 0
        self._pid = os.getpid()
        self._state = "open"

    @override
    def write(self, obj: Sample) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  # the older API's name
        key: str | None = None
        try:
            self._refuse_ended()
            key, members = self._samples.encode(obj)
            self._refuse_again(key)
            self._append(key, members)
        except Exception as error:
            annotate(error, url=self._url, key=key, stage="write")
            raise
        return sum(memoryview(data).nbytes for _, data in members)

    def dwrite(self, key: str, **kw: Any) -> int:
        """Write one sample whose fields are keyword arguments.

        Args:
            key: the sample's key.
            **kw: the fields; ``_`` stands for ``.`` (``seg_png=`` writes ``seg.png``), but for a first one, which
                marks metadata.

        Returns:
            The number of payload bytes.

        Raises:
            WriteError: the sample is refused, or two names become the same.
            EncodeError: a value cannot be encoded.
        """
        sample: Sample = {"__key__": key}
        for name, value in kw.items():
            field = name[:1] + name[1:].replace("_", ".")
            if field in sample:
                raise WriteError(f"two of {sorted(kw)} mean the field {field!r}", url=self._url, key=key, field=field)
            sample[field] = value
        return self.write(sample)

    @override
    def close(self) -> None:
        if self._state == "ended":
            return
        if self._state == "failed":
            self.abort()
            raise WriteError(
                "an earlier write failed in the middle, so that the shard is not whole and was given up",
                url=self._url,
                stage="write",
            )
        try:
            target = self._opened()
            target.write(end_of_archive(self._offset))
            target.commit()
        except BaseException as error:
            self.abort()
            if isinstance(error, Exception):
                annotate(error, url=self._url, stage="write")
            raise
        self._end()

    @override
    def abort(self) -> None:
        if self._state != "ended" and self._target is not None:
            self._target.discard()
        self._end()

    def _end(self) -> None:
        self._state = "ended"
        self._target = None
        self._keys.clear()

    def __del__(self) -> None:
        if getattr(self, "_state", "ended") == "ended" or self._target is None or self._pid != os.getpid():
            return  # nothing begun, or begun by the process that this one was forked from
        self.abort()
        warnings.warn(
            f"TarWriter for {self._url!r} was never closed, and what it wrote is discarded; use it in a with block",
            ResourceWarning,
            source=self,
            stacklevel=1,
        )

    @property
    def failed(self) -> bool:
        """Whether the target failed in the middle of a write, so that no whole shard can come of it."""
        return self._state == "failed"

    def _refuse_ended(self) -> None:
        if self._state == "ended":
            raise WriteError("the writer is closed")
        if self._state == "failed":
            raise WriteError("an earlier write failed in the middle; the shard cannot become whole any more")

    def _refuse_again(self, key: str) -> None:
        if key in self._keys:
            raise WriteError(f"the shard has a sample with the key {key!r} already; readers would take the two for one")

    def _append(self, key: str, members: list[tuple[str, Buffer]]) -> None:
        """Write the members of one sample; the one place that knows where in the archive each begins."""
        parts: list[Buffer] = []
        end = self._offset
        for field, data in members:
            size = len(memoryview(data))
            header = self._headers.header(f"{key}.{field}", size)
            filling = padding(size)
            parts += (header, data, filling)
            end += len(header) + size + len(filling)
        target = self._opened()
        try:
            for part in (b"".join(parts),) if end - self._offset <= _JOINED else parts:
                target.write(part)
        except BaseException:
            self._state = "failed"
            raise
        self._offset = end
        self._keys.add(key)

    def _opened(self) -> Target:
        if self._target is None:
            compressor = None if self._compression is None else make_compressor(self._compression)
            target = self._open()
            self._target = target if compressor is None else CompressedTarget(target, compressor)
        return self._target


def _destination(
    fileobj: str | os.PathLike[str] | Writable, *, overwrite: bool
) -> tuple[str | None, str | None, Callable[[], Target]]:
    """Return what to call the destination, the name that tells its compression, and how to open it."""
    if not isinstance(fileobj, str | os.PathLike):
        return _name_of(fileobj), None, lambda: StreamTarget(fileobj)
    url = os.fsdecode(fileobj)
    path = local_path(url) if isinstance(fileobj, str) else url
    if path is None or is_device(path):
        # The name in a command is the command's affair.
        name = None if scheme_of(url) == "pipe" else urlsplit(url).path
        target = url if path is None else path_url(path)
        return url, name, lambda: OpenedTarget(default_opener().open(target, "wb"))
    refuse_existing(path, overwrite=overwrite)
    return url, path, lambda: FileTarget(path, overwrite=overwrite)


def _name_of(stream: object) -> str | None:
    """Return the name of an open stream, if it has one that tells something.

    Raises:
        TypeError: it is no binary stream.
        ValueError: it is open for reading.
    """
    if not callable(getattr(stream, "write", None)):
        raise TypeError(f"cannot write to {stream!r}: expected a file's name, a path, a URL or an open stream")
    if isinstance(stream, io.TextIOBase):
        raise TypeError(f"{stream!r} takes text, and a tar is bytes: open it with mode 'wb' (sys.stdout has .buffer)")
    writable: Callable[[], bool] | None = getattr(stream, "writable", None)
    if writable is not None and not writable():
        raise ValueError(f"{stream!r} is not open for writing")
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else None
