"""Folders of files as samples: files of one name and several suffixes, or images in folders that are their classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias, final

import attrs
from typing_extensions import override

from webds.codecs.tables import IMAGE_EXTENSIONS
from webds.errors import SampleError, UrlError
from webds.openers.streams import open_error
from webds.tar import base_plus_ext, is_metadata
from webds.tools.items import FilePart, Item, PackSource, Part
from webds.tools.reading import Passed
from webds.urls import path_url

__all__ = ["FolderSource", "ImageFolderSource", "Splits"]

Splits: TypeAlias = Literal["first", "last"]
"""Which dot of a file's name ends the key: the first, as readers of shards have it; or the last, and the others become
``_``, so that readers will have it so, too."""


def _split(path: str, dot: Splits) -> tuple[str | None, str | None]:
    """Return key and field of a file, by its path below the folder."""
    if dot == "first":
        return base_plus_ext(path)
    folder, slash, base = path.rpartition("/")
    stem, _, suffix = base.rpartition(".")
    if not stem or not suffix or base.startswith(".") or is_metadata(path):
        return None, None
    return folder + slash + stem.replace(".", "_"), suffix.lower()


def _files(root: str, *, hidden: bool = False) -> Iterator[str]:
    """Yield the paths, below ``root`` and with ``/``, of all files, those of one folder sorted and together.

    Raises:
        OpenError: a folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise open_error("cannot read the folder", error.filename or root, error)

    for folder, folders, names in os.walk(root, onerror=fail):
        folders[:] = sorted(name for name in folders if hidden or not name.startswith("."))
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        before = "" if below == "." else below + "/"
        for name in sorted(names):
            yield before + name


def _checked(root: str | os.PathLike[str]) -> str:
    path = os.fspath(root)
    if not os.path.isdir(path):
        raise UrlError("there is no such folder", url=path)
    return path


def _digest(root: str) -> str:
    """Return a hash of the names of all files."""
    digest = hashlib.sha256()
    for path in _files(root):
        digest.update(os.fsencode(path) + b"\0")
    return digest.hexdigest()


def _part(root: str, path: str) -> FilePart:
    full = os.path.join(root, *path.split("/"))
    try:
        size = os.stat(full).st_size
    except OSError as error:
        failure = open_error("cannot read", full, error)
    else:
        return FilePart(path_url(full), size)
    raise failure


@final
@attrs.define
class FolderSource(PackSource):
    """The files below a folder; those that share a key are a sample, by the rule for the members of shards.

    Hidden folders are passed over, and so are files without a suffix, or that begin with a dot.

    Attributes:
        root: the folder.
        dot: which dot ends the key.
    """

    root: str = attrs.field(converter=_checked)
    dot: Splits = "first"
    passed: Passed = attrs.field(factory=Passed, init=False)

    @override
    def items(self) -> Iterator[Item]:
        self.passed = Passed()
        current: Item | None = None
        for path in _files(self.root):
            key, field = _split(path, self.dot)
            if key is None or field is None:
                self.passed.add(Passed(1, [path]))
                continue
            if current is None or current.key != key:
                if current is not None:
                    yield current
                current = Item(key, {}, self.root)
            if field in current.fields:
                raise SampleError(f"two files would be the field {field!r} of sample {key!r}",
                                  url=os.path.join(self.root, path), key=key, field=field, stage="pack")  # fmt: skip
            current.fields[field] = _part(self.root, path)
        if current is not None:
            yield current

    @override
    def identity(self) -> list[Any]:
        return ["folder", os.path.abspath(self.root), self.dot, _digest(self.root)]


_IMAGES: Final = frozenset(IMAGE_EXTENSIONS)


@final
@attrs.define
class ImageFolderSource(PackSource):
    """Images in folders that are their classes, as torchvision's ``ImageFolder`` has them: ``root/dog/xxx.png``.

    A sample has the image under its suffix and, as ``cls``, the number of its class: the folders directly below the
    root, sorted by name, are numbered from 0. Its key is its path below the root.

    Attributes:
        root: the folder.
        name_field: a field for the name of the class, such as ``txt``; None for none.
        dot: which dot ends the key; images often have dots in their names.
    """

    root: str = attrs.field(converter=_checked)
    name_field: str | None = None
    dot: Splits = "last"
    passed: Passed = attrs.field(factory=Passed, init=False)

    def classes(self) -> Sequence[str]:
        """Return the names of the classes, in the order of their numbers.

        Raises:
            UrlError: there are none.
        """
        with os.scandir(self.root) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        if not names:
            raise UrlError("there is no folder in this one that could be a class", url=self.root)
        return names

    @override
    def items(self) -> Iterator[Item]:
        self.passed = Passed()
        for number, name in enumerate(self.classes()):
            extra: dict[str, Part] = {"cls": str(number).encode()}
            if self.name_field is not None:
                extra[self.name_field] = name.encode("utf-8")
            yield from self._of_class(name, extra, self.passed.add)

    def _of_class(self, name: str, extra: dict[str, Part], passed: Callable[[Passed], object]) -> Iterator[Item]:
        before = ""
        for below in _files(os.path.join(self.root, name)):
            path = f"{name}/{below}"
            key, field = _split(path, self.dot)
            if key is None or field is None or field.rpartition(".")[2] not in _IMAGES:
                passed(Passed(1, [path]))
                continue
            if key == before:
                raise SampleError(f"two images would be the sample {key!r}", url=os.path.join(self.root, path), key=key,
                                  field=field, stage="pack")  # fmt: skip
            before = key
            yield Item(key, {field: _part(self.root, path), **extra}, self.root)

    @override
    def identity(self) -> list[Any]:
        return ["imagefolder", os.path.abspath(self.root), self.dot, self.name_field, _digest(self.root)]
