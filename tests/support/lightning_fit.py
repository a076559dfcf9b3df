"""Fits by Lightning, for a process of their own: Lightning changes much of the one that it runs in.

Prints, for JSON, the batches of a whole fit, of one that is stopped in the middle of its second epoch, and of one that
goes on from the checkpoint of that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from in_workers import key_of
from typing_extensions import override

import webds


class _Module(lightning.LightningModule):
    """Notes the batches it is trained with, and saves a checkpoint and stops after some."""

    def __init__(self, stop: int | None, checkpoint: Path) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self._stop = stop
        self._checkpoint = checkpoint
        self._model = torch.nn.Linear(1, 1)

    @override
    def training_step(self, batch: list[str], batch_idx: int) -> torch.Tensor:
        self.batches.append(batch)
        loss: torch.Tensor = self._model(torch.ones(len(batch), 1)).sum()
        return loss

    @override
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if len(self.batches) == self._stop:
            self.trainer.save_checkpoint(self._checkpoint)
            raise EOFError

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def _fit(builder: webds.DatasetBuilder[Any], workers: int, stop: int | None, checkpoint: Path) -> list[list[str]]:
    module = _Module(stop, checkpoint)
    trainer = lightning.Trainer(
        max_epochs=3, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    try:
        trainer.fit(
            module, builder.loader(num_workers=workers), ckpt_path=str(checkpoint) if checkpoint.exists() else None
        )
    except EOFError:
        assert len(module.batches) == stop
    return module.batches


def main(urls: list[str], checkpoint: Path) -> None:
    """Print the batches."""
    indexed = webds.DatasetBuilder(urls).indexed()
    found: list[list[list[list[str]]]] = []
    for shuffled, workers in ((indexed.shuffle(window_shards=2), 0), (indexed.shuffle(9), 2)):
        builder = shuffled.map(key_of).batch(4, collate=list)
        found.append([_fit(builder, workers, stop, checkpoint) for stop in (None, len(builder.build()) + 3, None)])
        checkpoint.unlink()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[2:], Path(sys.argv[1]))
