"""Write real images into shards, and train a network from the shards.

The images are the 1,797 handwritten digits that scikit-learn ships: grey, 8 by 8 pixels. They are written as
PNG files with their classes into tar shards; a small convolutional network is then trained from these through a
DataLoader with two workers, and tested on digits that it has not seen.

    pip install 'webds[examples]'
    python examples/digits.py [DIRECTORY]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import webds

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("this example needs scikit-learn: pip install 'webds[examples]'")

TEST_EVERY = 5  # each fifth digit is for testing


def write_shards(directory: Path) -> None:
    """Write the digits into ``train-…tar`` and ``test-…tar`` shards in ``directory``."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    train = webds.ShardWriter(str(directory / "train-%04d.tar"), maxcount=200)
    test = webds.ShardWriter(str(directory / "test-%04d.tar"), maxcount=200)
    with train, test:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            sink = test if i % TEST_EVERY == 0 else train
            sink.write({"__key__": f"digit{i:05d}", "png": image, "cls": int(label)})
    for shard in sorted(directory.glob("*.tar")):
        print(f"  {shard.name}  {shard.stat().st_size:,} bytes")


def network() -> nn.Module:
    """Return a network from images of shape (N, 1, 8, 8), float32 in [0, 1], to logits of shape (N, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def train(directory: Path, epochs: int) -> nn.Module:
    """Train a network from the training shards."""
    builder = (
        webds.DatasetBuilder(str(directory / "train-*.tar"))
        .shuffle(1000, seed=17)
        .decode("torchl")
        .to_tuple("png", "cls")
        .batch(32)
    )
    print(builder.explain())
    loader = builder.loader(num_workers=2, persistent_workers=True)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(epochs):
        losses: list[float] = []
        start = time.perf_counter()
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        seconds = time.perf_counter() - start
        print(f"epoch {epoch:2d}  {len(losses)} batches  loss {np.mean(losses):.4f}  {seconds:.1f} s", flush=True)
    return model


def accuracy(model: nn.Module, directory: Path) -> float:
    """Return the share of the test digits that the network names correctly."""
    test = webds.DatasetBuilder(str(directory / "test-*.tar")).decode("torchl").to_tuple("png", "cls").batch(64)
    right = total = 0
    model.eval()
    with torch.no_grad():
        for images, labels in test.loader(num_workers=2):
            right += int((model(images).argmax(1) == labels).sum())
            total += len(labels)
    return right / total


def main() -> int:
    """Run the example; return 0 if the network is good."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", nargs="?", type=Path, help="where to write the shards; default: a temporary one")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        print(f"writing shards to {directory}")
        write_shards(directory)
        model = train(directory, options.epochs)
        result = accuracy(model, directory)
    print(f"test accuracy {result:.4f}")
    return 0 if result > 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
