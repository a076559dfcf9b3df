"""Which opener opens which URL, by its scheme; and the functions of the older system that open URLs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Literal, TypeAlias, final

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers.command import CommandOpener
from webds.openers.file import FileOpener
from webds.openers.fsspec import FsspecOpener
from webds.openers.functions import FunctionOpener
from webds.openers.http import HttpOpener
from webds.openers.objectstore import ObjectStoreOpener
from webds.openers.pipe import PipeOpener
from webds.openers.stdio import StdioOpener
from webds.openers.streams import BUFFER_SIZE
from webds.typing import ReadableStream
from webds.urls import check_scheme, local_path, path_url, scheme_of

__all__ = [
    "OpenerLike",
    "SchemeOpener",
    "as_opener",
    "default_opener",
    "gopen",
    "local_path",
    "reader",
    "scheme_of",
    "scheme_to_command",
]

scheme_to_command: dict[str, str] = {}
"""Scheme → shell command template with ``{url}``, such as ``{"gs": "gsutil cat '{url}'"}``; see `CommandOpener`.

Consulted whenever a URL is opened, before the schemes that are built in. Only code fills it; a URL never
becomes a part of a command.
"""

OpenerLike: TypeAlias = Opener | Callable[[str], ReadableStream] | str
"""An opener, a function from URL to binary stream, or a shell command template with ``{url}``."""


def _by_scheme(openers: Mapping[str, Opener]) -> dict[str, Opener]:
    return {check_scheme(scheme): opener for scheme, opener in openers.items()}


def _copied(commands: Mapping[str, str]) -> dict[str, str]:
    return dict(commands)


def _schemes_only(commands: Mapping[str, str]) -> str:
    """Return what may be shown of command templates."""
    return repr(sorted(commands))


@final
@attrs.frozen
class SchemeOpener(Opener):
    """Opens every URL with the opener of its scheme.

    Asked in this order: ``openers``; `scheme_to_command`; what is built in (paths and ``file:``, ``-``, ``pipe:``,
    ``http:``, ``https:``, and ``s3:``, ``gs:``, ``az:`` where obstore is installed); and any scheme that fsspec
    knows. A pickled one takes `scheme_to_command` along, since
    a spawned worker has not run the code that filled it.

    Attributes:
        openers: scheme → opener; the scheme of paths is ``"file"``.
        buffer_size: bytes that the built-in openers read or write at once; below 1, a default.
        commands: more templates like those of `scheme_to_command`, which win over these.
    """

    openers: Mapping[str, Opener] = attrs.field(factory=dict[str, Opener], converter=_by_scheme)
    buffer_size: int = BUFFER_SIZE
    commands: Mapping[str, str] = attrs.field(factory=dict[str, str], converter=_copied, repr=_schemes_only)

    def with_opener(self, scheme: str, opener: OpenerLike) -> SchemeOpener:
        """Return one that opens URLs of ``scheme`` with ``opener``.

        Args:
            scheme: such as ``"hdfs"``; ``"file"`` for paths.
            opener: see `as_opener`.
        """
        return attrs.evolve(self, openers={**self.openers, check_scheme(scheme): as_opener(opener)})

    def opener_of(self, url: str) -> Opener:
        """Return the opener of the scheme of ``url``.

        Raises:
            OpenError: nobody knows the scheme.
        """
        scheme = scheme_of(url)
        if scheme in self.openers:
            return self.openers[scheme]
        template = scheme_to_command.get(scheme) or self.commands.get(scheme)
        if template is not None:
            return CommandOpener(template, buffer_size=self.buffer_size)
        match scheme:
            case "file":
                return FileOpener(self.buffer_size)
            case "-":
                return StdioOpener()
            case "pipe":
                return PipeOpener(self.buffer_size)
            case "http" | "https":
                return HttpOpener(buffer_size=self.buffer_size)
            case "s3" | "gs" | "az" if ObjectStoreOpener.knows(scheme) or not FsspecOpener.has_package(scheme):
                return ObjectStoreOpener(buffer_size=self.buffer_size)
            case _:
                pass
        if FsspecOpener.knows(scheme):
            return FsspecOpener(buffer_size=self.buffer_size)
        raise OpenError(
            f"nothing here opens URLs of the scheme {scheme!r}; register an opener with "
            f"with_opener({scheme!r}, …), or a command with webds.scheme_to_command[{scheme!r}] = \"… '{{url}}'\"",
            url=url,
        )

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        return self.opener_of(url).open(url, mode)

    @override
    def size(self, url: str) -> int | None:
        return self.opener_of(url).size(url)

    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        return self.opener_of(url).read_range(url, start, length)

    @override
    def open_local(self, url: str) -> BinaryIO | None:
        return self.opener_of(url).open_local(url)

    @override
    def list(self, pattern: str) -> Sequence[str]:
        return self.opener_of(pattern).list(pattern)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return SchemeOpener, (dict(self.openers), self.buffer_size, {**self.commands, **scheme_to_command})


def default_opener() -> SchemeOpener:
    """Return the opener that knows what is built in, and what `scheme_to_command` says."""
    return SchemeOpener()


def as_opener(opener: OpenerLike) -> Opener:
    """Return ``opener`` as an `Opener`.

    Args:
        opener: an `Opener`, a function from URL to binary stream, or a shell command template with ``{url}``.

    Raises:
        TypeError: it is none of these.
        ValueError: a template without ``{url}``.
    """
    if isinstance(opener, Opener):
        return opener
    if isinstance(opener, str):
        return CommandOpener(opener)
    if opener is reader or opener is gopen:
        return default_opener()
    given: object = opener
    if isinstance(given, type) and issubclass(given, Opener):
        raise TypeError(f"{given.__name__} is a class: expected an instance, {given.__name__}()")
    if callable(given):
        return FunctionOpener(opener)
    raise TypeError(
        f"{opener!r} opens nothing: expected a webds.Opener, a function from URL to binary stream, "
        "or a shell command with {url}"
    )


def gopen(url: str | os.PathLike[str], mode: str = "rb", bufsize: int = 8192) -> BinaryIO:
    """Open a URL or path as a binary stream, which the caller closes.

    Args:
        url: ``-``, a path, ``file:``, ``pipe:command``, ``http(s)://``, a scheme of `scheme_to_command`, or any
            other that fsspec knows.
        mode: ``"rb"`` or ``"wb"``.
        bufsize: bytes that are read or written at once; below 1, a default.

    Raises:
        OpenError: it cannot be opened. Reading, writing or closing the stream raises it too: a command's exit
            status shows at its end.
        ValueError: another mode.
    """
    if mode not in ("rb", "wb"):
        raise ValueError(f"mode={mode!r}: expected 'rb' or 'wb'")
    text = url if isinstance(url, str) else path_url(os.fsdecode(url))
    return SchemeOpener(buffer_size=bufsize).open(text, "wb" if mode == "wb" else "rb")


def reader(url: str | os.PathLike[str]) -> BinaryIO:
    """Open a URL or path for reading; see `gopen`."""
    return gopen(url, "rb")
