"""Scripts as they were written for the older system, with nothing changed but the import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import webds

# What the older system's tutorial does: shards are opened, shuffled, decoded, renamed, made tuples and batched.
TRAINING = """
import json, sys
import torch
import {package} as wds

def augment(image):
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()

def main(urls, workers):
    dataset = (
        wds.{door}(urls{options})
        .shuffle(10)
        .decode("rgb")
        .rename(image="jpg;png", label="cls")
        .to_tuple("image", "label")
        .map_tuple(augment, lambda label: label)
    )
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=workers)
    seen = []
    for images, labels in loader:
        assert images.shape[1:] == (3, 4, 5) and images.dtype == torch.float32
        for image, label in zip(images, labels.tolist()):
            assert abs(float(image.mean()) * 255 - label) < 1e-3
            seen.append(label)
    print(json.dumps(seen))

main(sys.argv[1], int(sys.argv[2]))
"""

WRITING = """
import sys
import numpy as np
import {package} as wds

with wds.ShardWriter(sys.argv[1], maxcount=5{options}) as sink:
    for i in range(20):
        sink.write({{
            "__key__": "sample%06d" % i,
            "png": np.full((4, 5, 3), i / 255.0, dtype=np.float32),
            "cls": i,
            "json": dict(number=i),
        }})
"""


def run(script: str, *arguments: str) -> str:
    """Run a script in a process of its own, in which warnings are shown and not errors, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def written(folder: Path, package: str, options: str = "") -> str:
    """Let the writing script make four shards and return the URL of all of them."""
    run(WRITING.format(package=package, options=options), f"{folder}/train-%06d.tar")
    assert len(list(folder.iterdir())) == 4
    return f"{folder}/train-{{000000..000003}}.tar"


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("written"), "webds")


def trained(urls: str, workers: int, **names: str) -> list[int]:
    script = TRAINING.format(**{"package": "webds", "door": "Dataset", "options": "", **names})
    labels: list[int] = json.loads(run(script, urls, str(workers)).splitlines()[-1])
    return labels


@pytest.mark.parametrize(("door", "workers"), [("Dataset", 2), ("WebDataset", 2)])
def test_the_training_script_runs(urls: str, door: str, workers: int) -> None:
    labels = trained(urls, workers, door=door)
    assert sorted(labels) == list(range(20))
    assert labels != sorted(labels)


def test_the_package_that_is_called_webdataset_today_runs_the_same_scripts(urls: str, tmp_path: Path) -> None:
    """Its `WebDataset` reads what ours has written, and the reverse, by the very same lines."""
    pytest.importorskip("webdataset")
    theirs = written(tmp_path, "webdataset", ", verbose=0")
    expected = list(range(20))
    assert sorted(trained(urls, 0, package="webdataset", door="WebDataset", options=", shardshuffle=4")) == expected
    assert sorted(trained(theirs, 0, door="WebDataset")) == expected


OTHER_WAYS: dict[str, str] = {
    "extensions": 'wds.WebDataset(urls, extensions="png cls", decoder="rgb8")',
    "transforms": 'wds.WebDataset(urls, extensions="png cls", transforms=[lambda x: x * 255, None], shuffle=100)',
    "methods": 'wds.Dataset(urls, suffixes=["png", "cls"]).decode("pil").map_dict(png=np.asarray).to_tuple("png cls")',
    "map": 'wds.Dataset(urls, length=20).decode("rgb8").map(lambda s: dict(a=s["png"], b=s["cls"])).to_tuple("a b")',
    "pipe": 'wds.Dataset(urls).decode("rgb8").pipe(lambda it: ((s["png"], s["cls"]) for s in it))',
}


@pytest.mark.parametrize("way", OTHER_WAYS)
def test_other_ways_to_say_it(urls: str, way: str) -> None:
    dataset = eval(OTHER_WAYS[way], {"wds": webds, "np": np, "urls": urls})
    assert sorted((label, round(float(np.asarray(image).max()))) for image, label in dataset) == [
        (i, i) for i in range(20)
    ]


def test_a_script_that_is_imported_by_spawned_workers(urls: str, tmp_path: Path) -> None:
    """The usual guard and functions of the module are all that spawn needs."""
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, torch, webds as wds\n"
        "def number(sample):\n"
        "    return sample['json']['number']\n"
        "if __name__ == '__main__':\n"
        "    dataset = wds.Dataset(sys.argv[1]).decode().map(number)\n"
        "    loader = torch.utils.data.DataLoader(dataset, 5, num_workers=1, multiprocessing_context='spawn')\n"
        "    print(sorted(int(n) for batch in loader for n in batch))\n"
    )
    done = subprocess.run([sys.executable, str(script), urls], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(list(range(20))), done.stderr


RANKS = """
import json, sys
import torch
import torch.distributed
import webds as wds

rank, urls, meeting = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.distributed.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=2)
dataset = wds.Dataset(urls, shuffle=True).decode().to_tuple("cls")
epochs = []
for workers in (2, 2, 0):
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers)
    epochs.append([label for (label,) in loader])
own = wds.Dataset(urls).decode().to_tuple("cls")
own.subset = (rank, 2)
part = [label for (label,) in own]
torch.distributed.barrier()
torch.distributed.destroy_process_group()
print(json.dumps([epochs, part]))
"""


def test_under_torch_distributed_they_split_by_worker_only_and_warn_once(urls: str, tmp_path: Path) -> None:
    """Two ranks, each of which reads everything; those who divide by themselves use subset."""
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, str(rank), urls, str(tmp_path / "meeting")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ended = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], ended
    (epochs, part), (other_epochs, other_part) = (json.loads(out.splitlines()[-1]) for out, _ in ended)
    assert epochs == other_epochs
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 3
    assert sorted(part + other_part) == list(range(20))
    assert len(part) == len(other_part)
    for _, errors in ended:
        assert errors.count("world size 2: Dataset and WebDataset divide the shards over workers") == 1
