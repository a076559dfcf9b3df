"""From data sets of Hugging Face's `datasets` to builders, and back."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast, final

import attrs
import numpy as np
import PIL.Image
import torch

from webds.codecs.audio import AudioDecoder
from webds.codecs.image import ImageCodec
from webds.codecs.tables import AnyDecoder, default_decoders
from webds.codecs.video import VideoDecoder
from webds.datasets.builder import DatasetBuilder
from webds.datasets.dataset import BaseDataset, Dataset
from webds.errors import EmptyDatasetError, FieldError, MissingExtraError, annotate
from webds.plans.plan import ComposedSource, Plan
from webds.sources.columns import Naming
from webds.sources.huggingface import HuggingFaceRows, HuggingFaceStream
from webds.splitters import SplitExplicit
from webds.stages.base import EachStage
from webds.stages.fields import Decode
from webds.stages.functions import Map
from webds.stages.join import Join
from webds.tar import by_extension
from webds.typing import Sample

if TYPE_CHECKING:
    import datasets

__all__ = ["from_hf", "to_hf"]

_ROWS: Final = 1000
"""Rows of a shard, where nobody says how many shards there are."""

_LOOKED_AT: Final = 16
"""Samples by which features are told."""

_BINARY: Final = ("binary", "large_binary")
_TEXTS: Final = ("string", "large_string")


def _datasets(purpose: str) -> Any:
    try:
        import datasets  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise MissingExtraError.of("datasets", "datasets", purpose) from error
    return datasets


def from_hf(
    dataset: datasets.Dataset | datasets.IterableDataset,
    *,
    key: str | None = None,
    fields: Mapping[str, str] | None = None,
    shards: int | None = None,
) -> DatasetBuilder[Sample]:
    """Return a builder over the rows of a data set of Hugging Face's (extra ``datasets``).

    A ``Dataset`` is an indexed source: lengths are exact, samples are dealt out one by one, a state can be loaded for
    any number of ranks and workers, and as companions of `join`, rows are found by their keys. An ``IterableDataset``
    is read as a stream, and its shards are divided over ranks and workers; a state passes over the rows before it,
    which are made again.

    A column becomes the field of its name, with an extension behind it unless it already is, or ends with, one:

    - images, audio, video and other files, and bytes: as they are stored, not decoded; under the extension of the
      file's name or of its content, so that ``image`` is ``image.jpg`` or ``image.png``. Files that are not in the
      table are read from where it says.
    - integers and classes: ``.cls``, an int; texts: ``.txt``, a str, as are dates and times, in ISO 8601;
    - lists of numbers, and ``Array2D`` to ``Array5D``: ``.npy``, a numpy array of the column's dtype;
    - all else, such as floats, booleans and structures: ``.json``, as in Python.

    What is null is no field of its sample. `decode` decodes what is bytes, and `ShardWriter` writes the samples as
    they are. Columns that nobody looks at are not read.

    Example:
        >>> import datasets, webds
        >>> table = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
        >>> list(webds.from_hf(table).to_tuple("text", "label.cls").build())
        [('a', 0), ('b', 1)]

    Args:
        dataset: one split. Its format, such as ``"torch"``, has no effect; order, selection and `map` have.
        key: the column that has the keys, texts or integers. None: ``__key__``, which shards that were loaded by
            ``load_dataset("webdataset", …)`` have; or else the number of the row.
        fields: field → column, for columns that are to be called otherwise: ``{"jpg": "image"}``.
        shards: into how many shards the rows of a ``Dataset`` are cut, for shuffling; None: one for each 1000.

    Raises:
        MissingExtraError: ``datasets`` is not installed.
        TypeError: it is no such data set, or one that was split over nodes, or has a transform; or a column has
            values that no field can have. ``shards`` is given for a stream.
        FieldError: a column that is named is not there, or two would be one field.
    """
    library = _datasets("webds.from_hf")
    naming = Naming(key, {} if fields is None else dict(fields))
    if isinstance(dataset, library.IterableDataset):
        if shards is not None:
            raise TypeError(f"from_hf(shards={shards}): a stream has its shards already")
        return DatasetBuilder(_stream_source(dataset, naming))
    if not isinstance(dataset, library.Dataset):
        splits = f", with the splits {', '.join(map(repr, dataset))}: give one" if isinstance(dataset, dict) else ""
        raise TypeError(f"from_hf() takes a Dataset or IterableDataset of datasets, not a {type(dataset).__name__}"
                        f"{splits}")  # fmt: skip
    return DatasetBuilder(_indexed_source(dataset, naming, shards))


def _stream_source(dataset: Any, naming: Naming) -> HuggingFaceStream:
    if getattr(dataset, "_distributed", None) is not None:
        raise TypeError("from_hf(): this data set was split over nodes already, and webds does that: give it whole")
    if dataset.features is not None:
        naming.columns(dataset.features.arrow_schema)
    return HuggingFaceStream(dataset, naming)


def _indexed_source(dataset: Any, naming: Naming, shards: int | None) -> HuggingFaceRows:
    if dataset.format["type"] == "custom":
        raise TypeError("from_hf(): this data set has a transform, which is not run: give reset_format() of it, and "
                        "the function to map() behind from_hf")  # fmt: skip
    if shards is not None and shards < 1:
        raise ValueError(f"from_hf(shards={shards}): expected a number from 1")
    naming.columns(dataset.features.arrow_schema)
    rows = len(dataset)
    count = max(1, -(-rows // _ROWS)) if shards is None else shards
    return HuggingFaceRows(dataset, naming, tuple(rows * i // count for i in range(count + 1)))


def to_hf(
    data: DatasetBuilder[object] | BaseDataset[object], *, features: datasets.Features | None = None
) -> datasets.IterableDataset:
    """Return an ``IterableDataset`` of Hugging Face's over the samples (extra ``datasets``).

    Each shard is one of its shards, so that it divides them over nodes and DataLoader workers, shuffles them, and goes
    on from a state as it does with any other. Nothing is written. A row has ``__key__`` and the fields by their names,
    null for a field that a sample does not have.

    Images, audio and video that are bytes stay so, for `datasets` to decode, which takes its package torchcodec for
    audio and video; other bytes are decoded by their extension. Arrays and tensors become lists of their dtype. What
    `on_error` lets pass, ``max_errors`` of each shard, is left out.

    Args:
        data: a builder, with stages of single samples: `decode`, `rename`, `map`, `filter`, `join` and the like. Its
            values are samples, or records of `into`. Of a dataset, its builder is taken.
        features: of the rows; None: what the first samples say, 16 of them, which are read for it. Structures become
            JSON texts where a text is asked for.

    Raises:
        MissingExtraError: ``datasets`` is not installed.
        TypeError: the builder shuffles, batches, mixes, or the like, which is then for `datasets` to do.
        EmptyDatasetError: there is no sample to tell the features by.
        FieldError: while iterating: a sample has a field, or a part of one, that the features do not have.
    """
    library = _datasets("webds.to_hf")
    builder = data.builder if isinstance(data, BaseDataset) else data
    plan = builder.plan
    others = [stage.name for stage in plan.stages if not isinstance(stage, EachStage | Join)]
    if plan.shard_seed is not None or plan.window is not None:
        others.append("shuffle")
    if isinstance(plan.source, ComposedSource):
        others.append("a mix")
    if others:
        raise TypeError(f"to_hf() hands on single samples, and datasets orders, repeats and batches them: {others[0]} "
                        "has no meaning before it")  # fmt: skip
    # A filter may well drop all samples of one shard, and each shard is an iteration here.
    plan = attrs.evolve(plan, remainder=None, checks_empty=False).then(Map(f=_sample_of))
    plan = plan.then(Decode(spec=_decoders(features or {})))
    said: Any = features if features is not None else library.Features(_told(library, plan))
    rows = _Rows(plan.then(Map(f=_Row(said))), len(Dataset[Any].of(plan).urls))
    shards = list(range(rows.total))
    made: Any = library.IterableDataset.from_generator(rows, features=said, gen_kwargs={"shards": shards})
    return cast("datasets.IterableDataset", made)


@final
@attrs.frozen(eq=False)
class _Rows:
    """What generates rows: all of the shards of these numbers, whoever asks.

    `datasets` reads several shards at once, in threads, so that each is an iteration of a dataset of its own.

    Attributes:
        plan: the rows of all shards.
        total: how many shards there are.
    """

    plan: Plan
    total: int

    def __call__(self, shards: list[int]) -> Iterator[dict[str, Any]]:
        for number in shards:
            yield from Dataset[Any].of(attrs.evolve(self.plan, splitter=SplitExplicit(number, self.total)))


def _sample_of(value: Any) -> Sample:
    """Return the fields of a sample or record."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        named: dict[str, Any] = cast("Any", value)._asdict()
        return named
    kind = type(value).__name__
    raise TypeError(f"to_hf() makes rows of samples and of records, whose fields have names, not of {kind}")


def _decoders(features: Mapping[str, Any]) -> dict[str, AnyDecoder]:
    """Return what decodes bytes: nothing of media, nor of what is to stay bytes."""
    table = default_decoders()
    known: dict[str, AnyDecoder] = {
        name: decoder for name, decoder in table.items() if not isinstance(decoder, AudioDecoder | VideoDecoder)
    }
    return known | {name: bytes for name, feature in features.items() if getattr(feature, "dtype", None) in _BINARY}


def _told(library: Any, plan: Plan) -> dict[str, Any]:
    """Return the features that the first samples have.

    Raises:
        EmptyDatasetError: there are none.
    """
    policy = attrs.evolve(plan.policy, ledger=None)  # what is read here is read again, and noted then
    everywhere = SplitExplicit(0, 1)  # the same samples at every rank
    dataset = Dataset[Any].of(attrs.evolve(plan, splitter=everywhere, policy=policy))
    columns: dict[str, list[Any]] = {}
    with contextlib.closing(cast("Generator[Sample]", iter(dataset))) as samples:
        for sample in itertools.islice(samples, _LOOKED_AT):
            for name, value in sample.items():
                columns.setdefault(name, []).extend([] if value is None else [value])
    if not columns:
        raise EmptyDatasetError("there is no sample to tell the features by: pass features=")
    return {name: _feature(library, name, values) for name, values in columns.items()}


def _feature(library: Any, name: str, values: list[Any]) -> Any:
    """Return the feature of a column with these values."""
    if all(isinstance(value, bytes | bytearray | memoryview) for value in values):
        return _feature_of_bytes(library, name)
    if all(isinstance(value, PIL.Image.Image) for value in values):
        return library.Image()
    if all(isinstance(value, np.ndarray | np.generic | torch.Tensor) for value in values):
        arrays = [np.asarray(value) for value in values]
        if len({(array.dtype, array.ndim) for array in arrays}) == 1:
            feature = library.Value(str(arrays[0].dtype))
            for _ in range(arrays[0].ndim):
                feature = library.Sequence(feature)
            return feature
    return _feature_of_objects(library, name, values)


def _feature_of_bytes(library: Any, name: str) -> Any:
    decoder = by_extension(default_decoders("pil"), name)
    if isinstance(decoder, ImageCodec):
        return library.Image()
    if isinstance(decoder, AudioDecoder):
        return library.Audio()
    if isinstance(decoder, VideoDecoder) and hasattr(library, "Video"):
        return library.Video()
    return library.Value("binary")


def _feature_of_objects(library: Any, name: str, values: list[Any]) -> Any:
    """Return the feature of numbers, texts and structures; that of texts, where they have no type in common."""
    import pyarrow as pa  # noqa: PLC0415  # comes with datasets

    try:
        kind = pa.array([_python(value) for value in values]).type
    except (pa.ArrowException, OverflowError):
        return library.Value("string")
    return library.Features.from_arrow_schema(pa.schema([(name, kind)]))[name]


def _python(value: Any) -> Any:
    """Return a value without arrays in it."""
    if isinstance(value, Mapping):
        return {str(name): _python(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_python(inner) for inner in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic | torch.Tensor) else value


@final
@attrs.frozen
class _Row:
    """Makes rows of samples.

    Attributes:
        features: ``datasets.Features`` of the rows.
    """

    features: Mapping[str, Any]

    def __call__(self, sample: Sample) -> dict[str, Any]:
        row = dict.fromkeys(self.features)
        for name, value in sample.items():
            if name not in self.features:
                if name.startswith("__"):
                    continue
                raise FieldError(
                    f"the features, {', '.join(map(repr, self.features))}, have no {name!r}: leave it out with "
                    "select(), or say all in features=",
                    key=sample.get("__key__"), field=name, stage="to_hf",
                )  # fmt: skip
            try:
                row[name] = None if value is None else _cell(value, self.features[name])
            except Exception as error:
                annotate(error, key=sample.get("__key__"), field=name, stage="to_hf")
                raise
        return row


def _cell(value: Any, feature: Any) -> Any:
    """Return a value as `datasets` takes it for a feature.

    Raises:
        FieldError: it is no such value, or has more than the feature can hold.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        # A path would be looked for on the disk, and what is found there taken in place of the bytes.
        return {"bytes": bytes(value), "path": None} if hasattr(feature, "decode") else bytes(value)
    if isinstance(value, PIL.Image.Image):
        return value
    if isinstance(value, np.ndarray | torch.Tensor) and (hasattr(feature, "shape") or hasattr(feature, "decode")):
        return np.asarray(value)
    value = _python(value)
    if getattr(feature, "dtype", None) in _TEXTS and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if not hasattr(feature, "names"):  # those of classes are known to datasets alone
        _check(value, feature)
    return value


def _check(value: Any, feature: Any) -> None:
    """Raise if a feature cannot hold all of a value: `datasets` would cut it down without a word."""
    import pyarrow as pa  # noqa: PLC0415  # comes with datasets

    if value is None:
        return
    if isinstance(value, Mapping) and isinstance(feature, Mapping):
        for name, inner in value.items():
            if name not in feature:
                raise _unfit(f"a structure with {name!r}", feature)
            _check(inner, feature[name])
    elif isinstance(value, list):
        inside = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
        if inside is None:
            raise _unfit("a list", feature)
        for inner in value:
            _check(inner, inside)
    elif hasattr(feature, "pa_type"):
        try:
            held = pa.scalar(value, type=feature.pa_type)
        except (pa.ArrowException, TypeError, OverflowError) as error:
            raise _unfit(repr(value), feature) from error
        if isinstance(value, float) and pa.types.is_integer(held.type) and held.as_py() != value:
            raise _unfit(repr(value), feature)  # Arrow cuts it off


def _unfit(what: str, feature: Any) -> FieldError:
    return FieldError(
        f"{what} is more than the feature {feature!r} holds: say another in features=, "
        'such as Value("string"), which holds structures as JSON'
    )
