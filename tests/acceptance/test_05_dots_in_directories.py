"""Line 5, reading: dots in directories are part of the key."""

from __future__ import annotations

import io
import tarfile

from webds.tar import read_samples


def test_05_directories_with_dots_are_part_of_the_key() -> None:
    buffer = io.BytesIO()
    names = [
        "v1.0/train/a.jpg",
        "v1.0/train/a.seg.png",
        "v1.0/train.x/a.jpg",
        "./d.e/f.CLS",
        "v1.0/README",
        "v1.0/.a.b",
    ]
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    buffer.seek(0)
    assert list(read_samples(buffer)) == [
        {"__key__": "v1.0/train/a", "jpg": b"v1.0/train/a.jpg", "seg.png": b"v1.0/train/a.seg.png"},
        {"__key__": "v1.0/train.x/a", "jpg": b"v1.0/train.x/a.jpg"},
        {"__key__": "./d.e/f", "cls": b"./d.e/f.CLS"},
    ]
