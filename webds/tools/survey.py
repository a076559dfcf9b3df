"""What is in shards: counts, fields, sizes, and keys out of the ordinary; in one pass over their headers."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from array import array
from typing import Final, Literal, TypeAlias, final

import attrs
import numpy as np
from numpy.typing import NDArray

from webds.errors import WebdsError
from webds.redaction import redact
from webds.sources.tar import TarSource
from webds.tools.engine import Engine, report
from webds.tools.progress import NoProgress, Progress
from webds.tools.reading import engine_for, measured, total_size
from webds.tools.sizes import FieldSizes
from webds.tools.walking import Check, Fault, Group, Walk, groups_in
from webds.urls import scheme_of

__all__ = ["Anomaly", "AnomalyKind", "ShardSurvey", "Survey", "survey"]

AnomalyKind: TypeAlias = Literal[
    "cannot be read on", "duplicate field", "parts apart", "sample twice", "reserved field", "key in several shards",
    "keys differ in case", "member without a key", "field missing", "field spelled differently",
    "shard without samples",
]  # fmt: skip
"""What can be out of the ordinary. The first five are errors for a dataset; of the others, it depends."""

_EXAMPLES: Final = 5
_ERRORS: Final = ("cannot be read on", "duplicate field", "parts apart", "sample twice", "reserved field")
_COMMON: Final = 0.5
"""Share of the samples that have a field, from which on it is missing in the others."""

_HEADER: Final = 768
_SHAPES: Final = 1000


@final
@attrs.define
class Anomaly:
    """Something out of the ordinary, and how often.

    Attributes:
        kind: what it is.
        count: how often.
        examples: the first few, each a sentence or a name.
    """

    kind: AnomalyKind
    count: int = 0
    examples: list[str] = attrs.field(factory=list[str])

    def add(self, example: str, count: int = 1) -> None:
        """Count it, with an example."""
        self.count += count
        if len(self.examples) < _EXAMPLES:
            self.examples.append(example)

    @property
    def is_error(self) -> bool:
        """Whether reading the shards raises an error."""
        return self.kind in _ERRORS


@final
@attrs.define
class ShardSurvey:
    """What is in one shard, or in several.

    Attributes:
        url: the shard; "" for several.
        samples: number of samples.
        members: number of their members.
        bytes: of these, as far as they are data.
        fields: field → sizes of its values.
        shapes: fields, sorted → number of samples that have just these, and the key of the first one. At most 1000.
        anomalies: kind → what is out of the ordinary.
        spellings: field as some members spell it → field, where these differ.
        hashes: of each key, and of that without its case, while shards are compared; int64, shape (N, 2).
    """

    url: str
    samples: int = 0
    members: int = 0
    bytes: int = 0
    fields: dict[str, FieldSizes] = attrs.field(factory=dict[str, FieldSizes])
    shapes: dict[tuple[str, ...], tuple[int, str]] = attrs.field(factory=dict[tuple[str, ...], tuple[int, str]])
    anomalies: dict[AnomalyKind, Anomaly] = attrs.field(factory=dict[AnomalyKind, Anomaly])
    spellings: dict[str, str] = attrs.field(factory=dict[str, str], repr=False)
    hashes: NDArray[np.int64] = attrs.field(factory=lambda: np.zeros((0, 2), np.int64), eq=False, repr=False)

    def note(self, kind: AnomalyKind, example: str, count: int = 1) -> None:
        """Count something that is out of the ordinary."""
        self.anomalies.setdefault(kind, Anomaly(kind)).add(example, count)

    def add_shape(self, shape: tuple[str, ...], count: int, key: str) -> None:
        """Count samples that have these fields."""
        if shape in self.shapes or len(self.shapes) < _SHAPES:
            before, first = self.shapes.get(shape, (0, key))
            self.shapes[shape] = before + count, first

    def merge(self, other: ShardSurvey) -> None:
        """Add what is in another shard."""
        self.samples += other.samples
        self.members += other.members
        self.bytes += other.bytes
        for field, sizes in other.fields.items():
            self.fields.setdefault(field, FieldSizes()).merge(sizes)
        for shape, (count, key) in other.shapes.items():
            self.add_shape(shape, count, key)
        for kind, anomaly in other.anomalies.items():
            for i, example in enumerate(anomaly.examples):
                self.note(kind, example, anomaly.count - len(anomaly.examples) + 1 if i == 0 else 1)
        for spelling, field in other.spellings.items():
            self.spellings.setdefault(spelling, field)


@final
@attrs.frozen
class Survey:
    """What is in a data set.

    Attributes:
        shards: each shard by itself; of its anomalies, those that need no other shard.
        total: all together.
    """

    shards: list[ShardSurvey]
    total: ShardSurvey


def survey(
    source: TarSource,
    *,
    use_index: bool = True,
    jobs: int = 1,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Survey:
    """Return what is in shards, in one pass over their headers.

    Memory: 16 bytes for each sample, and some for each shard. Nothing is raised for what is wrong with a shard.

    Args:
        source: the shards.
        use_index: whether a remote shard that has an index is not read at all.
        jobs: how many processes.
        engine: does the work in place of these.
        progress: is told how far it is.
    """
    progress = progress or NoProgress()
    shards = source.shards()
    if not isinstance(progress, NoProgress):
        progress.begin("survey", total_size(source, measured(source)), "bytes")
    function = functools.partial(_survey_shard, source, use_index=use_index)
    found = list(engine_for(shards, engine, jobs).run(function, shards, progress.advance))
    total = ShardSurvey("")
    for one in found:
        total.merge(one)
    _compare_keys(source, found, total)
    _compare_fields(total)
    for one in found:
        one.hashes = one.hashes[:0]
    return Survey(found, total)


def _survey_shard(source: TarSource, url: str, *, use_index: bool) -> ShardSurvey:
    """Return what is in one shard; in any process."""
    found = ShardSurvey(url)
    keys = array("q")
    walk: Walk | None = None
    try:
        with groups_in(source, url, use_index=use_index) as (groups, walk):
            check = Check()
            for group in groups:
                _count(found, group, check(group), keys)
    except WebdsError as error:
        found.note("cannot be read on", f"{redact(url)}: {error.message}")
    if walk is not None and walk.passed_over:
        for i, name in enumerate(walk.examples[:_EXAMPLES]):
            examples = min(_EXAMPLES, len(walk.examples))
            found.note(
                "member without a key", f"{name} in {redact(url)}", walk.passed_over - examples + 1 if not i else 1
            )
    if not found.samples and not found.anomalies:
        found.note("shard without samples", redact(url))
    found.hashes = np.frombuffer(keys, np.int64).reshape(-1, 2).copy()
    return found


def _count(found: ShardSurvey, group: Group, fault: Fault | None, hashes: array[int]) -> None:
    """Count one group."""
    key, members = group
    size = group.size
    report(size + _HEADER * len(members))
    found.members += len(members)
    found.bytes += size
    for name, field, _, size, _ in members:
        sizes = found.fields.get(field)
        if sizes is None:
            sizes = found.fields[field] = FieldSizes()
        sizes.add(size)
        if not name.endswith(field):
            found.spellings.setdefault(name[len(key) + 1 :], field)
    if fault is not None:
        found.note(fault.kind, f"{fault.text}, in {redact(found.url)}")
    if fault is None or fault.kind not in ("parts apart", "sample twice"):
        found.samples += 1
        found.add_shape(tuple(sorted(group.fields)), 1, key)
        exact = _hash(key)
        folded = key.casefold()
        hashes.append(exact)
        hashes.append(exact if folded == key else _hash(folded))


def _hash(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _compare_keys(source: TarSource, found: list[ShardSurvey], total: ShardSurvey) -> None:
    """Find keys that several shards have, and those that differ in case alone."""
    keys = np.concatenate([one.hashes for one in found]) if found else np.zeros((0, 2), np.int64)
    exact, counts = np.unique(keys[:, 0], return_counts=True)
    twice = exact[counts > 1]
    # One of each key, and of these, what is the same but for the case.
    folded, counts = np.unique(keys[np.unique(keys[:, 0], return_index=True)[1], 1], return_counts=True)
    alike = folded[counts > 1]
    if len(twice):
        names = _names(source, found, set(twice[:_EXAMPLES].tolist()), 0)
        _note_keys(total, "key in several shards", len(twice), names)
    if len(alike):
        names = _names(source, found, set(alike[:_EXAMPLES].tolist()), 1)
        _note_keys(total, "keys differ in case", len(alike), names)


def _note_keys(total: ShardSurvey, kind: AnomalyKind, count: int, names: dict[int, list[str]]) -> None:
    total.anomalies[kind] = Anomaly(kind, count, [", ".join(found) for found in names.values()][:_EXAMPLES])


def _names(source: TarSource, found: list[ShardSurvey], hashes: set[int], column: int) -> dict[int, list[str]]:
    """Look a second time for the keys that have one of ``hashes``, and say where they are."""
    names: dict[int, list[str]] = {hash_: [] for hash_ in hashes}
    for one in found:
        if scheme_of(one.url) in ("-", "pipe") or not np.isin(one.hashes[:, column], list(hashes)).any():
            continue
        with contextlib.suppress(WebdsError), groups_in(source, one.url) as (groups, _):
            for key, _ in groups:
                hash_ = _hash(key.casefold() if column else key)
                name = f"{key} in {redact(one.url)}"
                if hash_ in names and len(names[hash_]) < _EXAMPLES and name not in names[hash_]:
                    names[hash_].append(name)
    return names


def _compare_fields(total: ShardSurvey) -> None:
    """Find fields that most samples have, and some lack; and those that are spelled in several ways."""
    samples = sum(count for count, _ in total.shapes.values())
    for field in sorted(total.fields):
        lacking = [(count, key) for shape, (count, key) in total.shapes.items() if field not in shape]
        missing = sum(count for count, _ in lacking)
        if missing and missing <= (1 - _COMMON) * samples:
            total.note(
                "field missing", f"{field} in {missing:,} of {samples:,} samples, such as {lacking[0][1]}", missing
            )
    for spelling, field in sorted(total.spellings.items()):
        total.note("field spelled differently", f"{spelling} is read as {field}")
