"""Line 38: a batch of unequal shapes names the field, the shapes and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest
import torch
from expecting import raises
from shards import write_shard

import webds
from webds.errors import BatchError


class Pair(NamedTuple):
    array: Annotated[Any, webds.field("npy")]
    label: Annotated[int, webds.field("cls")]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A shard of four samples; the array of the third has another shape."""
    path = str(tmp_path / "x.tar")
    with webds.TarWriter(path) as sink:
        for number, shape in enumerate([(2, 3), (2, 3), (2, 4), (2, 3)]):
            sink.write({"__key__": f"k{number}", "npy": np.zeros(shape), "cls": number})
    return path


CHAINS: dict[str, Any] = {
    "npy": lambda b: b.decode(),
    "element": lambda b: b.decode().to_tuple("cls", "npy"),
    "mapped": lambda b: b.decode().to_tuple("cls", "npy").map_tuple(int, torch.from_numpy).shuffle(1),
    "array": lambda b: b.into(Pair),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("chain", CHAINS)
def test_38_the_error_says_what_does_not_fit_and_what_to_do(url: str, chain: str, workers: int) -> None:
    builder = CHAINS[chain](webds.DatasetBuilder(url)).batch(4)
    with raises(BatchError) as caught:
        list(builder.loader(num_workers=workers))
    error = caught.value
    text = str(error)
    assert error.field == ("array" if chain == "array" else "npy")
    assert "(2, 3)" in text
    assert "(2, 4)" in text
    assert "collate=" in text
    assert "pad" in text
    assert (error.url, error.stage) == (url, "batch")
    assert error.key is not None
    assert error.key.startswith("k2")


def test_38_the_way_out_is_one(url: str) -> None:
    chosen = webds.DatasetBuilder(url).decode().to_tuple("npy", "cls").batch(4, collate=list)
    (batch,) = chosen.build()
    assert [array.shape for array, _ in batch] == [(2, 3), (2, 3), (2, 4), (2, 3)]
    padded = webds.DatasetBuilder(url).decode().map_dict(npy=_padded).to_tuple("npy", "cls").batch(4)
    ((arrays, labels),) = padded.build()
    assert arrays.shape == (4, 2, 4)
    assert labels.tolist() == [0, 1, 2, 3]


def _padded(array: Any) -> Any:
    return np.pad(array, ((0, 0), (0, 4 - array.shape[1])))


def test_38_a_batch_that_does_not_fit_is_left_out_and_counted_sample_by_sample(url: str) -> None:
    dataset = webds.DatasetBuilder(url, on_error="skip").decode().to_tuple("cls", "npy").batch(2).build()
    assert [labels.tolist() for labels, _ in dataset] == [[0, 1]]
    losses = dataset.stats().losses
    assert sorted((loss.stage, loss.url, loss.key, loss.field) for loss in losses) == [
        ("batch", url, key, "npy") for key in ("k2", "k3")
    ]


def test_38_samples_of_different_fields_are_such_a_case(tmp_path: Path) -> None:
    url = write_shard(tmp_path / "y.tar", [{"__key__": "a", "cls": "1", "txt": "x"}, {"__key__": "b", "cls": "2"}])
    with pytest.raises(BatchError, match="not every sample has the field txt") as caught:
        list(webds.DatasetBuilder(url).decode().batch(2).build())
    assert caught.value.field == "txt"
