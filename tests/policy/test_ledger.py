"""The ledger file: whole lines by any number of processes, and a reader that believes nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st
from processes import forking_when_locked

from webds.errors import OpenError, WebdsError, WriteError
from webds.policy import ledger as module
from webds.policy.ledger import Ledger, Loss, Retry, read_ledger

LOSS = Loss("map", "a.tar", "0001", None, "ValueError: x", 1, 2)
CUT = Loss("read", "a.tar", None, None, "TarFormatError: y", 7, 0, "cut short")
RETRY = Retry("http://h/a.tar", "503", 2, 0.25, 512)

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "skipped.jsonl"


def test_a_line_says_all_there_is_and_not_when(path: Path) -> None:
    ledger = Ledger(str(path))
    ledger.record(LOSS, CUT)
    ledger.record_retry(RETRY, 3)
    ledger.record()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [
        {"epoch": 2, "stage": "map", "url": "a.tar", "key": "0001", "ordinal": 1, "field": None,
         "error": "ValueError: x", "action": "skipped"},
        {"epoch": 0, "stage": "read", "url": "a.tar", "key": None, "ordinal": 7, "field": None,
         "error": "TarFormatError: y", "action": "cut short"},
        {"epoch": 3, "stage": "read", "url": "http://h/a.tar", "key": None, "ordinal": None, "field": None,
         "error": "503", "action": "retried", "attempt": 2, "delay": 0.25, "offset": 512},
    ]  # fmt: skip
    assert list(read_ledger(path)) == [LOSS, CUT, RETRY]
    assert (ledger.losses(), ledger.retries(), len(ledger)) == ([LOSS, CUT], [RETRY], 2)


def test_what_is_there_stays(path: Path) -> None:
    for _ in range(2):
        Ledger(str(path)).record(LOSS)
    assert list(read_ledger(path)) == [LOSS, LOSS]


def test_texts_of_any_length_and_kind_are_one_short_line(path: Path) -> None:
    text = "\u2028\n\udcff\U0001f600" * 100_000
    Ledger(str(path)).record(Loss(text, text, text, text, text))
    assert path.stat().st_size < 1 << 20
    (loss,) = read_ledger(path)
    assert isinstance(loss, Loss)
    assert loss.key == text[:4096] + "…"


def test_a_place_that_cannot_be_written_to_is_an_error_at_once(tmp_path: Path) -> None:
    for wrong in (tmp_path / "absent" / "x.jsonl", tmp_path):
        with pytest.raises(WriteError, match="cannot be written"):
            Ledger(str(wrong))


def test_a_place_that_is_gone_later_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    ledger = Ledger(str(folder / "x.jsonl"))
    folder.rmdir()
    with pytest.raises(WriteError, match="cannot write the ledger") as caught:
        ledger.record(LOSS)
    assert caught.value.url == str(folder / "x.jsonl")
    assert ledger.losses() == [LOSS]


def test_a_worker_with_another_directory_writes_to_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = Ledger("x.jsonl")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    ledger.record(LOSS)
    assert list(read_ledger(tmp_path / "x.jsonl")) == [LOSS]


@pytest.mark.parametrize("cut", [1, 30, 100])
def test_half_a_line_of_a_process_that_was_killed_goes_with_the_next(path: Path, cut: int) -> None:
    ledger = Ledger(str(path))
    ledger.record(LOSS)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:cut])
    assert list(read_ledger(path)) == [LOSS]
    ledger.record(CUT)
    assert list(read_ledger(path)) == [LOSS, CUT]
    assert [json.loads(line)["action"] for line in path.read_text().splitlines()] == ["skipped", "cut short"]


def test_a_line_whose_end_an_editor_left_out_stays(path: Path) -> None:
    ledger = Ledger(str(path))
    ledger.record(LOSS)
    path.write_bytes(path.read_bytes().rstrip())
    assert list(read_ledger(path)) == [LOSS]
    ledger.record(CUT)
    assert list(read_ledger(path)) == [LOSS, CUT]


# --- processes ---------------------------------------------------------------------------------------------


def append_many(path: str, name: str, count: int) -> None:
    ledger = Ledger(path)
    for number in range(count):
        ledger.record(attrs.evolve(LOSS, key=f"{name} {number}", error=name * 3000))


def start(method: str, *calls: tuple[Callable[..., Any], tuple[Any, ...]]) -> list[Any]:
    context: Any = multiprocessing.get_context(method)
    children = [context.Process(target=target, args=args) for target, args in calls]
    for child in children:
        child.start()
    return children


@posix
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_lines_of_several_processes_are_never_mixed(path: Path, method: str) -> None:
    for child in start(method, *((append_many, (str(path), name, 50)) for name in "abcd")):
        child.join()
        assert child.exitcode == 0
    losses = list(read_ledger(path))
    keys = [loss.key for loss in losses if isinstance(loss, Loss)]
    assert sorted(map(str, keys)) == sorted(f"{name} {number}" for name in "abcd" for number in range(50))


@posix
def test_after_processes_were_killed_at_any_time_every_line_is_whole(path: Path) -> None:
    for _ in range(5):
        children = start("fork", *((append_many, (str(path), name, 1_000_000)) for name in "abc"))
        size = path.stat().st_size if path.exists() else 0
        while not path.exists() or path.stat().st_size < size + 200_000:
            os.sched_yield()
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        Ledger(str(path)).record(CUT)
    losses = [loss for loss in read_ledger(path) if isinstance(loss, Loss)]
    assert losses.count(CUT) == 5
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert len([json.loads(line) for line in lines]) == len(losses)
    for name in "abc":
        own = [int(str(loss.key).split()[1]) for loss in losses if str(loss.key).startswith(name)]
        runs = [i for i, number in enumerate(own) if number == 0]
        assert all(own[i : i + 50] == list(range(len(own[i : i + 50]))) for i in runs[-1:])


@posix
def test_a_fork_while_a_line_is_written_keeps_nobody_waiting(path: Path) -> None:
    ledger = Ledger(str(path))

    def record() -> None:
        for _ in range(3):
            ledger.record(LOSS)

    with forking_when_locked(2):
        thread = threading.Thread(target=record, daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
    assert list(read_ledger(path)) == [LOSS] * 3


# --- reading -----------------------------------------------------------------------------------------------


def line(**changes: Any) -> bytes:
    entry = {"epoch": 0, "stage": "map", "url": "a.tar", "key": "1", "ordinal": 0, "field": None, "error": "x",
             "action": "skipped"} | changes  # fmt: skip
    return json.dumps(entry).encode() + b"\n"


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (b"{}\n", "no action"),
        (b"[]\n", "no JSON object"),
        (b"x\n", "Expecting value"),
        (b"\xff\n", "utf-8"),
        (b"[" * 100_000 + b"\n", "nested too deep"),
        (b"9" * 5000 + b"\n", "digits"),
        (line(action="lost"), "no action"),
        (line(action=[]), "no action"),
        (line(epoch="0"), "epoch"),
        (line(ordinal=True), "ordinal"),
        (line(key=3), "key"),
        (line(action="retried"), "attempt"),
        (b" " * (1 << 20), "Expecting value"),
    ],
)
def test_a_line_that_is_none_is_an_error_with_its_number(path: Path, bad: bytes, told: str) -> None:
    path.write_bytes(line() + bad + line())
    with pytest.raises(OpenError, match=f"line 2 is none of a ledger: .*{told}"):
        list(read_ledger(path))


def test_a_ledger_that_is_not_there(path: Path) -> None:
    with pytest.raises(OpenError, match="cannot read the ledger"):
        list(read_ledger(path))


def test_a_line_without_an_end_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_LINE", 1000)
    path.write_bytes(line() + b'{"key": "' + b"x" * 10_000)
    with pytest.raises(OpenError, match="line 2"):
        list(read_ledger(path))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_names = ["epoch", "stage", "url", "key", "ordinal", "field", "error", "action", "attempt", "delay", "offset"]
_entry = st.dictionaries(st.sampled_from(_names), _json | st.sampled_from(["skipped", "retried", "cut short"]))
_lines = st.lists(_entry.map(lambda changes: line(**changes)) | st.binary(max_size=40) | st.just(line()), max_size=5)


@given(_lines.map(b"".join))
def test_whatever_comes_is_a_ledger_or_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.jsonl"
    path.write_bytes(data)
    try:
        entries = list(read_ledger(path))
    except WebdsError:
        return
    assert all(isinstance(entry, Loss | Retry) for entry in entries)
