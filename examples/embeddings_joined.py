"""Put embeddings that somebody computed later beside images that are in shards already.

Shows `join`: the embeddings are in shards of their own, in another order and of another size, and some are missing; no
image is written anew. The images are scikit-learn's handwritten digits, the embeddings their principal components. That
what belongs together is together is seen by computing each embedding from its image.

    pip install 'webds[examples]'
    python examples/embeddings_joined.py
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np
import torch

import webds

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("this example needs scikit-learn: pip install 'webds[examples]'")

DIMENSIONS = 16


def main() -> int:
    """Run the example; return 0 if every embedding is beside its image."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    flat = torch.from_numpy(images.reshape(len(images), 64)).float() / 255
    mean = flat.mean(0)
    components = torch.linalg.svd(flat - mean, full_matrices=False).Vh[:DIMENSIONS].T

    with tempfile.TemporaryDirectory() as directory:
        with webds.ShardWriter(f"{directory}/images-%03d.tar", maxcount=400, index=True) as sink:
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                sink.write({"__key__": f"digit{i:05d}", "png": image, "cls": int(label)})
        embeddings = (flat - mean) @ components
        with webds.ShardWriter(f"{directory}/embeddings-%03d.tar", maxcount=1000, index=True) as sink:
            for i in np.random.default_rng(0).permutation(len(images)):
                if i % 100:  # one in a hundred was forgotten
                    sink.write({"__key__": f"digit{i:05d}", "npy": embeddings[i].numpy()})

        companions = webds.DatasetBuilder(f"{directory}/embeddings-*.tar").indexed()
        joined = (
            webds.DatasetBuilder(f"{directory}/images-*.tar")
            .join(companions, missing="skip")
            .shuffle(500, seed=1)
            .decode("torchl")
            .to_tuple("png", "npy", "cls")
            .batch(100)
        )
        dataset = joined.build()
        matches = total = 0
        for batch, known, _ in dataset:
            computed = (batch.flatten(1) - mean) @ components
            matches += int((computed - known).abs().amax(1).lt(1e-4).sum())
            total += len(batch)
        lost = sum(dataset.stats().counts["join"].values())
    print(f"{total} of {len(images)} images have an embedding, {lost} have none; {matches} are that of their image")
    return 0 if matches == total == len(images) - lost else 1


if __name__ == "__main__":
    sys.exit(main())
