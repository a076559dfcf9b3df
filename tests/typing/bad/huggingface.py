"""Wrong calls of what reads Hugging Face's data sets, and hands samples on to them."""

from __future__ import annotations

from typing import Any

import webds


def called(table: Any, builder: webds.DatasetBuilder) -> None:
    webds.from_hf()  # error
    webds.from_hf(table, "id")  # error
    webds.from_hf(table, key=3)  # error
    webds.from_hf(table, fields=["image"])  # error
    webds.from_hf(table, shards="4")  # error
    webds.to_hf("x.tar")  # error
    webds.to_hf(builder, table)  # error
