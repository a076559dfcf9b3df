"""Wrong calls of what mixes and joins."""

from __future__ import annotations

import webds


def mixed(a: webds.DatasetBuilder[int], b: webds.DatasetBuilder[int]) -> None:
    webds.mix([a, b])  # error
    webds.mix([a, b], weights=[1, 2])  # error
    webds.mix([a, b], weights="equal", exhausted="stop")  # error
    webds.mix([a, b], weights=[1, 2], exhausted="never")  # error
    webds.mix([a, b], weights=[1, 2], cycle=[1, 2], exhausted="stop")  # error
    webds.mix([a, b], counts=[1, 2], exhausted="stop")  # error
    webds.mix([a, "b.tar"], weights=[1, 2], exhausted="stop")  # error
    webds.round_robin([a, b])  # error
    webds.concat(a, b)  # error


def joined(samples: webds.DatasetBuilder, ints: webds.DatasetBuilder[int]) -> None:
    samples.join("emb.tar")  # error
    samples.join(ints)  # error
    ints.join(samples)  # error
    samples.join(samples, missing="drop")  # error
    samples.join(samples, collision="both")  # error
    samples.join(samples, by="key")  # error
