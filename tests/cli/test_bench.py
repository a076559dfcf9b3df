"""``webds bench``: how much is read, by which stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import here, webds as run
from damage import mixed_shard, pictures, serving_files
from shards import numbered_shards


def measured(*arguments: str | Path) -> dict[str, Any]:
    outcome = here("bench", "--json", *arguments)
    assert outcome.status == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return {**found, "stages": {stage["name"]: stage["values"] for stage in found["stages"]}}


def test_a_report_names_the_stages(tmp_path: Path) -> None:
    outcome = run("bench", "--decode", "rgb8", pictures(tmp_path, 5))
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.lines[0].startswith("5 samples in ")
    assert [line.split()[0] for line in outcome.lines[4:9]] == ["stage", "io", "read", "decode", "consumer"]
    assert outcome.lines[6].split()[1] == "5"


def test_json_has_all_numbers(tmp_path: Path) -> None:
    shards = numbered_shards(tmp_path, 2, 50)
    found = measured("--batch", "10", *shards)
    assert (found["samples"], found["whole"], found["errors"]) == (100, True, 0)
    assert found["bytes_read"] == sum(Path(shard).stat().st_size for shard in shards)
    assert found["stages"] == {"io": found["bytes_read"], "read": 100, "batch": 10}
    assert found["seconds"] >= found["first"] > 0
    assert found["samples_per_second"] > 0
    assert found["bytes_per_second"] > 0


@pytest.mark.parametrize(
    ("options", "samples", "stages"),
    [
        (["-n", "7"], 7, ["io", "read"]),
        (["--epochs", "3"], 60, ["io", "read", "repeat"]),
        (["--shuffle", "5"], 20, ["io", "read", "shuffle"]),
        (["-f", "cls"], 20, ["io", "read", "select"]),
        (["--decode", "rgb8", "--threads", "2"], 20, ["io", "read", "decode"]),
        (["--seconds", "0"], 1, ["io", "read"]),
    ],
)
def test_options_say_what_is_done(tmp_path: Path, options: list[str], samples: int, stages: list[str]) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 20)
    found = measured(*options, shard)
    assert (found["samples"], list(found["stages"])) == (samples, stages)


def test_pictures_are_brought_to_a_size(tmp_path: Path) -> None:
    shard = pictures(tmp_path, 4)
    assert measured("--decode", "torchrgb8", "--size", "4", "-f", "png", "--batch", "2", shard)["stages"]["batch"] == 2


def test_workers_count_all_together(tmp_path: Path) -> None:
    shards = numbered_shards(tmp_path, 2, 20)
    found = measured("--workers", "2", *shards)
    assert (found["samples"], found["stages"]["read"]) == (40, 40)


def test_errors_are_raised_or_counted(tmp_path: Path) -> None:
    shard = pictures(tmp_path, 5, broken=[2])
    outcome = here("bench", "--decode", "rgb8", "--workers", "1", shard)
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith(f"webds: {shard}: the image cannot be decoded: ")
    found = measured("--decode", "rgb8", "--skip-errors", shard)
    assert (found["samples"], found["errors"]) == (4, 1)
    assert here("bench", mixed_shard(tmp_path)).status == 1


def test_remote_shards_are_measured(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 20)
    with serving_files({"/x.tar": shard}) as web:
        assert measured(web.url("/x.tar"))["bytes_read"] == Path(shard).stat().st_size


@pytest.mark.parametrize("options", [["--decode", "nonsense"], ["--size", "8"], ["--batch", "-1"]])
def test_wrong_options_are_wrong_usage(tmp_path: Path, options: list[str]) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 1)
    assert here("bench", *options, shard).status == 2
