"""31. A slice of a tensor is stored at its own size."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from webds.codecs.tables import default_encoders
from webds.sinks import TarWriter


def stored(folder: Path, field: str, value: Any) -> bytes:
    path = folder / f"{len(list(folder.iterdir()))}.tar"
    with TarWriter(path) as sink:
        sink.write({"__key__": "a", field: value})
    with tarfile.open(path) as tar:
        file = tar.extractfile(f"a.{field}")
        assert file is not None
        return file.read()


BIG = torch.arange(1_000_000, dtype=torch.float32).reshape(1000, 1000)


@pytest.mark.parametrize("field", ["pth", "pt"])
@pytest.mark.parametrize(
    "value", [BIG[5], BIG[:, 5], BIG[10:12, 3:900:7], {"x": BIG[1], "y": [BIG[2, :4]]}, BIG[3].expand(4, 1000)[0]]
)
def test_31_a_view_does_not_drag_its_storage_along(tmp_path: Path, field: str, value: Any) -> None:
    data = stored(tmp_path, field, value)
    assert len(data) < 10_000
    back = torch.load(io.BytesIO(data), weights_only=True)
    if isinstance(value, dict):
        assert torch.equal(back["x"], BIG[1])
        assert torch.equal(back["y"][0], BIG[2, :4])
    else:
        assert torch.equal(back, value)


@pytest.mark.parametrize("field", ["npy", "ten"])
def test_31_arrays_are_stored_at_their_own_size(tmp_path: Path, field: str) -> None:
    part = BIG.numpy()[10:12, 3:900:7]
    value = [part] if field == "ten" else part
    assert len(stored(tmp_path, field, value)) < part.nbytes + 1000
    assert stored(tmp_path, field, value) == default_encoders()[field].encode(
        [np.copy(part)] if field == "ten" else np.copy(part), field
    )
