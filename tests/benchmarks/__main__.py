"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import sys
import tempfile
from collections.abc import Sequence
from typing import Final

from tests.benchmarks.data import provide
from tests.benchmarks.report import as_json, machine, markdown, table, verdicts
from tests.benchmarks.rows import ROWS, Row
from tests.benchmarks.runner import RowResult, run_row

_ABOUT: Final = """\
Measure webds beside others that do the same work.

Each contestant runs in a new process, in turn (A B C A B C ...), after its shards were brought into the page
cache and it has warmed up on a few samples. A run repeats the work for half a second or more, and its median pass
counts. Ratios are taken within a round and are how many times as much time (or memory) somebody needs as the first
contestant; the median of the rounds is shown. Peers that are not installed are skipped:
    pip install webdataset==1.0.2 simplejpeg isal scikit-image scikit-learn spdl datasets
    pip install nvidia-dali-cuda120   (no GPU is needed)
"""

_AFTER: Final = """\
The data are always alike: random bytes, and photographs that scikit-image and scikit-learn ship; about 1.2 GB at
scale 1. The exit status is 0 if all went well, whether or not targets were met; 1 if a contestant failed, or if
contestants delivered different samples.
"""


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _rounds(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=_ABOUT,
        epilog=_AFTER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="list rows, contestants and targets, and stop")
    parser.add_argument(
        "--only", metavar="PATTERN", action="append", help="measure only rows whose name matches, such as 'raw-*'"
    )
    parser.add_argument("--rounds", metavar="N", type=_rounds, default=5, help="how many rounds (default: 5)")
    parser.add_argument(
        "--seconds", metavar="S", type=_positive, default=0.5, help="how long a run repeats the work (default: 0.5)"
    )
    parser.add_argument(
        "--processor",
        action="store_true",
        help="count the time that processors work, in all threads, instead of the clock's: less is lost in noise "
        "where others use the machine, but threads and workers gain nothing",
    )
    parser.add_argument("--data", metavar="DIR", help="keep the data there, and use what is there")
    parser.add_argument(
        "--samples-scale", metavar="X", type=_positive, default=1.0, help="how many samples, 1 being the usual number"
    )
    parser.add_argument("--json", metavar="FILE", help="write all that was measured to a file")
    parser.add_argument(
        "--markdown", metavar="FILE", help="write the ratios to a file, as the table of the documentation"
    )
    parser.add_argument("--quiet", action="store_true", help="do not tell the progress")
    return parser


def _list(rows: Sequence[Row]) -> None:
    for row in rows:
        print(f"{row.name}: {row.work}")
        print(f"    contestants: {'; '.join(contestant.name for contestant in row.contestants)}")
        for target in row.targets:
            print(f"    {target.level}: {target.text}")


def _summary(results: list[RowResult]) -> str:
    judged = [verdict for result in results for verdict in verdicts(result)]
    met, unmet, open_ = (sum(verdict.met is value for verdict in judged) for value in (True, False, None))
    return f"{len(judged)} targets: {met} met, {unmet} not met, {open_} not measured"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    patterns: list[str] = options.only or ["*"]
    rows = [row for row in ROWS if any(fnmatch.fnmatch(row.name, pattern) for pattern in patterns)]
    if not rows:
        parser.error(f"no row matches {' or '.join(patterns)}; --list names them")
    if options.list:
        _list(rows)
        return 0

    def say(line: str) -> None:
        if not options.quiet:
            print(line, file=sys.stderr, flush=True)

    print("\n".join(f"{name}: {value}" for name, value in machine().items()))
    results: list[RowResult] = []
    with contextlib.ExitStack() as stack:
        folder: str = options.data or stack.enter_context(tempfile.TemporaryDirectory(prefix="webds-benchmarks-"))
        for row in rows:
            say(f"{row.name}: data")
            warm, job = provide(folder, row.data, options.samples_scale)
            result = run_row(
                row,
                warm,
                job,
                rounds=options.rounds,
                seconds=options.seconds,
                say=say,
                by_processor=options.processor,
            )
            results.append(result)
            print(f"\n{table(result)}", flush=True)
    print(f"\n{_summary(results)}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as stream:
            json.dump(as_json(results), stream, indent=1, ensure_ascii=False)
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as stream:
            stream.write(markdown(results))
    return 0 if all(result.is_sound for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
