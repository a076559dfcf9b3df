"""Prepare a training set on a Ray cluster: from raw shards to small, checked, shuffled ones, with an index.

Raw photographs come as shards of large png files with labels as JSON, some of them damaged. Tasks of Ray read them,
one a shard, leave out what cannot be decoded, bring the images to one size, and write new shards with an index and a
manifest. The samples are shuffled on the way. What was written is then read as a trainer would read it.

Without a cluster, Ray starts one on this host. With one, all hosts have to see DIRECTORY:

    pip install 'webds[ray]'
    python examples/prepare_with_ray.py [DIRECTORY]
    RAY_ADDRESS=head:6379 python examples/prepare_with_ray.py [DIRECTORY]
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import webds

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Ray says of its own settings
        import ray.data

        import webds.ray

        SETTINGS = ray.data.DataContext.get_current()
except ImportError:
    sys.exit("this example needs ray: pip install 'webds[ray]'")

SIDE = 32  # pixels
PHOTOS = 120
DAMAGED = (17, 80)


def write_raw(directory: Path) -> None:
    """Write photographs as they come: large, and some of them cut short."""
    random = np.random.default_rng(0)
    with webds.ShardWriter(str(directory / "raw-%04d.tar"), maxcount=20, encoder={"png": bytes}) as sink:
        for number in range(PHOTOS):
            pixels = random.integers(0, 256, (96, 128, 3), np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "png")
            data = file.getvalue()[: 100 if number in DAMAGED else None]
            label = {"class": number % 10, "source": f"camera-{number % 3}"}
            sink.write({"__key__": f"photo{number:05d}", "png": data, "json": label})


def prepare(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the sample that a row becomes, or nothing."""
    try:
        image = Image.open(io.BytesIO(row["png"])).convert("RGB").resize((SIDE, SIDE))
    except OSError:
        return []
    return [{"__key__": row["__key__"], "png": np.asarray(image), "cls": row["json"]["class"]}]


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path, help="where the shards go; by default a temporary one")
    directory = parser.parse_args().directory or Path(tempfile.mkdtemp(prefix="webds-ray-"))
    directory.mkdir(parents=True, exist_ok=True)
    write_raw(directory)

    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    SETTINGS.enable_progress_bars = False
    raw = webds.ray.read_shards(str(directory / "raw-*.tar"), decode=True)
    prepared = raw.flat_map(prepare).random_shuffle(seed=17).repartition(4)
    written = webds.ray.write_shards(
        prepared, directory / "train-%04d.tar", manifest="train.json", md5=True, overwrite=True
    )
    print(f"{written.samples} of {PHOTOS} photographs in {written.shards} shards")

    train = (
        webds.DatasetBuilder(str(directory / "train.json"), verify="hash")
        .indexed()
        .shuffle(0, seed=1, window_shards=2)
        .decode("torchrgb8")
        .to_tuple("png", "cls")
        .batch(16)
    )
    images, labels = next(iter(train.build()))
    print(f"batches of {tuple(images.shape)} and {tuple(labels.shape)}, in {directory}")


if __name__ == "__main__":
    main()
