"""Types of what comes from Hugging Face's data sets, and goes to them."""

from __future__ import annotations

from typing import Any, assert_type

import webds


def read(table: Any) -> None:
    samples = webds.from_hf(table, key="id", fields={"jpg": "image"}, shards=4)
    assert_type(samples, webds.DatasetBuilder[webds.Sample])
    assert_type(samples.to_tuple("jpg", "label.cls").map_style()[0], tuple[Any, Any])


def written(builder: webds.DatasetBuilder[Any], features: Any) -> None:
    made = webds.to_hf(builder.build(), features=features)
    print(made.num_shards, webds.to_hf(builder).num_shards)
