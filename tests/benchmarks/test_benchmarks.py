"""The benchmarks run, and compare like with like. How fast anybody is, no test says."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import attrs
import pytest
from typing_extensions import override

from tests.benchmarks.child import Order, Outcome, carry_out
from tests.benchmarks.contest import Contestant, Job
from tests.benchmarks.data import KINDS, provide
from tests.benchmarks.report import markdown, table, verdicts
from tests.benchmarks.rows import ROWS, Limit, Ratio, Row, row_named
from tests.benchmarks.runner import run_row

# What other packages warn of is not what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore")

_ROOT = Path(__file__).parents[2]
_LITTLE = 1e-6


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "tests.benchmarks", *arguments]
    return subprocess.run(line, cwd=_ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("benchmarks"))


def unsaid(line: str) -> None:
    """Take a line about the progress."""


def test_a_row_is_measured_in_new_processes_and_reported(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    little = ["--rounds", "1", "--seconds", "1e-6", "--samples-scale", "1e-6", "--data", str(tmp_path / "data")]
    ran = command("--only", "tenbin-enc*", *little, "--json", str(report), "--markdown", str(tmp_path / "t.md"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "| webds | copying the buffer |" in (tmp_path / "t.md").read_text()
    (row,) = json.loads(report.read_text())["rows"]
    assert row["name"] == "tenbin-encode"
    assert [one["name"] for one in row["contestants"]] == ["webds", "webdataset", "copying the buffer"]
    webds = row["contestants"][0]
    assert [facts["samples"] for facts in webds["rounds"]] == [16]
    assert all(facts["seconds"] > 0 for facts in webds["rounds"])
    assert len(row["targets"]) == 2
    for text in ("tenbin-encode: tenbin encode", "copying the buffer", "1.8x webdataset", "2 targets"):
        assert text in ran.stdout
    assert "round 1 of 1: webds" in ran.stderr


def test_the_list_names_all_rows_contestants_and_targets() -> None:
    ran = command("--list")
    assert ran.returncode == 0, ran.stderr
    for row in ROWS:
        assert f"{row.name}: {row.work}" in ran.stdout
        assert all(contestant.name in ran.stdout for contestant in row.contestants)
        assert all(f"{target.level}: {target.text}" in ran.stdout for target in row.targets)


def test_a_pattern_without_a_row_is_refused() -> None:
    ran = command("--only", "nothing*")
    assert ran.returncode == 2
    assert "no row matches nothing*" in ran.stderr


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_targets_are_about_contestants_of_their_row(row: Row) -> None:
    names = [contestant.name for contestant in row.contestants]
    assert len(set(names)) == len(names)
    assert row.targets
    assert row.data in KINDS
    for target in row.targets:
        assert target.subject in names
        assert isinstance(target, Limit) or target.peer in names


# The last row starts an interpreter for each import.
@pytest.mark.parametrize("row", ROWS[:-1], ids=[row.name for row in ROWS[:-1]])
def test_contestants_deliver_the_same_samples(row: Row, data: str) -> None:
    warm, job = provide(data, row.data, _LITTLE)
    result = run_row(row, warm, job, rounds=1, seconds=_LITTLE, say=unsaid, carry_out=carry_out)
    assert result.disagreements == []
    assert [one.failed for one in result.results] == [None] * len(row.contestants)
    ours = [one for one in result.results if one.name.startswith("webds") and one.rounds]
    assert not ours or any(one.digest is not None for one in ours)
    for one in result.results:
        assert (one.skipped is None) == (len(one.rounds) == 1)
        assert all(math.isfinite(value) for facts in one.rounds for value in facts.values())
    judged = verdicts(result)
    assert [verdict.target for verdict in judged] == list(row.targets)
    assert all((verdict.met is None) == (verdict.why is not None) for verdict in judged)
    text = table(result)
    assert all(target.text in text for target in row.targets)
    assert row.work in markdown([result])


def test_import_is_measured_in_an_interpreter_of_its_own(data: str) -> None:
    warm, job = provide(data, "tiny", _LITTLE)
    outcome = carry_out(Order("import", "webds", warm, job, _LITTLE, compare=True))
    assert outcome.facts["torch"] == 0
    assert outcome.facts["seconds"] > 0


@pytest.mark.parametrize("name", sorted(KINDS))
def test_data_are_alike_each_time_and_as_described(name: str, data: str, tmp_path: Path) -> None:
    _, job = provide(data, name, _LITTLE)
    _, again = provide(str(tmp_path), name, _LITTLE)
    for path, other, index in zip(job.shards, again.shards, job.indexes, strict=True):
        assert Path(path).read_bytes() == Path(other).read_bytes()
        first, *rows = Path(index).read_text().splitlines()
        assert first == f"v1.2 {len(rows)}"
        assert len(rows) * len(job.shards) == job.samples
        with tarfile.open(path) as archive:
            members = archive.getmembers()
        found = [
            f"{member.name.partition('.')[2]} {member.offset_data} {member.size} {member.name}" for member in members
        ]
        assert " ".join(rows) == " ".join(found)


def test_data_that_are_there_are_used_again(data: str) -> None:
    _, job = provide(data, "medium", _LITTLE)
    before = Path(job.shards[0]).stat().st_mtime_ns
    provide(data, "medium", _LITTLE)
    assert Path(job.shards[0]).stat().st_mtime_ns == before


def _outcomes(**by_name: Outcome) -> Any:
    return lambda order: by_name[order.contestant]


@attrs.frozen
class _Named(Contestant):
    @override
    def measure(self, warm: Job, job: Job, seconds: float) -> dict[str, float]:
        raise NotImplementedError

    @override
    def contents(self, job: Job) -> Any:
        raise NotImplementedError


_ROW = Row("row", "work", "tiny", (_Named("webds"), _Named("other")), (Ratio("2x", "other", 2, subject="webds"),))
_JOB = Job((), (), (), 0, "")


def outcome_of(seconds: float, samples: int = 8, digest: str = "a") -> Outcome:
    return Outcome({"seconds": seconds, "samples": samples}, None, samples, digest)


def test_ratios_are_those_of_rounds_and_the_median_counts() -> None:
    turns = {"webds": iter([1.0, 1.0, 10.0]), "other": iter([3.0, 1.0, 40.0])}
    result = run_row(
        _ROW, _JOB, _JOB, rounds=3, seconds=1, say=unsaid,
        carry_out=lambda order: outcome_of(next(turns[order.contestant])),
    )  # fmt: skip
    (verdict,) = verdicts(result)
    assert verdict.ours == 3
    assert verdict.met is True


def test_the_processor_can_count_instead_of_the_clock() -> None:
    found = _outcomes(
        webds=Outcome({"seconds": 1.0, "processor": 1.0, "samples": 8}),
        other=Outcome({"seconds": 1.0, "processor": 4.0, "samples": 8}),
    )
    for by_processor, ratio in ((False, 1), (True, 4)):
        result = run_row(
            _ROW, _JOB, _JOB, rounds=1, seconds=1, say=unsaid, by_processor=by_processor, carry_out=found
        )  # fmt: skip
        assert verdicts(result)[0].ours == ratio


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (outcome_of(1, digest="b"), "other delivered other contents than webds"),
        (outcome_of(1, samples=9), "other had 9 samples, webds 8"),
    ],
)
def test_different_samples_are_reported(other: Outcome, sentence: str) -> None:
    found = _outcomes(webds=outcome_of(1), other=other)
    result = run_row(_ROW, _JOB, _JOB, rounds=1, seconds=1, say=unsaid, carry_out=found)
    assert sentence in result.disagreements
    assert not result.is_sound
    assert f"DISAGREE: {sentence}" in table(result)


def test_who_is_skipped_or_fails_is_named_and_the_target_stays_open() -> None:
    found = _outcomes(webds=outcome_of(1), other=Outcome(skipped="other is not installed"))
    result = run_row(_ROW, _JOB, _JOB, rounds=2, seconds=1, say=unsaid, carry_out=found)
    assert result.is_sound
    assert "other is not installed" in table(result)
    assert verdicts(result)[0].met is None

    def fail(order: Order) -> Outcome:
        raise RuntimeError("Traceback\nValueError: broken")

    result = run_row(_ROW, _JOB, _JOB, rounds=2, seconds=1, say=unsaid, carry_out=fail)
    assert not result.is_sound
    assert "ValueError: broken" in table(result)


def test_hidden_modules_cannot_be_imported(data: str) -> None:
    warm, job = provide(data, "decode", _LITTLE)
    row = row_named("decode-pillow")
    assert row.contestants[0].hides == ("simplejpeg",)
    before = sys.modules.get("simplejpeg")
    assert carry_out(Order(row.name, "webds", warm, job, _LITTLE, compare=False)).facts["samples"] == job.samples
    assert sys.modules.get("simplejpeg") is before
