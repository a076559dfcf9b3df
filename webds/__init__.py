"""Train PyTorch models straight from POSIX tar shards, local or remote.

Names are imported when they are first touched, so that ``import webds`` is quick and brings neither torch nor Pillow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from webds import checks as checks, tenbin as tenbin
    from webds.abc import (
        Codec as Codec,
        Decoder as Decoder,
        Encoder as Encoder,
        IndexedSource as IndexedSource,
        Opener as Opener,
        Sink as Sink,
        Source as Source,
        Splitter as Splitter,
    )
    from webds.checks import (
        check as check,
        checkcallable as checkcallable,
        checkmember as checkmember,
        checknotnone as checknotnone,
        checkrange as checkrange,
        checktype as checktype,
    )
    from webds.codecs import (
        AudioDecoder as AudioDecoder,
        GzipCodec as GzipCodec,
        ImageCodec as ImageCodec,
        IntCodec as IntCodec,
        JsonCodec as JsonCodec,
        MsgpackCodec as MsgpackCodec,
        NpyCodec as NpyCodec,
        NpzCodec as NpzCodec,
        PickleCodec as PickleCodec,
        TenbinCodec as TenbinCodec,
        TextCodec as TextCodec,
        TorchCodec as TorchCodec,
        Video as Video,
        VideoDecoder as VideoDecoder,
    )
    from webds.codecs.image import (
        imagehandler as imagehandler,
    )
    from webds.codecs.image_spec import (
        IMAGE_SPECS as IMAGE_SPECS,
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
        Dataset as Dataset,
    )
    from webds.datasets.frontdoors import (
        WebDataset as WebDataset,
        tariterator as tariterator,
    )
    from webds.datasets.huggingface import (
        from_hf as from_hf,
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
        mix as mix,
        round_robin as round_robin,
    )
    from webds.datasets.replaying import (
        Replay as Replay,
        replay as replay,
    )
    from webds.datasets.stats import (
        StageTime as StageTime,
        Stats as Stats,
    )
    from webds.errors import (
        BatchError as BatchError,
        DecodeError as DecodeError,
        EmptyDatasetError as EmptyDatasetError,
        EncodeError as EncodeError,
        ErrorBudgetError as ErrorBudgetError,
        FieldError as FieldError,
        LengthError as LengthError,
        MissingExtraError as MissingExtraError,
        OpenError as OpenError,
        SampleError as SampleError,
        SplitError as SplitError,
        StaleIndexError as StaleIndexError,
        StateError as StateError,
        TarFormatError as TarFormatError,
        UntrustedDataError as UntrustedDataError,
        UrlError as UrlError,
        WebdsError as WebdsError,
        WorkerError as WorkerError,
        WriteError as WriteError,
    )
    from webds.openers import (
        CachingOpener as CachingOpener,
        CommandOpener as CommandOpener,
        FileOpener as FileOpener,
        FsspecOpener as FsspecOpener,
        HttpOpener as HttpOpener,
        ObjectStoreOpener as ObjectStoreOpener,
        PipeOpener as PipeOpener,
        SchemeOpener as SchemeOpener,
        StdioOpener as StdioOpener,
        gopen as gopen,
        reader as reader,
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
        ignore_and_continue as ignore_and_continue,
        ignore_and_stop as ignore_and_stop,
        reraise_exception as reraise_exception,
        warn_and_continue as warn_and_continue,
        warn_and_stop as warn_and_stop,
    )
    from webds.policy.ledger import (
        Loss as Loss,
        Retry as Retry,
    )
    from webds.sinks import (
        ShardWriter as ShardWriter,
        TarWriter as TarWriter,
    )
    from webds.sources import (
        IndexedTarSource as IndexedTarSource,
        MemorySource as MemorySource,
        SampleInfo as SampleInfo,
        TarSource as TarSource,
    )
    from webds.splitters import (
        NoSplit as NoSplit,
        SplitByNode as SplitByNode,
        SplitByNodeAndWorker as SplitByNodeAndWorker,
        SplitByWorker as SplitByWorker,
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
        encode_buffer as encode_buffer,
        load as load,
        read as read,
        save as save,
        sctp_recv as sctp_recv,
        sctp_send as sctp_send,
        write as write,
        zrecv_multipart as zrecv_multipart,
        zrecv_single as zrecv_single,
        zsend_multipart as zsend_multipart,
        zsend_single as zsend_single,
    )
    from webds.typing import (
        Place as Place,
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
