"""Evaluate on several ranks so that every sample counts exactly once.

Shows `split(remainder="uneven")` of an indexed data set: 1,797 digits over 3 ranks with 2 workers each, and neither is
a sample left out nor one counted twice to make the ranks equal. The ranks are processes of this machine that
torch.distributed connects (gloo); each counts what it gets right, and the sums are those of a single process.

    pip install 'webds[examples]'
    python examples/distributed_evaluation.py
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile

import numpy as np
import torch
import torch.distributed

import webds

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("this example needs scikit-learn: pip install 'webds[examples]'")

RANKS = 3


def write_shards(directory: str) -> None:
    """Write all digits into shards, with an index; and the mean image of each class, of shape (10, 64)."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    with webds.ShardWriter(f"{directory}/digits-%03d.tar", maxcount=500, manifest="digits.json") as sink:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            sink.write({"__key__": f"digit{i:05d}", "png": image, "cls": int(label)})
    means = np.stack([images[labels == label].mean(0).reshape(64) / 255 for label in range(10)])
    np.save(f"{directory}/means.npy", means.astype(np.float32))


def count(directory: str, workers: int) -> torch.Tensor:
    """Classify this rank's samples by the nearest mean; return how often each sample came, and how many are right."""
    means = torch.from_numpy(np.load(f"{directory}/means.npy"))
    builder = (
        webds.DatasetBuilder(f"{directory}/digits.json")
        .indexed()
        .split(remainder="uneven")
        .decode("torchl")
        .to_tuple("__key__", "png", "cls")
        .batch(64)
    )
    counts = torch.zeros(1797 + 1, dtype=torch.int64)
    for keys, images, labels in builder.loader(num_workers=workers):
        right = torch.cdist(images.flatten(1), means).argmin(1) == labels
        counts[[int(key.removeprefix("digit")) for key in keys]] += 1
        counts[-1] += right.sum()
    return counts


def evaluate(rank: int, directory: str) -> None:
    """Be one rank; rank 0 saves the sums."""
    meeting = f"file://{directory}/meeting"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=RANKS)
    counts = count(directory, workers=2)
    print(f"rank {rank}: {int(counts[:-1].sum())} samples", flush=True)
    torch.distributed.all_reduce(counts)
    if rank == 0:
        torch.save(counts, f"{directory}/counts.pt")
    torch.distributed.destroy_process_group()


def main() -> int:
    """Run the example; return 0 if the ranks together count what one process does."""
    with tempfile.TemporaryDirectory() as directory:
        write_shards(directory)
        # What torchrun does on several machines. This process has not used torch yet, so that it can be forked.
        context = multiprocessing.get_context("fork")
        ranks = [context.Process(target=evaluate, args=(rank, directory)) for rank in range(RANKS)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        if any(process.exitcode for process in ranks):
            return 1
        counts = torch.load(f"{directory}/counts.pt", weights_only=True)
        alone = count(directory, workers=0)
    once = int((counts[:-1] == 1).sum())
    right, right_alone = int(counts[-1]), int(alone[-1])
    print(f"{once} of {len(counts) - 1} samples came exactly once; {right} are right, {right_alone} by one process")
    return 0 if once == 1797 and torch.equal(counts, alone) else 1


if __name__ == "__main__":
    sys.exit(main())
