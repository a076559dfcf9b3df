"""Types of indexed reading and map-style datasets."""

from __future__ import annotations

from typing import Any, assert_type

import webds


def number(sample: webds.Sample) -> int:
    return int(sample["cls"])


def is_small(info: webds.SampleInfo) -> bool:
    return sum(info.sizes.values()) < 100


indexed = webds.DatasetBuilder(webds.build_index("x-{000..009}.tar")).indexed().select_samples(is_small)
assert_type(indexed, webds.DatasetBuilder[webds.Sample])
assert_type(indexed.map_style(), webds.IndexedDataset[webds.Sample])
assert_type(indexed.map_style()["key"], webds.Sample)
assert_type(indexed.map(number).map_style()[3], int)
assert_type(indexed.to_tuple("jpg", "cls").map_style()[3], tuple[Any, Any])


def parts() -> None:
    source = webds.IndexedTarSource(webds.TarSource("x.tar", webds.FileOpener()))
    assert_type(webds.DatasetBuilder(source), webds.DatasetBuilder[webds.Sample])
    assert_type(source.find("key"), list[tuple[str, int]])
    assert_type(source.where(is_small), webds.IndexedTarSource)
    assert_type(webds.StaleIndexError("no").url, str | None)


def planned() -> None:
    split = indexed.split(nodes=4).split(remainder="pad", nodes=2).batch(8)
    assert_type(split.plan_for(world_size=16, workers=4, nodes=2, epoch=3), webds.EpochPlan)
    assert_type(split.plan_for(batch_size=4).batches, tuple[int, ...])
    assert_type(split.plan_for().bytes_per_node, tuple[int, ...] | None)
    assert_type(split.plan_for().displacement, webds.Displacement)
    assert_type(split.plan_for().displacement.times(2), webds.Displacement)
