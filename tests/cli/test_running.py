"""What all commands have in common: how errors are told, and how the process ends."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from commands import faulty, in_terminal, start, webds as run
from shards import numbered_shards

from webds.cli.arguments import expand
from webds.cli.group import COMMANDS, webds


def test_an_error_of_the_data_is_one_line_without_secrets_and_status_1() -> None:
    outcome = faulty("data")
    assert (outcome.status, outcome.out) == (1, b"")
    assert outcome.err == "webds: https://***@host/x.tar?***: it is broken (key 'a\\x1b[2J', offset 512)\n"


def test_a_file_that_is_not_there_is_named() -> None:
    outcome = faulty("file")
    assert (outcome.status, outcome.err) == (1, "webds: /nowhere/at all: No such file or directory\n")


def test_any_other_exception_is_one_line_and_a_traceback_with_debug() -> None:
    assert faulty("bug").err == "webds: ZeroDivisionError: two lines\n"
    told = faulty("bug", "--debug")
    assert told.status == 1
    assert told.err.startswith("Traceback (most recent call last):\n")
    assert told.err.endswith("webds: ZeroDivisionError: two lines\n")


def test_debug_may_stand_before_the_command() -> None:
    outcome = run("--debug", "fault", "bug", code=_faulty_code())
    assert "Traceback" in outcome.err


def _faulty_code() -> str:
    import commands

    return commands._WITH_FAULTS


def test_wrong_usage_is_status_2_and_names_the_help() -> None:
    outcome = faulty("usage")
    assert (outcome.status, outcome.err) == (2, "webds fault: Not so (try 'webds fault --help')\n")
    outcome = run("nonsense")
    assert (outcome.status, outcome.err) == (2, "webds: No such command 'nonsense' (try 'webds --help')\n")
    outcome = faulty()
    assert (outcome.status, outcome.err) == (2, "webds fault: Missing argument 'WHAT' (try 'webds fault --help')\n")


def test_an_interrupt_is_status_130() -> None:
    outcome = faulty("interrupt")
    assert (outcome.status, outcome.err) == (130, "webds: interrupted\n")


def test_a_process_that_is_asked_to_end_tidies_up() -> None:
    outcome = faulty("terminate")
    assert (outcome.status, outcome.out) == (143, b"tidied up\n")


def test_a_warning_is_one_line() -> None:
    outcome = faulty("warn")
    assert (outcome.status, outcome.err) == (0, "webds: warning: mind this\n")


def test_names_that_are_no_utf8_are_written_as_they_are() -> None:
    assert faulty("odd", env={"PYTHONUTF8": "1"}).out == b"\xff.txt\n"
    assert faulty("odd", env={"PYTHONIOENCODING": "ascii"}).out == b"\\udcff.txt\n"


def test_a_pipe_that_nobody_reads_any_more_ends_it_quietly() -> None:
    with start("fault", "many", code=_faulty_code()) as process:
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, b"")


def test_a_pipe_that_is_closed_before_anything_is_written_ends_it_quietly() -> None:
    with start("--version") as process:
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, b"")


def test_without_the_extra_one_line_names_it() -> None:
    code = """
import sys
sys.modules["rich"] = None
from webds.cli import main
sys.exit(main())
"""
    outcome = run("--help", code=code)
    assert (outcome.status, outcome.out) == (1, b"")
    assert outcome.err.count("\n") == 1
    assert "pip install 'webds[cli]'" in outcome.err


def test_help_loads_neither_torch_nor_numpy() -> None:
    code = "import sys; from webds.cli import main; main(); print({'torch', 'numpy', 'PIL'} & sys.modules.keys())"
    assert run("--help", code=code).lines[-1] == "set()"


def test_a_terminal_sees_how_far_work_is_and_a_pipe_gets_data_alone(tmp_path: Path) -> None:
    shards = [Path(shard).name for shard in numbered_shards(tmp_path, 3, 5)]  # no line is wider than the terminal
    outcome, seen = in_terminal("verify", *shards, cwd=tmp_path)
    assert (outcome.status, outcome.out) == (0, run("verify", *shards, cwd=tmp_path).out)
    assert "verify" in seen
    assert seen.rstrip().endswith("3 shards, 15 samples; all good")
    _, seen = in_terminal("verify", *shards, both=True, cwd=tmp_path)
    lines = [line for line in seen.replace("\x1b[2K", "\n").splitlines() if line.startswith("ok  ")]
    assert lines == outcome.lines


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_command_has_a_help_with_an_example(name: str) -> None:
    outcome = CliRunner().invoke(webds, [name, "--help"])
    assert outcome.exit_code == 0
    assert re.search(rf"Examples?:\n +webds {name} ", outcome.output)
    assert "--debug" in outcome.output
    command: click.Command = importlib.import_module(COMMANDS[name][0]).command
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_completion_knows_the_commands() -> None:
    outcome = run(env={"_WEBDS_COMPLETE": "bash_complete", "COMP_WORDS": "webds l", "COMP_CWORD": "1"})
    assert outcome.lines == ["plain,ls"]


def test_lines_of_a_file_stand_for_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list").write_text("# mine\n\n a-{0..1}.tar \nb.tar\n")
    assert list(expand(["x.tar", "@list"])) == ["x.tar", "a-{0..1}.tar", "b.tar"]
    (tmp_path / "@list").touch()  # a file of this very name
    assert list(expand(["@list"])) == ["@list"]


@pytest.mark.parametrize(
    ("content", "says"), [("pipe:rm x\n", "no file may run commands"), ("# none\n", "names no shards")]
)
def test_a_file_of_shards_runs_nothing_and_is_not_empty(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "list").write_text(content)
    with pytest.raises(click.UsageError, match=says):
        list(expand([f"@{tmp_path}/list"]))


def test_a_file_of_shards_that_is_not_there_is_wrong_usage() -> None:
    with pytest.raises(click.UsageError, match=r"cannot read @nowhere: No such file"):
        list(expand(["@nowhere"]))
