"""``webds show``: contact sheets, and pictures in a terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from commands import here, in_terminal, webds as run
from damage import pictures, serving_files
from PIL import Image
from rich.console import Console
from shards import numbered_shards, write_members

from webds.cli.pictures import TILE, print_tiles
from webds.tools.reading import source_of
from webds.tools.sheet import Tile, draw_sheet, pick, tiles


def picture(data: bytes | Path) -> Image.Image:
    image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
    image.load()
    return image


def test_a_sheet_goes_to_standard_output_where_that_is_no_terminal(tmp_path: Path) -> None:
    outcome = run("show", "--columns", "2", pictures(tmp_path, 3))
    assert (outcome.status, outcome.err) == (0, "")
    sheet = picture(outcome.out)
    # Two beside one another, two rows; below each picture its key and two labels.
    assert (sheet.format, sheet.size) == ("PNG", (2 * 168 + 8, 2 * (160 + 3 * 16 + 8) + 8))
    # Pictures are in the middle of their places, in their own size.
    assert sheet.getpixel((8 + 80, 8 + 80)) == (0, 100, 200)
    assert sheet.getpixel((168 + 8 + 80, 8 + 80)) == (20, 100, 200)
    assert sheet.getpixel((8 + 80, 224 + 80)) == (40, 100, 200)
    assert sheet.getpixel((168 + 8 + 80, 224 + 80)) == (255, 255, 255)


def test_a_sheet_is_written_and_not_over_another_file(tmp_path: Path) -> None:
    shard = pictures(tmp_path, 3)
    output = tmp_path / "sheet.png"
    assert here("show", "-o", output, "-n", "1", shard).status == 0
    small = picture(output).size
    outcome = here("show", "-o", output, shard)
    assert (outcome.status, picture(output).size) == (1, small)
    assert here("show", "-o", output, "--overwrite", shard).status == 0
    assert picture(output).size > small


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.new("RGB", (500, 250), (250, 0, 0)).save(data, "JPEG")
    shard = write_members(tmp_path / "x.tar", [("a.jpg", data.getvalue())])
    (tile,) = tiles(source_of(shard), 1, size=64)
    assert tile.picture is not None
    assert tile.picture.size == (64, 32)
    assert picture(here("show", "--size", "64", shard).out).size == (64 + 16, 64 + 16 + 16)


def test_labels_are_texts_and_those_that_were_named(tmp_path: Path) -> None:
    shard = pictures(tmp_path, 2)
    assert [tile.labels for tile in tiles(source_of(shard), 2)] == [
        ["cls: 0", 'json: {"text": "nr 0"}'],
        ["cls: 1", 'json: {"text": "nr 1"}'],
    ]
    (tile,) = tiles(source_of(shard), 1, labels=["cls"])
    assert tile.labels == ["cls: 0"]
    few, many = (here("show", *options, shard).out for options in (["--label", "cls"], []))
    assert picture(few).height < picture(many).height


def test_a_field_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    outcome = here("show", "--image", "seg.png", pictures(tmp_path, 2))
    assert (outcome.status, outcome.out) == (1, b"")
    assert "there is no field 'seg.png': there are png, cls, json" in outcome.err


def test_the_picture_may_be_named(tmp_path: Path) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (4, 4), (1, 2, 3)).save(first, "PNG")
    Image.new("RGB", (4, 4), (4, 5, 6)).save(second, "PNG")
    shard = write_members(tmp_path / "x.tar", [("a.png", first.getvalue()), ("a.seg.png", second.getvalue())])
    assert picture(here("show", shard).out).getpixel((88, 88)) == (1, 2, 3)
    assert picture(here("show", "--image", "seg.png", shard).out).getpixel((88, 88)) == (4, 5, 6)


def test_what_cannot_be_decoded_is_said_in_its_place(tmp_path: Path) -> None:
    outcome = here("show", pictures(tmp_path, 3, broken=[1]))
    assert (outcome.status, outcome.err) == (1, "webds: 1 picture cannot be decoded\n")
    sheet = picture(outcome.out)
    assert sheet.getpixel((8 + 80, 8 + 80)) == (0, 100, 200)
    assert sheet.getpixel((168 + 9, 9)) == (228, 228, 228)


def test_samples_without_a_picture_have_their_labels(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 2)
    outcome = here("show", shard)
    assert outcome.status == 0
    assert picture(outcome.out).getpixel((9, 9)) == (228, 228, 228)


def test_what_came_before_damage_is_shown(tmp_path: Path) -> None:
    shard = Path(pictures(tmp_path, 5))
    shard.write_bytes(shard.read_bytes()[: 7 * 1024])
    outcome = here("show", shard)
    assert outcome.status == 1
    assert "cut short" in outcome.err
    assert picture(outcome.out).width == 2 * 168 + 8


def keys(found: Any) -> list[str]:
    return [sample["__key__"] for _, sample in found]


def test_random_samples_are_the_same_each_time_and_others_by_seed(tmp_path: Path) -> None:
    source = source_of(numbered_shards(tmp_path, 4, 25))
    first = keys(pick(source, 10, seed=0))
    assert first == keys(pick(source, 10, seed=0))
    assert first != keys(pick(source, 10, seed=1))
    assert len(set(first)) == 10
    assert first == sorted(first)
    assert first != keys(pick(source, 10))
    assert keys(pick(source, 1000, seed=0)) == keys(pick(source, 1000))
    assert here("show", "--random", *source.shards()).out == here("show", "--seed", "0", *source.shards()).out


def test_random_samples_of_a_stream_are_some_of_all(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 100)
    data = Path(shard).read_bytes()
    outcome = here("show", "--random", "-n", "4", "-", stdin=data)
    assert outcome.status == 0
    assert outcome.out != here("show", "-n", "4", "-", stdin=data).out
    with serving_files({"/x.tar": shard}) as web:  # without an index, it is a stream
        source = source_of(web.url("/x.tar"))
        counts = dict.fromkeys(keys(pick(source, 100)), 0)
        for seed in range(20):
            found = keys(pick(source, 10, seed=seed))
            assert len(set(found)) == 10
            assert found == sorted(found)
            for key in found:
                counts[key] += 1
    assert sum(counts[key] for key in sorted(counts)[50:]) in range(60, 141)  # of 200, half are of the second half


def test_no_samples_are_no_sheet(tmp_path: Path) -> None:
    outcome = here("show", "-o", tmp_path / "sheet.png", write_members(tmp_path / "x.tar", []))
    assert (outcome.status, outcome.err) == (1, "webds: there are no samples\n")
    assert not (tmp_path / "sheet.png").exists()


def test_a_terminal_gets_blocks_of_two_pixels(tmp_path: Path) -> None:
    outcome, text = in_terminal("show", pictures(tmp_path, 2), both=True)
    assert outcome.status == 0
    assert text.count("\x1b[38;2;0;100;200;48;2;0;100;200m▀") == 8 * 3
    assert text.count("\x1b[38;2;20;100;200;48;2;20;100;200m▀") == 8 * 3
    assert "cls: 1" in text


def test_a_terminal_without_colours_gets_keys_and_labels(tmp_path: Path) -> None:
    _, text = in_terminal("show", pictures(tmp_path, 2), both=True, env={"TERM": "dumb", "COLORTERM": ""})
    assert "▀" not in text
    assert [line.split("  ")[0] for line in text.splitlines()][:3] == ["p0", "cls: 0", 'json: {"text": "nr 0"}']


@pytest.mark.parametrize("width", [30, 60, 200])
def test_tiles_stand_beside_one_another_as_far_as_there_is_room(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system="truecolor", force_terminal=True, legacy_windows=False)
    image = Image.new("RGB", (TILE, 3), (1, 1, 1))
    found = [
        Tile("x", "k" * 100, image, ["one", "\x1b[2J [red]"]),
        Tile("x", "m", None, [], "broken"),
        Tile("x", "n", image, []),
    ]
    print_tiles(console, found)
    lines = out.getvalue().splitlines()
    together = max(1, (width + 2) // (TILE + 2))
    assert lines[0].count("▀") == TILE * (1 if together < 3 else 2)
    assert "\x1b[2J" not in out.getvalue()
    assert "\\x1b[2J [red]" in out.getvalue()
    assert "k" * (TILE - 1) + "…" in out.getvalue()
    assert "cannot be decoded: broken" in out.getvalue()


def test_odd_texts_are_drawn(tmp_path: Path) -> None:
    long = "W" * 100_000
    sheet = draw_sheet([Tile("x", long, None, ["\x00\n", "漢字 <script>", ""], "no\x1b" + " word" * 500)], size=16)
    assert sheet.size == (16 + 16, 16 + 4 * 16 + 16)
