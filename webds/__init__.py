"""Train PyTorch models straight from POSIX tar shards, local or remote.

Names are imported when they are first touched, so that ``import webds`` is quick and brings neither torch nor Pillow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from webds import checks as checks
    from webds import tenbin as tenbin
    from webds.abc import (
        Codec as Codec,
    )
    from webds.abc import (
        Decoder as Decoder,
    )
    from webds.abc import (
        Encoder as Encoder,
    )
    from webds.abc import (
        IndexedSource as IndexedSource,
    )
    from webds.abc import (
        Opener as Opener,
    )
    from webds.abc import (
        Sink as Sink,
    )
    from webds.abc import (
        Source as Source,
    )
    from webds.abc import (
        Splitter as Splitter,
    )
    from webds.checks import (
        check as check,
    )
    from webds.checks import (
        checkcallable as checkcallable,
    )
    from webds.checks import (
        checkmember as checkmember,
    )
    from webds.checks import (
        checknotnone as checknotnone,
    )
    from webds.checks import (
        checkrange as checkrange,
    )
    from webds.checks import (
        checktype as checktype,
    )
    from webds.codecs import (
        AudioDecoder as AudioDecoder,
    )
    from webds.codecs import (
        GzipCodec as GzipCodec,
    )
    from webds.codecs import (
        ImageCodec as ImageCodec,
    )
    from webds.codecs import (
        IntCodec as IntCodec,
    )
    from webds.codecs import (
        JsonCodec as JsonCodec,
    )
    from webds.codecs import (
        MsgpackCodec as MsgpackCodec,
    )
    from webds.codecs import (
        NpyCodec as NpyCodec,
    )
    from webds.codecs import (
        NpzCodec as NpzCodec,
    )
    from webds.codecs import (
        PickleCodec as PickleCodec,
    )
    from webds.codecs import (
        TenbinCodec as TenbinCodec,
    )
    from webds.codecs import (
        TextCodec as TextCodec,
    )
    from webds.codecs import (
        TorchCodec as TorchCodec,
    )
    from webds.codecs import (
        Video as Video,
    )
    from webds.codecs import (
        VideoDecoder as VideoDecoder,
    )
    from webds.codecs.image import (
        imagehandler as imagehandler,
    )
    from webds.codecs.image_spec import (
        IMAGE_SPECS as IMAGE_SPECS,
    )
    from webds.codecs.image_spec import (
        ImageSpec as ImageSpec,
    )
    from webds.codecs.tables import (
        default_handlers as default_handlers,
    )
    from webds.datasets.builder import (
        DatasetBuilder as DatasetBuilder,
    )
    from webds.datasets.dataset import (
        BaseDataset as BaseDataset,
    )
    from webds.datasets.dataset import (
        Dataset as Dataset,
    )
    from webds.datasets.frontdoors import (
        WebDataset as WebDataset,
    )
    from webds.datasets.frontdoors import (
        tariterator as tariterator,
    )
    from webds.datasets.huggingface import (
        from_hf as from_hf,
    )
    from webds.datasets.huggingface import (
        to_hf as to_hf,
    )
    from webds.datasets.indexing import (
        build_index as build_index,
    )
    from webds.datasets.loader import (
        Loader as Loader,
    )
    from webds.datasets.mapstyle import (
        IndexedDataset as IndexedDataset,
    )
    from webds.datasets.mixing import (
        concat as concat,
    )
    from webds.datasets.mixing import (
        mix as mix,
    )
    from webds.datasets.mixing import (
        round_robin as round_robin,
    )
    from webds.datasets.replaying import (
        Replay as Replay,
    )
    from webds.datasets.replaying import (
        replay as replay,
    )
    from webds.datasets.stats import (
        StageTime as StageTime,
    )
    from webds.datasets.stats import (
        Stats as Stats,
    )
    from webds.errors import (
        BatchError as BatchError,
    )
    from webds.errors import (
        DecodeError as DecodeError,
    )
    from webds.errors import (
        EmptyDatasetError as EmptyDatasetError,
    )
    from webds.errors import (
        EncodeError as EncodeError,
    )
    from webds.errors import (
        ErrorBudgetError as ErrorBudgetError,
    )
    from webds.errors import (
        FieldError as FieldError,
    )
    from webds.errors import (
        LengthError as LengthError,
    )
    from webds.errors import (
        MissingExtraError as MissingExtraError,
    )
    from webds.errors import (
        OpenError as OpenError,
    )
    from webds.errors import (
        SampleError as SampleError,
    )
    from webds.errors import (
        SplitError as SplitError,
    )
    from webds.errors import (
        StaleIndexError as StaleIndexError,
    )
    from webds.errors import (
        StateError as StateError,
    )
    from webds.errors import (
        TarFormatError as TarFormatError,
    )
    from webds.errors import (
        UntrustedDataError as UntrustedDataError,
    )
    from webds.errors import (
        UrlError as UrlError,
    )
    from webds.errors import (
        WebdsError as WebdsError,
    )
    from webds.errors import (
        WorkerError as WorkerError,
    )
    from webds.errors import (
        WriteError as WriteError,
    )
    from webds.openers import (
        CachingOpener as CachingOpener,
    )
    from webds.openers import (
        CommandOpener as CommandOpener,
    )
    from webds.openers import (
        FileOpener as FileOpener,
    )
    from webds.openers import (
        FsspecOpener as FsspecOpener,
    )
    from webds.openers import (
        HttpOpener as HttpOpener,
    )
    from webds.openers import (
        ObjectStoreOpener as ObjectStoreOpener,
    )
    from webds.openers import (
        PipeOpener as PipeOpener,
    )
    from webds.openers import (
        SchemeOpener as SchemeOpener,
    )
    from webds.openers import (
        StdioOpener as StdioOpener,
    )
    from webds.openers import (
        gopen as gopen,
    )
    from webds.openers import (
        reader as reader,
    )
    from webds.openers import (
        scheme_to_command as scheme_to_command,
    )
    from webds.order.displacement import (
        Displacement as Displacement,
    )
    from webds.plans.planning import (
        EpochPlan as EpochPlan,
    )
    from webds.policy import (
        Policy as Policy,
    )
    from webds.policy import (
        ignore_and_continue as ignore_and_continue,
    )
    from webds.policy import (
        ignore_and_stop as ignore_and_stop,
    )
    from webds.policy import (
        reraise_exception as reraise_exception,
    )
    from webds.policy import (
        warn_and_continue as warn_and_continue,
    )
    from webds.policy import (
        warn_and_stop as warn_and_stop,
    )
    from webds.policy.ledger import (
        Loss as Loss,
    )
    from webds.policy.ledger import (
        Retry as Retry,
    )
    from webds.sinks import (
        ShardWriter as ShardWriter,
    )
    from webds.sinks import (
        TarWriter as TarWriter,
    )
    from webds.sources import (
        IndexedTarSource as IndexedTarSource,
    )
    from webds.sources import (
        MemorySource as MemorySource,
    )
    from webds.sources import (
        SampleInfo as SampleInfo,
    )
    from webds.sources import (
        TarSource as TarSource,
    )
    from webds.splitters import (
        NoSplit as NoSplit,
    )
    from webds.splitters import (
        SplitByNode as SplitByNode,
    )
    from webds.splitters import (
        SplitByNodeAndWorker as SplitByNodeAndWorker,
    )
    from webds.splitters import (
        SplitByWorker as SplitByWorker,
    )
    from webds.splitters import (
        SplitExplicit as SplitExplicit,
    )
    from webds.stages.collate import (
        collate as collate,
    )
    from webds.stages.into import (
        field as field,
    )
    from webds.tar import (
        base_plus_ext as base_plus_ext,
    )
    from webds.tenbin import (
        decode_buffer as decode_buffer,
    )
    from webds.tenbin import (
        encode_buffer as encode_buffer,
    )
    from webds.tenbin import (
        load as load,
    )
    from webds.tenbin import (
        read as read,
    )
    from webds.tenbin import (
        save as save,
    )
    from webds.tenbin import (
        sctp_recv as sctp_recv,
    )
    from webds.tenbin import (
        sctp_send as sctp_send,
    )
    from webds.tenbin import (
        write as write,
    )
    from webds.tenbin import (
        zrecv_multipart as zrecv_multipart,
    )
    from webds.tenbin import (
        zrecv_single as zrecv_single,
    )
    from webds.tenbin import (
        zsend_multipart as zsend_multipart,
    )
    from webds.tenbin import (
        zsend_single as zsend_single,
    )
    from webds.typing import (
        Place as Place,
    )
    from webds.typing import (
        Sample as Sample,
    )

__version__ = "0.1.0"

_MODULES: Final = ("checks", "tenbin")
_WHERE: Final = {
    "webds.abc": "Codec Decoder Encoder IndexedSource Opener Sink Source Splitter",
    "webds.datasets.builder": "DatasetBuilder",
    "webds.checks": "check checkcallable checkmember checknotnone checkrange checktype",
    "webds.codecs": (
        "AudioDecoder GzipCodec ImageCodec IntCodec JsonCodec MsgpackCodec NpyCodec NpzCodec PickleCodec "
        "TenbinCodec TextCodec TorchCodec Video VideoDecoder"
    ),
    "webds.codecs.image": "imagehandler",
    "webds.codecs.image_spec": "IMAGE_SPECS ImageSpec",
    "webds.codecs.tables": "default_handlers",
    "webds.datasets.dataset": "BaseDataset Dataset",
    "webds.order.displacement": "Displacement",
    "webds.errors": (
        "BatchError DecodeError EmptyDatasetError EncodeError ErrorBudgetError FieldError LengthError "
        "MissingExtraError OpenError SampleError SplitError StaleIndexError StateError TarFormatError "
        "UntrustedDataError UrlError WebdsError WorkerError WriteError"
    ),
    "webds.datasets.frontdoors": "WebDataset tariterator",
    "webds.datasets.huggingface": "from_hf to_hf",
    "webds.datasets.indexing": "build_index",
    "webds.policy.ledger": "Loss Retry",
    "webds.datasets.loader": "Loader",
    "webds.datasets.mapstyle": "IndexedDataset",
    "webds.datasets.mixing": "concat mix round_robin",
    "webds.openers": (
        "CachingOpener CommandOpener FileOpener FsspecOpener HttpOpener ObjectStoreOpener PipeOpener SchemeOpener "
        "StdioOpener gopen reader scheme_to_command"
    ),
    "webds.plans.planning": "EpochPlan",
    "webds.policy": "Policy ignore_and_continue ignore_and_stop reraise_exception warn_and_continue warn_and_stop",
    "webds.datasets.replaying": "Replay replay",
    "webds.sinks": "ShardWriter TarWriter",
    "webds.sources": "IndexedTarSource MemorySource SampleInfo TarSource",
    "webds.splitters": "NoSplit SplitByNode SplitByNodeAndWorker SplitByWorker SplitExplicit",
    "webds.stages.collate": "collate",
    "webds.stages.into": "field",
    "webds.datasets.stats": "StageTime Stats",
    "webds.tar": "base_plus_ext",
    "webds.tenbin": (
        "decode_buffer encode_buffer load read save sctp_recv sctp_send write zrecv_multipart zrecv_single "
        "zsend_multipart zsend_single"
    ),
    "webds.typing": "Place Sample",
}
_MODULE_OF: Final = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = [
    "IMAGE_SPECS",
    "AudioDecoder",
    "BaseDataset",
    "BatchError",
    "CachingOpener",
    "Codec",
    "CommandOpener",
    "Dataset",
    "DatasetBuilder",
    "DecodeError",
    "Decoder",
    "Displacement",
    "EmptyDatasetError",
    "EncodeError",
    "Encoder",
    "EpochPlan",
    "ErrorBudgetError",
    "FieldError",
    "FileOpener",
    "FsspecOpener",
    "GzipCodec",
    "HttpOpener",
    "ImageCodec",
    "ImageSpec",
    "IndexedDataset",
    "IndexedSource",
    "IndexedTarSource",
    "IntCodec",
    "JsonCodec",
    "LengthError",
    "Loader",
    "Loss",
    "MemorySource",
    "MissingExtraError",
    "MsgpackCodec",
    "NoSplit",
    "NpyCodec",
    "NpzCodec",
    "ObjectStoreOpener",
    "OpenError",
    "Opener",
    "PickleCodec",
    "PipeOpener",
    "Place",
    "Policy",
    "Replay",
    "Retry",
    "Sample",
    "SampleError",
    "SampleInfo",
    "SchemeOpener",
    "ShardWriter",
    "Sink",
    "Source",
    "SplitByNode",
    "SplitByNodeAndWorker",
    "SplitByWorker",
    "SplitError",
    "SplitExplicit",
    "Splitter",
    "StageTime",
    "StaleIndexError",
    "StateError",
    "Stats",
    "StdioOpener",
    "TarFormatError",
    "TarSource",
    "TarWriter",
    "TenbinCodec",
    "TextCodec",
    "TorchCodec",
    "UntrustedDataError",
    "UrlError",
    "Video",
    "VideoDecoder",
    "WebDataset",
    "WebdsError",
    "WorkerError",
    "WriteError",
    "base_plus_ext",
    "build_index",
    "check",
    "checkcallable",
    "checkmember",
    "checknotnone",
    "checkrange",
    "checks",
    "checktype",
    "collate",
    "concat",
    "decode_buffer",
    "default_handlers",
    "encode_buffer",
    "field",
    "from_hf",
    "gopen",
    "ignore_and_continue",
    "ignore_and_stop",
    "imagehandler",
    "load",
    "mix",
    "read",
    "reader",
    "replay",
    "reraise_exception",
    "round_robin",
    "save",
    "scheme_to_command",
    "sctp_recv",
    "sctp_send",
    "tariterator",
    "tenbin",
    "to_hf",
    "warn_and_continue",
    "warn_and_stop",
    "write",
    "zrecv_multipart",
    "zrecv_single",
    "zsend_multipart",
    "zsend_single",
]


if not TYPE_CHECKING:  # type checkers see the imports above, and that there is nothing else

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"webds.{name}")
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'webds' has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
