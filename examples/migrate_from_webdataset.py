"""Move a training script from the package webdataset to webds: the old code, beside what takes its place.

Shows the same shards read by both, the one line that changes where the older front door is kept, and what the builder
says in place of it. All give equal batches; shards that either package writes are read by the other.

    pip install 'webds[examples]'
    python examples/migrate_from_webdataset.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

import webds

try:
    import webdataset  # type: ignore[import-untyped]
except ImportError:
    sys.exit("this example needs webdataset: pip install 'webds[examples]'")

wds: Any = webdataset  # it has no types


def samples() -> list[dict[str, Any]]:
    """Return samples as both packages write them."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (100, 8, 8, 3), np.uint8)
    return [{"__key__": f"{i:04d}", "png": image, "cls": i % 10, "json": {"i": i}} for i, image in enumerate(images)]


def write_old(pattern: str) -> None:
    """Write shards as before."""
    with wds.ShardWriter(pattern, maxcount=25, verbose=0) as sink:
        for sample in samples():
            sink.write({**sample, "png": sample["png"] / 255})  # floats in [0, 1]


def write_new(pattern: str) -> None:
    """Write shards now: the same lines; images may be uint8, and a crash leaves no half shard."""
    with webds.ShardWriter(pattern, maxcount=25) as sink:
        for sample in samples():
            sink.write(sample)


def read_old(urls: str) -> Iterable[Any]:
    """Read batches as before."""
    dataset: Iterable[Any] = (
        wds.WebDataset(urls, shardshuffle=False)
        .decode("torchrgb")
        .to_tuple("png", "cls", "json")
        .map_tuple(lambda image: image * 2 - 1, lambda label: label, lambda info: info["i"])
        .batched(10)
    )
    return dataset


def read_kept(urls: str) -> Iterable[Any]:
    """Read them by the older front door of webds: but for the name of the package, the code stays."""
    dataset = (
        webds.WebDataset(urls, decoder=None)
        .decode("torchrgb")
        .to_tuple("png", "cls", "json")
        .map_tuple(lambda image: image * 2 - 1, lambda label: label, lambda info: info["i"])
    )
    return torch.utils.data.DataLoader(dataset, batch_size=10)


def read_new(urls: str) -> Iterable[Any]:
    """Read them by the builder, which is typed, splits over ranks, and can be gone on with from a state."""
    return (
        webds.DatasetBuilder(urls)
        .decode("torchrgb")
        .to_tuple("png", "cls", "json")
        .map_tuple(lambda image: image * 2 - 1, lambda label: label, lambda info: info["i"])
        .batch(10)
        .loader()
    )


def equal(batches: Iterable[Any], others: Iterable[Any]) -> bool:
    """Return whether two iterations give the same batches."""
    pairs = list(zip(batches, others, strict=True))
    return len(pairs) == 10 and all(
        torch.equal(torch.as_tensor(one), torch.as_tensor(other))
        for batch in pairs
        for one, other in zip(*batch, strict=True)
    )


def main() -> int:
    """Run the example; return 0 if everything is equal."""
    results: list[bool] = []
    with tempfile.TemporaryDirectory() as directory:
        write_old(f"{directory}/old-%02d.tar")
        write_new(f"{directory}/new-%02d.tar")
        for name in ("old", "new"):
            urls = f"{directory}/{name}-{{00..03}}.tar"
            results += [equal(read_old(urls), read_kept(urls)), equal(read_old(urls), read_new(urls))]
            print(f"shards of the {name} writer: the older front door equal: {results[-2]}; the builder: {results[-1]}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
