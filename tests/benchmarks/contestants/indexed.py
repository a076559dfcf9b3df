"""Shards with an index: read in their order and shuffled, and gone on with in the middle of the last of many."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

import attrs
from typing_extensions import override

from tests.benchmarks.contest import Contents, Contestant, Facts, Job, Reader, Task, peer

__all__ = ["READ", "RESUME"]


def _fields(sample: Any) -> Contents:
    return [sample[field] for field in sorted(sample) if not field.startswith("__")]


def _manifest(job: Job) -> str:
    """Write a manifest that names shards and tables, in a place of its own for each job, and return its path."""
    path = f"{job.indexes[-1]}.{len(job.shards)}.json"
    if not os.path.exists(path):
        entries: list[dict[str, Any]] = []
        for shard, index in zip(job.shards, job.indexes, strict=True):
            with open(index, encoding="ascii") as table:
                samples = int(table.readline().split()[1])
            size = os.path.getsize(shard)
            entries.append({"url": os.path.abspath(shard), "nsamples": samples, "filesize": size,
                            "index": os.path.abspath(index)})  # fmt: skip
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": entries}, file)
    return path


def _streamed(job: Job) -> Iterable[Any]:
    import webds

    return webds.DatasetBuilder(list(job.shards)).build()


def _in_order(job: Job) -> Iterable[Any]:
    import webds

    return webds.DatasetBuilder(_manifest(job)).indexed().build()


def _shuffled(job: Job) -> Iterable[Any]:
    import webds

    return webds.DatasetBuilder(_manifest(job)).indexed().shuffle(window_shards=2).build()


def _middle(job: Job) -> int:
    """Return the number of the sample in the middle of the last shard."""
    with open(job.indexes[-1], encoding="ascii") as table:
        last = int(table.readline().split()[1])
    return job.samples - last + last // 2


def _state(job: Job) -> dict[str, Any]:
    """Return the state of who has got all samples before that one; it is the same, but for their number, at once."""
    import webds

    state = webds.DatasetBuilder(_manifest(job)).indexed().build().state_dict()
    return state | {"position": _middle(job)}


def _resumed(job: Job) -> Callable[[], Any]:
    import webds

    manifest, state = _manifest(job), _state(job)

    def first() -> Any:
        dataset = webds.DatasetBuilder(manifest).indexed().build()
        dataset.load_state_dict(state)
        return next(iter(dataset))

    return first


def _discarded(job: Job) -> Callable[[], Any]:
    """Read all that was had before, which is the only way that it documents."""
    wds = peer("webdataset")
    before = _middle(job)
    return lambda: next(itertools.islice(wds.WebDataset(list(job.shards), shardshuffle=False), before, None))


@final
@attrs.frozen
class _Resume(Contestant):
    """The time until the first sample is there; and the size of the state.

    Attributes:
        prepare: returns what gets that sample.
        state: the state; None where there is none.
    """

    prepare: Callable[[Job], Callable[[], Any]]
    state: Callable[[Job], dict[str, Any]] | None = None

    @override
    def measure(self, warm: Job, job: Job, seconds: float) -> Facts:
        def prepare(job: Job) -> Callable[[], int]:
            first = self.prepare(job)
            return lambda: int(bool(first()))

        facts = Task(self.name, prepare).measure(warm, job, seconds)
        return facts if self.state is None else facts | {"bytes": len(json.dumps(self.state(job)).encode())}

    @override
    def contents(self, job: Job) -> Iterator[Contents]:
        yield _fields(self.prepare(job)())


READ = (
    Reader("webds, indexed", _in_order, _fields),
    Reader("webds, streaming", _streamed, _fields),
    Reader("webds, windows of 2 shards", _shuffled, _fields, same=None),
)
RESUME = (
    _Resume("webds", _resumed, _state),
    _Resume("webdataset, reading what was before", _discarded, needs=("webdataset",)),
)
