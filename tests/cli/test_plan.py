"""``webds plan``: what an epoch will be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import here, webds as run
from damage import serving_files
from shards import numbered_shards

import webds


def planned(*arguments: str | Path) -> dict[str, Any]:
    outcome = here("plan", "--json", *arguments)
    assert outcome.status == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def manifest_of(folder: Path, shards: int = 6, samples: int = 10) -> Path:
    """Return the manifest of new shards, with their numbers of samples."""
    webds.build_index(numbered_shards(folder, shards, samples), manifest=f"{folder}/index.json")
    return folder / "index.json"


def test_it_is_printed_in_lines(tmp_path: Path) -> None:
    outcome = run("plan", "--ranks", "4", "--workers", "2", "--batch", "4", manifest_of(tmp_path))
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.lines[:4] == [
        "places     4 ranks on 1 node, 2 workers each",
        "samples    60 in 6 shards",
        "per rank   3 batches of 4, of 12 samples",
        "remainder  12 samples dropped, 0 padded",
    ]
    assert [line.split()[0] for line in outcome.lines[4:]] == ["per", "open", "shuffled"]


def test_it_is_what_loaders_do(tmp_path: Path) -> None:
    shards = numbered_shards(tmp_path, 3, 7)
    found = planned("--batch", "4", "--workers", "2", "--remainder", "pad", *shards)
    builder = webds.DatasetBuilder(shards).indexed().split(remainder="pad").to_tuple("cls").batch(4)
    assert found["batches"] == [len(list(builder.loader(num_workers=2)))]
    assert found["padded"] == sum(len(batch[0]) for batch in builder.build()) - 21


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--ranks", "2", "--batch", "8"], {"batches": [3, 3], "dropped": 12}),
        (["--ranks", "2", "--batch", "8", "--remainder", "pad"], {"batches": [4, 4], "padded": 4}),
        (["--ranks", "2", "--batch", "8", "--remainder", "uneven"], {"batches": [4, 4], "delivered": [30, 30]}),
        (["--ranks", "4", "--nodes", "2", "--own", "--batch", "5"], {"nodes": 2, "batches": [3] * 4}),
        (["--ranks", "2", "--stream"], {"delivered": [30, 30], "shards_open": 1}),
        (["--window", "3"], {"shards_open": 3, "batch_size": None}),
        (["--epoch", "7"], {"epoch": 7, "steps": 60}),
    ],
)
def test_options_say_who_reads(tmp_path: Path, options: list[str], expected: dict[str, Any]) -> None:
    found = planned(*options, manifest_of(tmp_path))
    assert {name: found[name] for name in expected} == expected


def test_shuffling_moves_samples(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    still = planned("--seed", "3", manifest)["displacement"]["mean"]
    assert still == 0
    assert planned("--shuffle", "10", manifest)["displacement"]["mean"] > 0
    assert planned("--window", "2", manifest)["displacement"]["mean"] > 0


def test_no_data_are_read(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    before = planned("--ranks", "3", "--batch", "2", manifest)
    for shard in tmp_path.glob("*.tar"):
        shard.write_bytes(b"x" * shard.stat().st_size)
    assert planned("--ranks", "3", "--batch", "2", "--stream", manifest)["samples"] == before["samples"] == 60


def test_a_remote_manifest_will_do(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    with serving_files({f"/{path.name}": str(path) for path in tmp_path.iterdir()}) as web:
        found = planned("--ranks", "2", "--batch", "8", web.url(f"/{manifest.name}"))
    assert (found["batches"], found["samples"]) == ([3, 3], 60)


def test_a_broken_shard_is_an_error_of_one_line(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 5)
    Path(shard).write_bytes(Path(shard).read_bytes()[:3000])
    outcome = here("plan", shard)
    assert (outcome.status, outcome.out) == (1, b"")
    assert outcome.err.startswith(f"webds: {shard}: ")
    assert outcome.err.count("\n") == 1


def test_streams_of_unknown_length_cannot_be_planned(tmp_path: Path) -> None:
    outcome = here("plan", "--stream", *numbered_shards(tmp_path, 2, 5))
    assert outcome.status == 1
    assert outcome.err.startswith("webds: it is not known how many samples the shards have")


@pytest.mark.parametrize(
    "options", [["--ranks", "0"], ["--ranks", "3", "--nodes", "2"], ["--stream", "--window", "2"], ["--batch", "-1"]]
)
def test_wrong_options_are_wrong_usage(tmp_path: Path, options: list[str]) -> None:
    assert here("plan", *options, *numbered_shards(tmp_path, 1, 1)).status == 2
