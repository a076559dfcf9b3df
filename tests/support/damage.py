"""Shards for the command line: good ones, and ones with every kind of fault."""

from __future__ import annotations

import contextlib
import io
import json
import random
import subprocess
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from PIL import Image
from shards import write_members
from webserver import WebServer, serving

__all__ = ["MIXED", "gnu_tar", "mixed_shard", "pictures", "png", "serving_files"]

MIXED: Sequence[tuple[str, bytes]] = (
    ("a.jpg", b"1"),
    ("a.cls", b"2"),
    ("b.jpg", b"3"),
    ("b.JPG", b"4"),
    ("README", b"5"),
    ("c.jpg", b"6"),
    ("d.jpg", b"7"),
    ("d.cls", b"8"),
    ("c.cls", b"9"),
    ("D.cls", b"0"),
)
"""Members of which only a, d and D are sound samples, and c can be made one."""


def mixed_shard(folder: Path) -> str:
    """Write a shard of `MIXED`."""
    return write_members(folder / "mixed.tar", MIXED)


def png(number: int, width: int = 8, height: int = 6) -> bytes:
    """Return a picture of one colour, that depends on its number."""
    data = io.BytesIO()
    Image.new("RGB", (width, height), (number * 20 % 256, 100, 200)).save(data, "PNG")
    return data.getvalue()


def pictures(folder: Path, count: int = 5, broken: Sequence[int] = ()) -> str:
    """Write a shard of pictures, with classes and captions; those of some numbers are broken."""
    members: list[tuple[str, bytes]] = []
    for number in range(count):
        picture = png(number) if number not in broken else b"\x89PNG\r\n\x1a\n and no more"
        members += [(f"p{number}.png", picture), (f"p{number}.cls", b"%d" % number)]
        members.append((f"p{number}.json", json.dumps({"text": f"nr {number}"}).encode()))
    return write_members(folder / "pictures.tar", members)


@contextlib.contextmanager
def serving_files(files: Mapping[str, str | Path]) -> Generator[WebServer]:
    """Run a web server that knows ranges and has files: path → name."""
    with serving() as web:
        for path, name in files.items():
            data = Path(name).read_bytes()
            web.routes[path] = lambda exchange, data=data: exchange.reply_range(data)  # type: ignore[misc]
        yield web


def gnu_tar(folder: Path, *options: str) -> str:
    """Write a shard with GNU tar, of files in a folder, and return its path."""
    files = folder / "files"
    files.mkdir()
    names: list[str] = []
    for number in range(3):
        for field, data in (("cls", b"%d" % number), ("bin", random.Random(number).randbytes(700 * number))):
            name = f"{'x' * 120 if number == 2 else 'n'}{number}.{field}"
            (files / name).write_bytes(data)
            names.append(name)
    path = folder / "gnu.tar"
    subprocess.run(["tar", *options, "-cf", path, "-C", folder, *(f"files/{name}" for name in names)], check=True)
    return str(path)
