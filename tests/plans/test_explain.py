"""What `explain` says is what happens: its fields against those that an opener and decoders were seen to touch."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple, cast

import attrs
import pytest
from shards import write_members
from typing_extensions import Buffer, override

import webds
from webds.abc import Decoder, Opener
from webds.tar.blocks import PIECE

BIG = 3 * PIECE  # a smaller member may cost less to read than to pass over
FIELDS = ("a.x", "b.y", "c.z", "d")


@attrs.define
class _Recorded(Opener):
    """Opens files and notes which of their bytes are read."""

    ranges: list[tuple[int, int]] = attrs.field(factory=list)

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        return cast("BinaryIO", _Stream(url, self.ranges))


class _Stream(io.FileIO):
    def __init__(self, path: str, ranges: list[tuple[int, int]]) -> None:
        super().__init__(path)
        self._ranges = ranges

    def _note(self, start: int) -> None:
        self._ranges.append((start, self.tell()))

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        data = super().read(-1 if size is None else size)
        self._note(start)
        return data

    @override
    def readinto(self, buffer: Any, /) -> int:
        start = self.tell()
        count = super().readinto(buffer)
        self._note(start)
        return count


@attrs.frozen
class _Noting(Decoder[int]):
    """Notes which fields it decodes; the value is the number of bytes."""

    seen: set[str]

    @override
    def decode(self, data: Buffer, field: str) -> int:
        self.seen.add(field)
        return len(memoryview(data))


class Named(NamedTuple):
    first: Annotated[int, webds.field("a.x")]
    last: Annotated[int, webds.field("absent;d")]


def _pass_on(values: Iterator[Any]) -> Iterator[Any]:
    return values


def _size(value: Any) -> int:
    return len(memoryview(value))


Builder = webds.DatasetBuilder[webds.Sample]
Chain = Callable[[Builder], webds.DatasetBuilder[Any]]

CHAINS: dict[str, tuple[Chain, set[str] | None, set[str]]] = {
    "nothing": (lambda b: b, None, set()),
    "decode": (lambda b: b.decode(), None, set(FIELDS)),
    "to_tuple": (lambda b: b.to_tuple("b.y", "__key__"), {"b.y"}, set()),
    "decode to_tuple": (lambda b: b.decode().to_tuple("c.z", "a.x"), {"c.z", "a.x"}, {"c.z", "a.x"}),
    "alternatives": (lambda b: b.decode().to_tuple("none;d;b.y"), {"none", "d", "b.y"}, {"d", "b.y"}),
    "select": (lambda b: b.select("a.x", "d").decode(), {"a.x", "d"}, {"a.x", "d"}),
    "decode select map": (lambda b: b.decode().select("a.x").map(len), {"a.x"}, {"a.x"}),
    "rename": (lambda b: b.decode().rename(i="a.x;b.y").to_tuple("i"), {"a.x", "b.y"}, {"a.x", "b.y"}),
    "rename first": (lambda b: b.rename(d="b.y").decode().to_tuple("c.z", "d"), {"b.y", "c.z"}, {"c.z", "d"}),
    "map_dict": (lambda b: b.map_dict(d=_size).to_tuple("a.x"), {"a.x", "d"}, set()),
    "map": (lambda b: b.decode().map(dict).to_tuple("d"), None, set(FIELDS)),
    "filter": (lambda b: b.decode().filter(bool).to_tuple("d"), None, set(FIELDS)),
    "pipe": (lambda b: b.decode().pipe(_pass_on), None, set(FIELDS)),
    "map afterwards": (lambda b: b.decode().to_tuple("d").map(len), {"d"}, {"d"}),
    "associate": (lambda b: b.associate(_labels).decode().to_tuple("label", "d"), {"d", "label"}, {"d"}),
    "shuffle take repeat": (
        lambda b: b.shuffle(2).repeat(2).take(3).decode().to_tuple("b.y").batch(2),
        {"b.y"},
        {"b.y"},
    ),
    "into": (lambda b: b.into(Named), {"a.x", "d", "absent"}, {"a.x", "d"}),
    "only keys": (lambda b: b.decode().to_tuple("__key__", "__url__"), set(), set()),
}


def _labels(key: str) -> dict[str, Any]:
    return {"label": 1}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("shards")
    return write_members(folder / "x.tar", [(f"k{n}.{name}", bytes(BIG)) for n in range(2) for name in FIELDS])


def _read(url: str, ranges: list[tuple[int, int]]) -> dict[str, float]:
    """Return of each field which part of its bytes was read."""
    seen = bytearray(Path(url).stat().st_size)
    for start, end in ranges:
        seen[start:end] = b"\1" * (end - start)
    parts: dict[str, float] = {}
    with tarfile.open(url) as archive:
        for member in archive.getmembers():
            field = member.name.partition(".")[2]
            data = seen[member.offset_data : member.offset_data + member.size]
            parts[field] = max(parts.get(field, 0), sum(data) / len(data))
    return parts


def _lines(explained: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in explained.splitlines())


@pytest.mark.parametrize("name", CHAINS)
def test_explain_names_the_fields_that_are_read_and_decoded(url: str, name: str) -> None:
    chain, fields, decoded = CHAINS[name]
    opener = _Recorded()
    seen: set[str] = set()
    builder: Builder = webds.DatasetBuilder(url, opener=opener)
    for extension in ("x", "y", "z", "d"):
        builder = builder.with_decoder(extension, _Noting(seen))
    built = chain(builder).build()
    assert opener.ranges == [], "nothing is opened before the iteration"
    lines = _lines(built.explain())
    assert list(built), "something comes out"

    read = _read(url, opener.ranges)
    if fields is None:
        assert lines["read"] == "all fields"
        assert set(read.values()) == {1.0}
    else:
        said = lines["read"].partition(";")[0]
        assert said == (", ".join(sorted(fields)) or "no field")
        for field, part in read.items():
            assert (part == 1.0) if field in fields else (part < 0.5), field

    assert seen == decoded
    said = lines.get("decode", "").partition("; ")[2]
    if said != "every field that has a decoder":
        named = {part.partition(" by ")[0] for part in said.split(", ") if " by _Noting" in part}
        assert named == (decoded if "decode" in lines else set())


def test_explain_opens_nothing(url: str) -> None:
    opener = _Recorded()
    builder: Builder = webds.DatasetBuilder(url, opener=opener)
    builder.decode("rgb").to_tuple("d").explain()
    assert opener.ranges == []


def test_explain_of_a_dataset_and_of_its_builder_are_one(url: str) -> None:
    builder: webds.DatasetBuilder[Any] = webds.DatasetBuilder(url).decode("rgb").to_tuple("d").batch(2)
    assert builder.build().explain() == builder.explain() == builder.build().builder.explain()


def test_explain_marks_a_pipe_whose_order_is_its_own(url: str) -> None:
    builder: webds.DatasetBuilder[Any] = webds.DatasetBuilder(url).pipe(_pass_on)
    assert "order from here on is up to this function" in _lines(builder.explain())["pipe"]


def test_explain_shows_no_secret() -> None:
    url = "https://user:hunter2@example.org/a.tar?sig=hunter2"
    assert "hunter2" not in webds.DatasetBuilder([url]).explain()
    assert "hunter2" not in webds.DatasetBuilder(["pipe:curl -u user:hunter2 https://example.org/a.tar"]).explain()
