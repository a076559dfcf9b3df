"""Train, be killed in the middle of an epoch, and go on as if nothing had happened.

Shows `Loader.state_dict` in a checkpoint. A process trains, and kills itself with SIGKILL, as a machine does that is
out of memory; a second one goes on from the last checkpoint, with another number of workers; a third one trains without
being killed. What was done after the last checkpoint is done again, and nothing else: every key of each epoch is
accounted for, and the two networks are equal to the last bit.

    pip install 'webds[examples]'
    python examples/resume_after_kill.py
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import webds

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("this example needs scikit-learn: pip install 'webds[examples]'")

EPOCHS, EVERY = 2, 5


def write_shards(directory: Path) -> None:
    """Write all digits into shards, with an index: so a state can be loaded for any number of workers."""
    pixels, labels = load_digits(return_X_y=True)
    with webds.ShardWriter(f"{directory}/digits-%03d.tar", maxcount=300, manifest="digits.json") as sink:
        for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            sink.write({"__key__": f"digit{i:05d}", "npy": image.astype(np.float32) / 16, "cls": int(label)})


def train(directory: Path, name: str, workers: int, die_after: int | None) -> None:
    """Train for two epochs, or what is left of them, with a checkpoint after every fifth batch; log all keys."""
    torch.manual_seed(0)
    model = nn.Linear(64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = (
        webds.DatasetBuilder(f"{directory}/digits.json")
        .indexed()
        .shuffle(window_shards=3, seed=5)
        .decode()
        .to_tuple("__key__", "npy", "cls")
        .batch(64)
        .loader(num_workers=workers)
    )
    checkpoint, log = directory / f"{name}.pt", directory / f"{name}.jsonl"
    epoch = steps = 0
    if checkpoint.exists():
        saved: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        loader.load_state_dict(json.loads(saved["loader"]))
        epoch, steps = saved["epoch"], saved["steps"]
        print(f"goes on in epoch {epoch}, after {steps} batches, with {workers} workers", flush=True)
    with log.open("a") as file:
        for number in range(epoch, EPOCHS):
            for keys, images, labels in loader:
                loss = nn.functional.cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                steps += 1
                print(json.dumps({"step": steps, "epoch": number, "keys": keys}), file=file, flush=True)
                if steps % EVERY == 0:
                    save(checkpoint, model, optimizer, loader, number, steps)
                if steps == die_after:
                    os.kill(os.getpid(), signal.SIGKILL)
    torch.save(model.state_dict(), directory / f"{name}.model")


def save(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, loader: webds.Loader[Any], epoch: int, steps: int
) -> None:
    """Save a checkpoint, so that there is a whole one whenever the process is killed."""
    state = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "loader": json.dumps(loader.state_dict()),
        "epoch": epoch, "steps": steps,
    }  # fmt: skip
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def run(directory: Path, name: str, workers: int, die_after: int | None = None) -> int | None:
    """Train in a process of its own, and return how it ended."""
    process = multiprocessing.get_context("fork").Process(target=train, args=(directory, name, workers, die_after))
    process.start()
    process.join()
    return process.exitcode


def batches(directory: Path, name: str) -> tuple[dict[int, tuple[int, list[str]]], int]:
    """Return the batches that count, by step: (epoch, keys); and how many were done again."""
    lines = [json.loads(line) for line in (directory / f"{name}.jsonl").read_text().splitlines()]
    found = {line["step"]: (line["epoch"], line["keys"]) for line in lines}
    return found, len(lines) - len(found)


def main() -> int:
    """Run the example; return 0 if nothing was lost."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        write_shards(directory)
        # Imports what each of the processes would import for itself, which takes longer than the training.
        torch.optim.SGD([torch.zeros(1, requires_grad=True)])
        if run(directory, "killed", workers=2, die_after=42) != -signal.SIGKILL:
            return 1
        print("killed after 42 batches")
        if run(directory, "killed", workers=1) or run(directory, "whole", workers=0):
            return 1
        killed, again = batches(directory, "killed")
        whole, _ = batches(directory, "whole")
        models = [torch.load(directory / f"{name}.model", weights_only=True) for name in ("killed", "whole")]
    for epoch in range(EPOCHS):
        keys = [key for number, batch in killed.values() for key in batch if number == epoch]
        print(f"epoch {epoch}: {len(keys)} keys, {len(set(keys))} different ones")
        if sorted(keys) != [f"digit{i:05d}" for i in range(1797)]:
            return 1
    equal = all(torch.equal(models[0][name], models[1][name]) for name in models[1])
    print(f"{again} batches were done again; same batches: {killed == whole}; same network: {equal}")
    return 0 if killed == whole and equal else 1


if __name__ == "__main__":
    sys.exit(main())
