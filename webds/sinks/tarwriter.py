"""One shard: samples to the members of a tar."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, NoReturn, final

from typing_extensions import override

from webds.abc import Sink
from webds.errors import WriteError, annotate
from webds.openers.schemes import OpenerLike
from webds.sinks.archive import Archive
from webds.sinks.compression import Compression, compression_of, make_compressor
from webds.sinks.destination import destination
from webds.sinks.fields import EncoderSpec, SampleEncoder
from webds.sinks.targets import CompressedTarget, HeardTarget
from webds.tar.packing import Content
from webds.tar.writer import BLOCK, NAME_SIZE, HeaderTemplate
from webds.typing import Buffer, Sample, Writable

__all__ = ["TarWriter"]


@final
class TarWriter(Sink[Sample]):
    """Writes samples into one tar.

    A local file has a temporary name (hidden, ending in ``.part``) until `close`, and no file is there before
    the first `write`; after a crash, a file under the final name does not exist, or is the one from before. An
    existing file is refused, at creation and again at `close`; so is an object of a store that can tell. An object
    store shows nothing before `close` either. A writer that is closed without a `write` makes
    an empty archive. Members are in the order of the samples, and within one sorted by field; equal samples and
    arguments give equal bytes.

    Of a local file, up to 256 KiB are held back for a single write, so that a full disk may show at a later
    sample or at `close`; a stream gets each sample at once. What a finished shard holds is not waited for until
    it is on the disk: it survives the end of the process, but after a power cut a shard that was finished
    shortly before may be cut short, as its readers will say. ``os.sync()`` waits.

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
        overwrite: whether an existing file or object may be replaced. It is, at `close`, all at once.
        opener: opens what is not a local file, such as ``webds.ObjectStoreOpener(endpoint=…)``; None for the default.
        on_member: called after each sample with (name, offset, size) of each of its members: its path, where its
            data begins in the (uncompressed) archive, and how many bytes it has.
        on_bytes: called with all bytes of the file in their order, as they are written, to hash them for instance.

    Raises:
        WriteError: the file exists and is not to be overwritten, or is a directory.
        OpenError: there is no directory to hold the file, or nobody opens the URL.
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
        opener: OpenerLike | None = None,
        on_member: Callable[[str, int, int], object] | None = None,
        on_bytes: Callable[[Buffer], object] | None = None,
    ) -> None:
        self._ended = True  # until all arguments are known to be good
        self._archive: Archive | None = None
        self._headers = HeaderTemplate(mode, user, group, mtime)
        self._samples = encoder if isinstance(encoder, SampleEncoder) else SampleEncoder(encoder, keep_meta=keep_meta)
        self._url, path, self._open = destination(fileobj, opener, overwrite=overwrite)
        self._compression: Compression | None = compression_of(compress, path)
        self._keys: set[str] = set()
        self._pid = os.getpid()
        self._on_member, self._on_bytes = on_member, on_bytes
        self._ended = False

    @override
    def write(self, obj: Sample) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  # the older API's name
        key: str | None = None
        try:
            archive = self._archive
            if self._ended or (archive is not None and archive.failed):
                self._refuse()
            key, members = self._samples.encode(obj)
            if key in self._keys:
                _refuse_again(key)
            payload = 0
            for _, data in members:
                payload += len(data)
            if archive is None:
                archive = self._begun()
            begin = archive.written
            archive.add(key, members, payload)
            self._keys.add(key)
            if self._on_member is not None:
                self._tell(self._on_member, begin, key, members)
        except Exception as error:
            annotate(error, url=self._url, key=key, stage="write")
            raise
        return payload

    def _tell(
        self, on_member: Callable[[str, int, int], object], at: int, key: str, members: list[tuple[str, Content]]
    ) -> None:
        """Say where the members of a sample are that begins at byte ``at``."""
        for field, data in members:
            name, size = f"{key}.{field}", len(data)
            usual = len(name) <= NAME_SIZE and name.isascii()
            at += BLOCK if usual else len(self._headers.header(name, size))
            on_member(name, at, size)
            at += size + -size % BLOCK

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
        if self._ended:
            return
        if self.failed:
            self.abort()
            raise WriteError(
                "an earlier write failed in the middle, so that the shard is not whole and was given up",
                url=self._url,
                stage="write",
            )
        try:
            self._begun().finish()
        except BaseException as error:
            self.abort()
            if isinstance(error, Exception):
                annotate(error, url=self._url, stage="write")
            raise
        self._end()

    @override
    def abort(self) -> None:
        if not self._ended and self._archive is not None:
            self._archive.discard()
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._archive = None
        self._keys.clear()

    def __del__(self) -> None:
        if getattr(self, "_ended", True) or self._archive is None or self._pid != os.getpid():
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
        return self._archive is not None and self._archive.failed

    @property
    def compressed(self) -> bool:
        """Whether the archive is compressed."""
        return self._compression is not None

    def _refuse(self) -> NoReturn:
        if self._ended:
            raise WriteError("the writer is closed")
        raise WriteError("an earlier write failed in the middle; the shard cannot become whole any more")

    def _begun(self) -> Archive:
        """Return the archive, which is begun when the first sample, or the end, is to be written."""
        if self._archive is None:
            compressor = None if self._compression is None else make_compressor(self._compression)
            target = self._open()
            if self._on_bytes is not None:
                target = HeardTarget(target, self._on_bytes)
            self._archive = Archive(
                target if compressor is None else CompressedTarget(target, compressor), self._headers
            )
        return self._archive


def _refuse_again(key: str) -> NoReturn:
    raise WriteError(f"the shard has a sample with the key {key!r} already; readers would take the two for one")
