"""34. Data never runs code, unless the caller asked by name; the refusal says how."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typing_extensions import override

from webds.codecs import PickleCodec, TorchCodec
from webds.codecs.tables import default_decoders, default_handlers, extended
from webds.errors import DecodeError, UntrustedDataError

DECODERS = default_decoders("rgb")


class Exploit:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def as_pickle(exploit: Exploit) -> bytes:
    return pickle.dumps(exploit)


def as_torch(exploit: Exploit) -> bytes:
    file = io.BytesIO()
    torch.save({"x": torch.zeros(2), "y": exploit}, file)
    return file.getvalue()


def as_old_torch(exploit: Exploit) -> bytes:
    file = io.BytesIO()
    torch.save({"x": torch.zeros(2), "y": exploit}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def as_npy(exploit: Exploit) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([exploit]), allow_pickle=True)
    return file.getvalue()


def as_npz(exploit: Exploit) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", as_npy(exploit))
        archive.writestr("b.pkl", as_pickle(exploit))
    return file.getvalue()


FORMS = [as_pickle, as_torch, as_old_torch, as_npy, as_npz]


@pytest.mark.parametrize("form", FORMS)
def test_34_the_exploits_are_real(form: Callable[[Exploit], bytes], tmp_path: Path) -> None:
    data = form(Exploit(tmp_path / "ran"))
    if form is as_pickle:
        pickle.loads(data)
    elif form in {as_torch, as_old_torch}:
        torch.load(io.BytesIO(data), weights_only=False)
    else:
        loaded = np.load(io.BytesIO(data), allow_pickle=True)
        _ = loaded["a"] if form is as_npz else loaded
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize("extension", sorted(DECODERS))
@pytest.mark.parametrize("form", FORMS)
def test_34_no_decoder_runs_what_is_in_the_data(
    form: Callable[[Exploit], bytes], extension: str, tmp_path: Path
) -> None:
    data = form(Exploit(tmp_path / "ran"))
    for field, content in [(extension, data), (f"a.{extension}", data), (f"{extension}.gz", gzip.compress(data))]:
        decoder = DECODERS[field.rpartition(".")[2]]
        if field in {"gz", "a.gz", "gz.gz"}:
            decoder.decode(gzip.compress(data), field)  # just bytes
        else:
            with pytest.raises(DecodeError) as caught:
                decoder.decode(content, field)
            assert caught.value.field == field
    assert not (tmp_path / "ran").exists()


def test_34_nor_do_the_handlers_of_the_older_api(tmp_path: Path) -> None:
    exploit = Exploit(tmp_path / "ran")
    for spec in ("rgb", "torchrgb8", "pil"):
        for extension in ("pyd", "pickle", "pkl"):
            with pytest.raises(UntrustedDataError):
                default_handlers[spec][extension](as_pickle(exploit))
        for extension in ("pt", "pth"):
            with pytest.raises(UntrustedDataError):
                default_handlers[spec][extension](as_torch(exploit))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("extension", "name"), [("pyd", "Pickle"), ("pickle", "Pickle"), ("pkl", "Pickle"), ("pth", "Torch")]
)
def test_34_the_refusal_says_how_to_trust_and_that_works(extension: str, name: str, tmp_path: Path) -> None:
    data = (as_pickle if name == "Pickle" else as_torch)(Exploit(tmp_path / "ran"))
    with pytest.raises(UntrustedDataError) as caught:
        DECODERS[extension].decode(data, f"x.{extension}")
    assert f".with_decoder('{extension}', webds.{name}Codec(trusted=True))" in str(caught.value)
    trusting = {"Pickle": PickleCodec(trusted=True), "Torch": TorchCodec(trusted=True)}[name]
    table = extended(DECODERS, {extension: trusting})
    table[extension].decode(data, f"x.{extension}")
    assert (tmp_path / "ran").is_dir()
    (tmp_path / "ran").rmdir()
    table["gz"].decode(gzip.compress(data), f"x.{extension}.gz")
    assert (tmp_path / "ran").is_dir(), "trust covers what is compressed"


def test_34_writing_a_pickle_is_no_trust(tmp_path: Path) -> None:
    data = PickleCodec().encode(Exploit(tmp_path / "ran"), "pyd")
    assert data == pickle.dumps(Exploit(tmp_path / "ran"), 4)
    assert not (tmp_path / "ran").exists()
