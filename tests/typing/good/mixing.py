"""What comes out of several sources in one, and of joins."""

from __future__ import annotations

from typing import assert_type

import webds


def mixed(a: webds.DatasetBuilder[int], b: webds.DatasetBuilder[int], samples: webds.DatasetBuilder) -> None:
    assert_type(webds.mix([a, b], weights=[1, 2.5], exhausted="stop"), webds.DatasetBuilder[int])
    assert_type(webds.mix({"a": a, "b": b}, weights="size", exhausted="continue"), webds.DatasetBuilder[int])
    assert_type(webds.mix({"a": a, "b": b}, cycle={"a": 1, "b": 3}, exhausted="repeat"), webds.DatasetBuilder[int])
    assert_type(webds.mix((a, b), counts=[10, 20], seed=1).batch(2, collate=max), webds.DatasetBuilder[int])
    assert_type(webds.round_robin([a, b], exhausted="stop").map(str), webds.DatasetBuilder[str])
    assert_type(webds.concat([samples, samples]), webds.DatasetBuilder[webds.Sample])
    assert_type(webds.concat([a.build(), b.build()]).build(), webds.Dataset[int])


def joined(samples: webds.DatasetBuilder, companions: webds.MemorySource[webds.Sample]) -> None:
    assert_type(samples.join(samples.decode(), missing="skip"), webds.DatasetBuilder[webds.Sample])
    assert_type(samples.join(companions, by=str.upper, collision="left"), webds.DatasetBuilder[webds.Sample])
