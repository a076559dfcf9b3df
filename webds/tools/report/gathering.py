"""Shards to a `Report`: every shard is read once for what is counted, and again for what is shown of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from typing import Final, final

import attrs

from webds.abc import Opener
from webds.openers import default_opener
from webds.openers.schemes import OpenerLike, as_opener
from webds.redaction import redact
from webds.sinks.targets import is_device
from webds.sources.tar import Urls
from webds.sources.urls import listed_shards
from webds.tar import MissingEnd
from webds.tools.engine import Engine, SerialEngine
from webds.tools.progress import NoProgress, Progress
from webds.tools.report.choosing import Choice, choose
from webds.tools.report.facts import Report, ShownSample
from webds.tools.report.previews import FIELD_COST, SAMPLE_COST, ShowTask, show_samples
from webds.tools.report.repeats import Repeats
from webds.tools.report.scanning import ScanTask, scan_shard
from webds.tools.report.summing import Total, common_name
from webds.tools.texts import name_text
from webds.urls import local_path, scheme_of

__all__ = ["ReportOptions", "gather"]

_LEAST: Final = SAMPLE_COST + 4 * FIELD_COST
"""Bytes of the page without which there is nothing to see of a sample."""


@final
@attrs.frozen
class ReportOptions:
    """What a report is to be.

    Attributes:
        samples: how many samples are shown.
        choice: which: ``"random"`` or ``"first"``.
        seed: of what is random.
        content: whether to read every field of every sample, for the dimensions of images, for what cannot be decoded
            and for contents that are there more than once. Otherwise headers are read, and classes.
        max_bytes: bytes of the page that the samples may take together; they get equal parts of it.
        title: what the report is called; None for the name that the shards have in common.
        missing_end: ``"error"`` or ``"accept"``: what of an archive without end blocks.
    """

    samples: int = attrs.field(default=60, validator=attrs.validators.ge(0))
    choice: Choice = attrs.field(default="random", validator=attrs.validators.in_(("random", "first")))
    seed: int = 0
    content: bool = True
    max_bytes: int = attrs.field(default=32_000_000, validator=attrs.validators.ge(0))
    title: str | None = None
    missing_end: MissingEnd = attrs.field(default="error", validator=attrs.validators.in_(("error", "accept")))

    def __attrs_post_init__(self) -> None:
        if self.samples and self.max_bytes // self.samples < _LEAST:
            raise ValueError(
                f"max_bytes={self.max_bytes} leaves {self.max_bytes // self.samples} bytes for each of {self.samples} "
                f"samples, and {_LEAST} are needed at least: ask for fewer samples, or a larger page"
            )


def gather(
    urls: Urls,
    options: ReportOptions | None = None,
    *,
    opener: OpenerLike | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Report:
    """Return what there is to say of shards.

    A shard that cannot be read, and a field that cannot be decoded, is a finding of the report and no error.

    Args:
        urls: the shards, as `DatasetBuilder` takes them; what can be read only once (``-``, a named
            pipe) is copied to a temporary file.
        options: what the report is to be.
        opener: opens the shards, as in `DatasetBuilder`.
        engine: reads the shards; by default, one after the other in this process.
        progress: is told how far it is.

    Raises:
        UrlError: nothing matches.
        OpenError: a manifest or list file cannot be read.
    """
    options = options or ReportOptions()
    opens = default_opener() if opener is None else as_opener(opener)
    engine = engine or SerialEngine()
    progress = progress or NoProgress()
    listed = [shard.url for shard in listed_shards(urls, opens)]
    names = [name_text("standard input" if url == "-" else redact(url), 400) for url in listed]
    with _readable_twice(listed, opens) as places, Repeats(names) as repeats:
        total = Total()
        progress.begin("reading", len(listed), "shards")
        tasks = (
            ScanTask(i, names[i], place, opens, options.missing_end, options.content) for i, place in enumerate(places)
        )
        with contextlib.closing(engine.run(scan_shard, tasks, progress.advance)) as scans:
            for scan in scans:
                repeats.add(scan)
                total.add(scan)
        counts = [shard.samples for shard in total.shards]
        chosen = choose(counts, options.samples, options.choice, options.seed)
        shown = list(_shown(places, opens, options, chosen, engine, progress))
        title = options.title or common_name(listed)
        return total.report(
            repeats,
            shown,
            title=title,
            by_content=options.content,
            chosen=_choice(options, len(shown), sum(counts)),
            room=options.max_bytes,
        )


def _choice(options: ReportOptions, shown: int, total: int) -> str:
    if shown == total:
        return "all there are"
    if (lost := min(options.samples, total) - shown) > 0:
        return f"{shown:,} ({lost:,} more could not be read a second time)"
    if options.choice == "first":
        return f"the first {shown:,}"
    return f"{shown:,} at random, by seed {options.seed}"


@contextlib.contextmanager
def _readable_twice(urls: Sequence[str], opener: Opener) -> Generator[list[str]]:
    """Have what can be read only once in a file, since shards are read twice."""
    with contextlib.ExitStack() as stack:
        places: list[str] = []
        for url in urls:
            path = local_path(url)
            if scheme_of(url) == "-" or (path is not None and is_device(path)):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="webds-report-"))
                places.append(os.path.join(folder, "copy.tar"))
                with opener.open(url) as stream, open(places[-1], "wb") as file:
                    shutil.copyfileobj(stream, file, 1 << 20)
            else:
                places.append(url)
        yield places


def _shown(
    places: Sequence[str],
    opener: Opener,
    options: ReportOptions,
    chosen: Sequence[Sequence[int]],
    engine: Engine,
    progress: Progress,
) -> Iterator[ShownSample]:
    number = sum(map(len, chosen))
    if not number:
        return
    progress.begin("showing", number, "samples")
    allowance = options.max_bytes // number
    tasks = (
        ShowTask(i, places[i], opener, options.missing_end, ordinals, allowance)
        for i, ordinals in enumerate(chosen)
        if ordinals
    )
    with contextlib.closing(engine.run(show_samples, tasks, progress.advance)) as found:
        for samples in found:
            yield from samples
