"""Train with Lightning, stop in the middle of an epoch, and go on from its checkpoint.

Shows a `LightningDataModule` over shards. Lightning keeps the state of `Loader` in its checkpoints by itself, so that
what comes after a restart is the rest of the epoch and no sample comes twice. The images are scikit-learn's digits.

    pip install 'webds[examples]'
    python examples/lightning_module.py
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from typing_extensions import override

import webds

try:
    import lightning
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("this example needs lightning and scikit-learn: pip install 'webds[examples]'")


class Digits(lightning.LightningDataModule):
    """The digits, in shards with an index.

    Args:
        directory: where the shards are, or are written to.
        workers: number of DataLoader workers.
    """

    def __init__(self, directory: Path, workers: int = 1) -> None:
        super().__init__()
        self.directory = directory
        self.workers = workers

    @override
    def prepare_data(self) -> None:
        """Write the shards, on one process of each node."""
        if (self.directory / "test.json").exists():
            return
        pixels, labels = load_digits(return_X_y=True)
        images = (pixels.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
        for name, part in (("train", slice(300, None)), ("test", slice(300))):
            pattern = f"{self.directory}/{name}-%03d.tar"
            with webds.ShardWriter(pattern, maxcount=200, manifest=f"{name}.json") as sink:
                for i, (image, label) in enumerate(zip(images[part], labels[part], strict=True)):
                    sink.write({"__key__": f"{name}{i:05d}", "png": image, "cls": int(label)})

    def samples(self, name: str) -> webds.DatasetBuilder[webds.Sample]:
        """Return all samples of a part, by their index: its length is exact, which Lightning asks for."""
        return webds.DatasetBuilder(f"{self.directory}/{name}.json").indexed().decode("torchl")

    @override
    def train_dataloader(self) -> webds.Loader[Any]:
        """Return what is trained from: equal numbers of batches for all ranks."""
        samples = self.samples("train").shuffle(window_shards=4, seed=1).split(remainder="drop")
        return samples.to_tuple("__key__", "png", "cls").batch(32).loader(num_workers=self.workers)

    @override
    def test_dataloader(self) -> webds.Loader[Any]:
        """Return what is tested by: each sample once."""
        return self.samples("test").to_tuple("__key__", "png", "cls").batch(64).loader()


class Classifier(lightning.LightningModule):
    """A small network; it notes the keys that it is trained with.

    Args:
        checkpoint: where to save a checkpoint.
        stop: after how many batches to do so, and to stop; None for the end.
    """

    def __init__(self, checkpoint: Path, stop: int | None = None) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.keys: list[list[str]] = []
        self._checkpoint, self._stop = checkpoint, stop
        self.right = self.total = 0

    @override
    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        keys, images, labels = batch
        self.keys.append(keys)
        return nn.functional.cross_entropy(self.model(images), labels)

    @override
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if len(self.keys) == self._stop:
            self.trainer.save_checkpoint(self._checkpoint)
            raise InterruptedError

    @override
    def test_step(self, batch: Any, batch_idx: int) -> None:
        _, images, labels = batch
        self.right += int((self.model(images).argmax(1) == labels).sum())
        self.total += len(labels)

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


def fit(data: Digits, checkpoint: Path, stop: int | None = None) -> Classifier:
    """Train for three epochs, or what is left of them."""
    lightning.seed_everything(0, verbose=False)
    model = Classifier(checkpoint, stop)
    trainer = lightning.Trainer(
        max_epochs=3, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    try:
        trainer.fit(model, data, ckpt_path=str(checkpoint) if checkpoint.exists() else None)
    except InterruptedError:
        return model
    trainer.test(model, data, verbose=False)
    return model


def main() -> int:
    """Run the example; return 0 if the training that was stopped is the one that was not."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        data, checkpoint = Digits(Path(temporary)), Path(temporary) / "middle.ckpt"
        whole = fit(data, checkpoint)
        first = fit(data, checkpoint, stop=70)
        rest = fit(data, checkpoint)
    same = first.keys + rest.keys == whole.keys
    print(f"{len(first.keys)} batches, then {len(rest.keys)}; the same as {len(whole.keys)} without a stop: {same}")
    print(f"test accuracy {rest.right / rest.total:.4f} of {rest.total} samples")
    return 0 if same and rest.right / rest.total > 0.85 else 1


if __name__ == "__main__":
    sys.exit(main())
