"""`imagehandler` and `default_handlers`: images by specification, and a table that its user changes."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from expecting import raises
from PIL import Image
from shards import write_shard

import webds

# As the older system's documentation lists them: container, element type, shape of a 4x5 image.
SPECIFICATIONS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "l8": (np.ndarray, np.uint8, (4, 5)),
    "rgb8": (np.ndarray, np.uint8, (4, 5, 3)),
    "rgba8": (np.ndarray, np.uint8, (4, 5, 4)),
    "l": (np.ndarray, np.float32, (4, 5)),
    "rgb": (np.ndarray, np.float32, (4, 5, 3)),
    "rgba": (np.ndarray, np.float32, (4, 5, 4)),
    "torchl8": (torch.Tensor, torch.uint8, (1, 4, 5)),
    "torchrgb8": (torch.Tensor, torch.uint8, (3, 4, 5)),
    "torchrgba8": (torch.Tensor, torch.uint8, (4, 4, 5)),
    "torchl": (torch.Tensor, torch.float32, (1, 4, 5)),
    "torchrgb": (torch.Tensor, torch.float32, (3, 4, 5)),
    "torch": (torch.Tensor, torch.float32, (3, 4, 5)),
    "torchrgba": (torch.Tensor, torch.float32, (4, 4, 5)),
}
PILLOW = {"pill": "L", "pil": "RGB", "pilrgb": "RGB", "pilrgba": "RGBA"}


def png(value: int = 51) -> bytes:
    """Return an RGB image of height 4 and width 5, all of whose values are ``value``."""
    stream = io.BytesIO()
    Image.new("RGB", (5, 4), (value, value, value)).save(stream, "png")
    return stream.getvalue()


@pytest.fixture
def handlers() -> Iterator[dict[str, dict[str, Any]]]:
    """Give the table for a test to change, and put it back as it was."""
    before = {spec: dict(table) for spec, table in webds.default_handlers.items()}
    yield webds.default_handlers
    webds.default_handlers.clear()
    webds.default_handlers.update(before)


@pytest.fixture
def url(tmp_path: Path) -> str:
    sample: dict[str, bytes | str] = {
        "__key__": "a", "png": png(), "mp4": b"a film", "cls": "7", "new": b"new", "seg.new": b"seg",
    }  # fmt: skip
    return write_shard(tmp_path / "a.tar", [sample])


class TestImagehandler:
    @pytest.mark.parametrize("spec", SPECIFICATIONS)
    def test_container_type_and_shape(self, spec: str) -> None:
        container, dtype, shape = SPECIFICATIONS[spec]
        image = webds.imagehandler(png(), spec)
        assert isinstance(image, container)
        assert image.dtype == dtype
        assert tuple(image.shape) == shape
        colour = image[..., 0] if container is np.ndarray and len(shape) == 3 else image[0]
        expected = 51 if dtype in (np.uint8, torch.uint8) else 0.2
        assert float(colour.max()) == float(colour.min()) == pytest.approx(expected)

    @pytest.mark.parametrize("spec", PILLOW)
    def test_pillow_images(self, spec: str) -> None:
        image = webds.imagehandler(png(), spec)
        assert isinstance(image, Image.Image)
        assert (image.mode, image.size) == (PILLOW[spec], (5, 4))

    @pytest.mark.parametrize("spec", ["RGB", "PilRGB", "TORCHL8"])
    def test_names_are_case_insensitive(self, spec: str) -> None:
        assert type(webds.imagehandler(png(), spec)) is type(webds.imagehandler(png(), spec.lower()))

    def test_an_unknown_specification_lists_those_there_are(self) -> None:
        with pytest.raises(ValueError, match="torchrgb8"):
            webds.imagehandler(png(), "bgr")

    def test_what_is_no_image_is_a_decode_error(self) -> None:
        with pytest.raises(webds.DecodeError):
            webds.imagehandler(b"no image", "rgb")


class TestDefaultHandlers:
    def test_every_specification_has_a_table(self) -> None:
        assert set(webds.default_handlers) == {*SPECIFICATIONS, *PILLOW}

    def test_the_tables_decode_one_field_each(self) -> None:
        table = webds.default_handlers["rgb8"]
        assert table["cls"](b"7") == 7
        assert table["json"](b'{"a": 1}') == {"a": 1}
        assert table["txt"](b"text") == "text"
        image: npt.NDArray[np.uint8] = table["png"](png())
        assert image.shape == (4, 5, 3)
        assert table["jpg"](png()).shape == (4, 5, 3)

    def test_a_new_extension_is_used_by_decode(self, handlers: dict[str, dict[str, Any]], url: str) -> None:
        handlers["rgb"]["mp4"] = lambda data: data.decode().upper()
        handlers["rgb"]["new"] = len
        sample = next(iter(webds.Dataset(url).decode("rgb")))
        assert (sample["mp4"], sample["new"], sample["seg.new"], sample["cls"]) == ("A FILM", 3, 3, 7)

    def test_it_is_used_by_the_default_of_decode_and_of_web_dataset(
        self, handlers: dict[str, dict[str, Any]], url: str
    ) -> None:
        handlers["rgb"]["mp4"] = bytes.decode
        assert next(iter(webds.Dataset(url).decode()))["mp4"] == "a film"
        assert next(iter(webds.WebDataset(url)))["mp4"] == "a film"
        with open(url, "rb") as stream:
            assert next(webds.tariterator(stream))["mp4"] == "a film"

    def test_the_other_specifications_stay_as_they_were(self, handlers: dict[str, dict[str, Any]], url: str) -> None:
        handlers["rgb"]["new"] = len
        assert next(iter(webds.Dataset(url, suffixes=["new"]).decode("rgb8")))["new"] == b"new"

    def test_a_built_in_one_can_be_replaced_and_removed(self, handlers: dict[str, dict[str, Any]], url: str) -> None:
        handlers["pil"]["cls"] = float
        del handlers["pil"]["png"], handlers["pil"]["mp4"]
        sample = next(iter(webds.Dataset(url).decode("pil")))
        assert sample["cls"] == 7.0
        assert (sample["png"], sample["mp4"]) == (png(), b"a film")

    def test_a_new_specification_can_be_added(self, handlers: dict[str, dict[str, Any]], url: str) -> None:
        handlers["mine"] = {"png": len}
        sample = next(iter(webds.Dataset(url).decode("mine")))
        assert (sample["png"], sample["cls"]) == (len(png()), b"7")

    def test_a_function_gets_bytes(self, handlers: dict[str, dict[str, Any]], url: str) -> None:
        handlers["rgb"]["mp4"] = type
        assert next(iter(webds.Dataset(url).decode()))["mp4"] is bytes

    def test_decoders_are_welcome_as_well(self, handlers: dict[str, dict[str, Any]], url: str) -> None:
        handlers["rgb"]["mp4"] = webds.TextCodec()
        assert next(iter(webds.Dataset(url).decode()))["mp4"] == "a film"

    def test_an_entry_that_is_no_function_is_an_error_that_shows_it(
        self, handlers: dict[str, dict[str, Any]], url: str
    ) -> None:
        handlers["rgb"]["mp4"] = "a name"
        with pytest.raises(TypeError, match="a name"):
            webds.Dataset(url).decode()

    def test_what_is_said_after_decode_was_called_comes_too_late(
        self, handlers: dict[str, dict[str, Any]], url: str
    ) -> None:
        """So that all workers, also those that are spawned, decode alike."""
        dataset = webds.Dataset(url, suffixes=["new"]).decode()
        handlers["rgb"]["new"] = len
        assert next(iter(dataset))["new"] == b"new"
        assert next(iter(dataset.decode()))["new"] == 3

    def test_it_travels_with_a_pickled_dataset(self, handlers: dict[str, dict[str, Any]], url: str) -> None:
        handlers["rgb"]["mp4"] = bytes.upper
        pickled = pickle.dumps(webds.Dataset(url).decode())
        del handlers["rgb"]["mp4"]
        assert next(iter(pickle.loads(pickled)))["mp4"] == b"A FILM"

    def test_it_reaches_the_workers(self, handlers: dict[str, dict[str, Any]], url: str) -> None:
        handlers["rgb"]["mp4"] = bytes.decode
        dataset = webds.Dataset(url).decode("rgb").to_tuple("mp4", "cls")
        assert list(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1)) == [["a film", 7]]

    def test_an_error_of_a_function_names_its_place(self, handlers: dict[str, dict[str, Any]], url: str) -> None:
        def fail(data: bytes) -> None:
            raise ArithmeticError("no film")

        handlers["rgb"]["mp4"] = fail
        with pytest.raises(ArithmeticError, match="no film") as caught:
            list(webds.Dataset(url).decode())
        notes = " ".join(caught.value.__notes__)
        assert '"field": "mp4"' in notes
        assert url in notes
        with raises(ArithmeticError, match="no film"):
            list(torch.utils.data.DataLoader(webds.Dataset(url).decode(), batch_size=None, num_workers=1))


def test_what_would_run_code_is_refused_and_the_refusal_says_how(tmp_path: Path) -> None:
    url = write_shard(tmp_path / "a.tar", [{"__key__": "a", "pyd": pickle.dumps([1])}])
    with pytest.raises(webds.UntrustedDataError, match="PickleCodec"):
        list(webds.Dataset(url).decode())
    trusted = webds.Dataset(url).decode({"pyd": webds.PickleCodec(trusted=True)})
    assert next(iter(trusted))["pyd"] == [1]
