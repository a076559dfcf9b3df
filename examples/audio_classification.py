"""Train a classifier of sounds from wav files in shards.

Shows the audio decoder, clips of different lengths, and a `collate` that pads them. Nothing is downloaded: the sounds
are vowels as a simple voice makes them, a buzz of random pitch through the two formants of an a, e, i, o or u.

    pip install 'webds[examples]'
    python examples/audio_classification.py
"""

from __future__ import annotations

import io
import sys
import tempfile

import numpy as np
import torch
from torch import nn
from typing_extensions import override

import webds

try:
    import soundfile
except ImportError:
    sys.exit("this example needs soundfile: pip install 'webds[examples]'")

RATE = 8000
FORMANTS = {"a": (800, 1200), "e": (450, 1950), "i": (300, 2300), "o": (450, 850), "u": (325, 700)}
VOWELS = tuple(FORMANTS)


def vowel(name: str, random: np.random.Generator) -> bytes:
    """Return a wav file of a vowel, a quarter of a second to half a second long, with some noise."""
    time = np.arange(random.integers(RATE // 4, RATE // 2)) / RATE
    pitch = random.uniform(90, 250)
    harmonics = pitch * np.arange(1, int(RATE / 2 / pitch))
    formants = np.array(FORMANTS[name]) * random.uniform(0.9, 1.1)
    strength = (1 / (1 + ((harmonics[:, None] - formants) / 80) ** 2)).sum(1)
    sound = (strength[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time)).sum(0)
    sound = sound / np.abs(sound).max() * 0.5 + random.normal(0, 0.02, len(time))
    stream = io.BytesIO()
    soundfile.write(stream, sound, RATE, format="WAV")
    return stream.getvalue()


def write_shards(pattern: str, count: int, seed: int) -> None:
    """Write ``count`` sounds with their classes."""
    random = np.random.default_rng(seed)
    with webds.ShardWriter(pattern, maxcount=100) as sink:
        for i in range(count):
            label = i % len(VOWELS)
            sink.write({"__key__": f"sound{i:04d}", "wav": vowel(VOWELS[label], random), "cls": label})


def spectrum(audio: tuple[torch.Tensor, int]) -> torch.Tensor:
    """Return the logarithmic spectrogram of decoded audio, samples of shape (C, T) and their rate: shape (129, T')."""
    samples, rate = audio
    if rate != RATE:
        raise ValueError(f"a rate of {rate} Hz in place of {RATE}")
    window = torch.hann_window(256)
    return torch.stft(samples.mean(0), 256, 128, window=window, return_complex=True).abs().add(1e-3).log()


def padded(samples: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return spectrograms of shape (N, T', 129), padded with zeros, their lengths (N,), and classes (N,)."""
    spectra = [spectrogram.T for spectrogram, _ in samples]
    lengths = torch.tensor([len(one) for one in spectra])
    labels = torch.tensor([label for _, label in samples])
    return nn.utils.rnn.pad_sequence(spectra, batch_first=True), lengths, labels


class Classifier(nn.Module):
    """Looks at each moment, and takes the mean over those that are not padding."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = nn.Sequential(nn.Linear(129, 32), nn.ReLU(), nn.Linear(32, len(VOWELS)))

    @override
    def forward(self, spectra: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (N, 5)."""
        inside = (torch.arange(spectra.shape[1]) < lengths[:, None]).unsqueeze(2)
        logits: torch.Tensor = (self.moment(spectra) * inside).sum(1) / lengths[:, None]
        return logits


def main() -> int:
    """Run the example; return 0 if the classifier is good."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as directory:
        write_shards(f"{directory}/train-%03d.tar", 500, seed=1)
        write_shards(f"{directory}/test-%03d.tar", 100, seed=2)

        def batches(name: str) -> webds.DatasetBuilder[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
            sounds = webds.DatasetBuilder(f"{directory}/{name}-*.tar").decode().to_tuple("wav", "cls")
            return sounds.map_tuple(spectrum, int).shuffle(500, seed=3).batch(25, collate=padded)

        model = Classifier()
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
        loader = batches("train").loader(num_workers=1)
        for epoch in range(5):
            losses: list[float] = []
            for spectra, lengths, labels in loader:
                loss = nn.functional.cross_entropy(model(spectra, lengths), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            print(f"epoch {epoch}  loss {np.mean(losses):.3f}")
        right = total = 0
        for spectra, lengths, labels in batches("test").loader():
            right += int((model(spectra, lengths).argmax(1) == labels).sum())
            total += len(labels)
    print(f"test accuracy {right / total:.4f}")
    return 0 if right / total > 0.85 else 1


if __name__ == "__main__":
    sys.exit(main())
