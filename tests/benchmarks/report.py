"""Ratios, medians and targets: the table, and the same as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Iterator
from typing import Any, Final, final

import attrs

from tests.benchmarks.contest import Facts
from tests.benchmarks.rows import Limit, Ratio, Target
from tests.benchmarks.runner import Result, RowResult

__all__ = ["Verdict", "as_json", "machine", "markdown", "table", "verdicts"]

_PACKAGES: Final = (
    "webds", "webdataset", "nvidia-dali-cuda120", "nvidia-dali-cuda130", "spdl", "datasets", "torch", "numpy", "pillow",
    "simplejpeg", "isal",
)  # fmt: skip


@final
@attrs.frozen
class Verdict:
    """Whether a target is met.

    Attributes:
        target: the target.
        ours: the ratio, or the value that is limited; None where a contestant is missing.
        met: whether it is good; None where that is unknown.
        why: what is missing.
    """

    target: Target
    ours: float | None
    met: bool | None
    why: str | None = None


def _value(facts: Facts, quantity: str) -> float:
    return facts["seconds"] / facts["samples"] if quantity == "seconds" else facts[quantity]


def _median(result: Result, quantity: str) -> float:
    return statistics.median(_value(facts, quantity) for facts in result.rounds)


def _ratios(subject: Result, peer: Result, quantity: str) -> list[float]:
    """Return, for each round, how many times more the peer needed."""
    pairs = zip(subject.rounds, peer.rounds, strict=False)
    return [_value(theirs, quantity) / max(_value(ours, quantity), 1e-12) for ours, theirs in pairs]


def verdicts(result: RowResult) -> list[Verdict]:
    """Return one verdict a target."""
    by_name = {one.name: one for one in result.results}
    return [_verdict(target, by_name) for target in result.row.targets]


def _verdict(target: Target, results: dict[str, Result]) -> Verdict:
    names = [target.subject] if isinstance(target, Limit) else [target.subject, target.peer]
    missing = [name for name in names if not results[name].rounds]
    if missing:
        return Verdict(target, None, None, f"without {' and '.join(missing)}")
    subject = results[target.subject]
    if isinstance(target, Ratio):
        ratio = statistics.median(_ratios(subject, results[target.peer], target.quantity))
        return Verdict(target, ratio, ratio >= target.least)
    value = _median(subject, target.quantity)
    return Verdict(target, value, value <= target.most)


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _with_unit(value: float, quantity: str) -> str:
    if quantity in {"peak", "growth"}:
        return f"{_number(value / 2**20)} MiB"
    if quantity != "seconds":
        return _number(value)
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{_number(value * factor)} {unit}"
    return f"{_number(value * 1e9)} ns"


def _contestants(result: RowResult) -> Iterator[tuple[str, ...]]:
    row = result.row
    first = next((one for one in result.results if one.rounds), None)
    yield "contestant", "median", f"x {first.name}" if first else "", "lowest … highest"
    for one in result.results:
        if one.skipped is not None:
            yield one.name, "skipped", one.skipped
        elif one.failed is not None:
            yield one.name, "FAILED", "as said below"
        else:
            assert first is not None
            ratios = _ratios(first, one, row.quantity)
            span = f"{_number(min(ratios))} … {_number(max(ratios))}"
            median = _with_unit(_median(one, row.quantity), row.quantity)
            yield one.name, median, _number(statistics.median(ratios)), span


def _targets(result: RowResult) -> Iterator[tuple[str, ...]]:
    yield "target", "", "needed", "ours", ""
    for verdict in verdicts(result):
        target = verdict.target
        ours = "-"
        if isinstance(target, Ratio):
            needed = f"≥ {_number(target.least)}"
            if verdict.ours is not None:
                ours = _number(verdict.ours)
        else:
            needed = f"≤ {_with_unit(target.most, target.quantity)}"
            if verdict.ours is not None:
                ours = _with_unit(verdict.ours, target.quantity)
        judged = verdict.why or ("met" if verdict.met else "NOT MET")
        yield target.level, target.text, needed, ours, judged


def _columns(lines: list[tuple[str, ...]]) -> Iterator[str]:
    # The last column of a line may be as long as it likes.
    widths = [
        max((len(line[column]) for line in lines if column < len(line) - 1), default=0)
        for column in range(max(map(len, lines)))
    ]
    for line in lines:
        yield "    " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()


def table(result: RowResult) -> str:
    """Return what came of a row, as text."""
    row = result.row
    unit = " of one sample" if row.quantity == "seconds" else ""
    lines = [
        f"{row.name}: {row.work} (medians{unit}; how many times as much as the first)",
        *_columns(list(_contestants(result))),
        *_columns(list(_targets(result))),
        *(f"    DISAGREE: {sentence}" for sentence in result.disagreements),
        *(f"    FAILED: {one.name}: {one.failed}" for one in result.results if one.failed is not None),
    ]
    return "\n".join(lines)


def _markdown_pairs(result: RowResult) -> Iterator[tuple[str, str, list[Ratio]]]:
    """Yield who is compared with whom, and what is asked for: pairs with a target first, then all the others."""
    targets = [target for target in result.row.targets if isinstance(target, Ratio)]
    asked: dict[tuple[str, str], list[Ratio]] = {}
    for target in targets:
        asked.setdefault((target.subject, target.peer), []).append(target)
    subject = result.row.contestants[0].name
    for contestant in result.row.contestants[1:]:
        if not contestant.name.startswith("webds"):
            asked.setdefault((subject, contestant.name), [])
    for (ours, theirs), ratios in asked.items():
        yield ours, theirs, ratios


def _markdown_cells(result: RowResult) -> Iterator[tuple[str, ...]]:
    by_name = {one.name: one for one in result.results}
    for subject, name, asked in _markdown_pairs(result):
        quantity = asked[0].quantity if asked else result.row.quantity
        ratios = _ratios(by_name[subject], by_name[name], quantity)
        if not ratios:
            yield result.row.work, subject, name, "not measured", *_levels(asked), ""
            continue
        median = statistics.median(ratios)
        span = f"{_number(median)} ({_number(min(ratios))} … {_number(max(ratios))})"
        judged = [f"{target.level}: {'met' if median >= target.least else '**not met**'}" for target in asked]
        yield result.row.work, subject, name, span, *_levels(asked), ", ".join(judged)
    for verdict in verdicts(result):
        target = verdict.target
        if isinstance(target, Limit) and verdict.ours is not None:
            most, ours = _with_unit(target.most, target.quantity), _with_unit(verdict.ours, target.quantity)
            judgement = "met" if verdict.met else "**not met**"
            yield result.row.work, target.subject, target.text, ours, f"≤ {most}", "", f"{target.level}: {judgement}"


def _levels(asked: list[Ratio]) -> tuple[str, str]:
    found = {target.level: f"≥ {_number(target.least)}" for target in asked}
    return found.get("at least", ""), found.get("beyond", "")


def markdown(results: list[RowResult]) -> str:
    """Return the ratios as a table for the documentation."""
    lines = [
        "| work | contestant | beside | ratio (lowest … highest) | at least | beyond | |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        before = ""
        for work, *cells in _markdown_cells(result):
            lines.append(f"| {' | '.join([work if work != before else '', *cells])} |")
            before = work
    return "\n".join([*lines, ""])


def machine() -> dict[str, str]:
    """Return what it was measured on: processor, cores, versions."""
    versions: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            for line in stream:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def as_json(results: list[RowResult]) -> dict[str, Any]:
    """Return everything as values for JSON."""
    return {
        "machine": machine(),
        "rows": [
            {
                "name": result.row.name,
                "work": result.row.work,
                "contestants": [attrs.asdict(one) for one in result.results],
                "targets": [attrs.asdict(verdict) for verdict in verdicts(result)],
                "disagreements": result.disagreements,
            }
            for result in results
        ],
    }
