"""Learn which caption belongs to which image, from samples with types.

Shows `into`: an attrs class names the fields of a sample, how they are decoded, and their types, which a type checker
then knows in the whole training loop. The images are scikit-learn's handwritten digits, each with a caption such as
"a handwritten seven". A small image encoder and a text encoder learn to agree; then each caption is looked for by its
image, among all captions.

    pip install 'webds[examples]'
    python examples/image_text_pairs.py
"""

from __future__ import annotations

import functools
import itertools
import sys
import tempfile
from typing import Annotated

import attrs
import numpy as np
import torch
from torch import nn

import webds

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("this example needs scikit-learn: pip install 'webds[examples]'")

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATES = ("a handwritten {}", "the digit {}", "somebody wrote a {}")


@attrs.frozen
class Pair:
    """One sample: an image of shape (1, 8, 8), float32 in [0, 1], and what it shows in words."""

    image: Annotated[torch.Tensor, webds.field("png", "torchl")]
    caption: Annotated[str, webds.field("txt")]


@attrs.frozen
class Pairs:
    """A batch of N: images of shape (N, 1, 8, 8), and which letters are side by side in the captions, (N, 64)."""

    images: torch.Tensor
    letters: torch.Tensor


@functools.cache
def letters_of(caption: str) -> torch.Tensor:
    """Return how often each pair of neighbouring letters is in a caption, by a hash of it: shape (64,)."""
    pairs = torch.tensor([(31 * ord(a) + ord(b)) % 64 for a, b in itertools.pairwise(caption)])
    return torch.bincount(pairs, minlength=64).float()


def together(pairs: list[Pair]) -> Pairs:
    """Make a batch."""
    return Pairs(torch.stack([pair.image for pair in pairs]), torch.stack([letters_of(p.caption) for p in pairs]))


def write_shards(pattern: str) -> None:
    """Write images and captions."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    with webds.ShardWriter(pattern, maxcount=300) as sink:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            caption = TEMPLATES[i % len(TEMPLATES)].format(NAMES[label])
            sink.write({"__key__": f"pair{i:05d}", "png": image, "txt": caption})


def main() -> int:
    """Run the example; return 0 if most images find their caption."""
    torch.manual_seed(0)
    image_encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
    text_encoder = nn.Linear(64, 32)
    optimizer = torch.optim.AdamW([*image_encoder.parameters(), *text_encoder.parameters()], lr=1e-2)
    with tempfile.TemporaryDirectory() as directory:
        write_shards(f"{directory}/pairs-%04d.tar")
        shards = sorted(f"{directory}/pairs-{n:04d}.tar" for n in range(6))
        train = webds.DatasetBuilder(shards[:-1]).shuffle(1000, seed=1).into(Pair).batch(64, collate=together)
        loader = train.loader()
        for _ in range(6):
            for batch in loader:
                similar = image_encoder(batch.images) @ text_encoder(batch.letters).T / 8
                # A caption may belong to several images of a batch: all of these are right.
                right = (batch.letters.unsqueeze(1) == batch.letters).all(2).float()
                loss = nn.functional.cross_entropy(similar, right / right.sum(1, keepdim=True))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        test = list(webds.DatasetBuilder(shards[-1]).into(Pair).build())
    captions = [template.format(name) for name in NAMES for template in TEMPLATES]
    with torch.no_grad():
        known = text_encoder(torch.stack([letters_of(caption) for caption in captions]))
        found = (image_encoder(torch.stack([pair.image for pair in test])) @ known.T).argmax(1)
    right_name = [captions[i].split()[-1] == pair.caption.split()[-1] for i, pair in zip(found, test, strict=True)]
    result = sum(right_name) / len(right_name)
    print(f"{result:.4f} of {len(test)} images find a caption with the right word")
    return 0 if result > 0.8 else 1


if __name__ == "__main__":
    sys.exit(main())
