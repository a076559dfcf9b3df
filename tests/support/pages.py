"""Shards that pages are made of."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from shards import tar_bytes, write_members

__all__ = ["HOSTILE", "garden", "hostile", "photo", "tone"]

HOSTILE: Final = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    "javascript:window.hacked=3 {{ 7 * 7 }} ${7 * 7} \u2028 \u202e \x00 <!-- &lt;"
)
"""What a page must show, and not obey."""


def photo(number: int, width: int = 640, height: int = 480, kind: str = "JPEG") -> bytes:
    """Return the file of a picture that is not like the others."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    turn = 0.7 * number
    colours = [np.sin(6 * x + turn) * 0.5 + 0.5, np.cos(5 * y - turn) * 0.5 + 0.5, (x + y) / 2]
    stream = io.BytesIO()
    Image.fromarray((np.stack(colours, axis=-1) * 255).astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


def tone(number: int, seconds: float = 0.2) -> bytes:
    """Return the file of a sound that is not like the others."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        times = np.arange(int(8000 * seconds)) / 8000
        file.writeframes((np.sin((2800 + 300 * number) * times) * 20000).astype("<i2").tobytes())
    return stream.getvalue()


def garden(folder: Path) -> list[str]:
    """Write shards with something of each kind, and return their paths.

    There are 12 samples in two shards: images 640 x 480, but for sample 3, of 24 x 16 pixels; classes ``even`` and
    ``odd``; captions ``picture number …``; JSON; sound in the even ones.
    """
    paths: list[str] = []
    for shard in range(2):
        members: list[tuple[str, bytes]] = []
        for number in range(6 * shard, 6 * shard + 6):
            key = f"plant{number:03d}"
            size = (24, 16) if number == 3 else (640, 480)
            members.append((f"{key}.jpg", photo(number, *size)))
            members.append((f"{key}.cls", b"odd" if number % 2 else b"even"))
            members.append((f"{key}.txt", f"picture number {number}".encode()))
            members.append((f"{key}.json", json.dumps({"number": number, "of": {"deep": [2**70]}}).encode()))
            if number % 2 == 0:
                members.append((f"{key}.wav", tone(number)))
        paths.append(write_members(folder / f"garden-{shard}.tar", members))
    return paths


def hostile(folder: Path) -> list[str]:
    """Write shards whose names and contents want to be more than text, and return their paths."""
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='window.hacked = 4'/>"
    key = "<script>window.hacked = 5<"
    whole = [
        (f"{key}/script>.txt", HOSTILE.encode()),
        (f"{key}/script>.cls", b"<b onclick='window.hacked = 6'>class</b>"),
        (f"{key}/script>.json", json.dumps({HOSTILE: [HOSTILE, {"__proto__": "x"}]}).encode()),
        (f"{key}/script>.png", photo(0, 400, 300, "PNG")),
        (f"{key}/script>.\"><img src=x onerror='window.hacked=7'>", b"\xff\x00field"),
        ("z\udcff\u202eexe.txt", b"\xff\xfe no text"),
        ("z\udcff\u202eexe.jpg", svg),
        ("'onmouseover='alert(8)'", b"of no sample"),
    ]
    first = write_members(folder / "<img src=x onerror='window.hacked = 9'>.tar", whole)
    broken = folder / "&lt;b&gt; ' \" broken.tar"
    broken.write_bytes(tar_bytes([("</script>.txt", bytes(2000))])[:1500])
    return [first, str(broken)]
