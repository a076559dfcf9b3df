"""9: a failure inside a shell pipeline, or a non-zero exit after all data, is an error with the end of stderr."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from shards import numbered_shards

from webds.errors import OpenError
from webds.openers import CommandOpener, default_opener, gopen

Open = Callable[[str], BinaryIO]
OPENERS: dict[str, Open] = {
    "gopen": lambda command: gopen(f"pipe:{command}"),
    "opener": lambda command: default_opener().open(f"pipe:{command}"),
    "template": lambda command: CommandOpener(f"{command}; status=$?; : {{url}}; exit $status").open("x"),
}


@pytest.fixture
def shard(tmp_path: Path) -> str:
    return shlex.quote(numbered_shards(tmp_path, 1, 20)[0])


def read(stream: BinaryIO, parts: list[bytes], size: int) -> None:
    with stream:
        while part := stream.read(size):
            parts.append(part)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell with pipefail")
@pytest.mark.parametrize("how", OPENERS)
def test_09_a_failure_inside_a_pipeline_is_an_error_with_its_stderr(how: str, shard: str) -> None:
    with pytest.raises(OpenError, match="the disk is on fire"):
        read(OPENERS[how](f"(head -c 2000 {shard}; echo the disk is on fire >&2; exit 5) | cat | cat"), [], 512)


@pytest.mark.parametrize("how", OPENERS)
@pytest.mark.parametrize("size", [512, 1 << 20])
def test_09_a_failure_after_all_data_is_an_error_and_all_data_came(how: str, size: int, shard: str) -> None:
    parts: list[bytes] = []
    with pytest.raises(OpenError, match=r"status 5(.|\n)*checksum mismatch"):
        read(OPENERS[how](f"cat {shard}; echo checksum mismatch >&2; (exit 5)"), parts, size)
    assert b"".join(parts) == Path(shlex.split(shard)[0]).read_bytes()


@pytest.mark.parametrize("how", OPENERS)
def test_09_no_way_of_reading_takes_a_failed_command_for_a_whole_one(how: str, shard: str) -> None:
    with OPENERS[how](f"cat {shard}; (exit 5)") as stream, pytest.raises(OpenError, match="status 5"):
        stream.read()


@pytest.mark.parametrize("how", OPENERS)
def test_09_a_reader_that_has_enough_and_sigpipe_are_no_errors(how: str, shard: str) -> None:
    with OPENERS[how](f"while cat {shard}; do :; done") as stream:
        assert len(stream.read(10_000)) == 10_000
    parts: list[bytes] = []
    read(OPENERS[how](f"yes | head -c 1000; cat {shard}"), parts, 512)
    assert len(b"".join(parts)) > 1000


def test_09_the_error_names_the_command_without_its_secrets() -> None:
    with pytest.raises(OpenError) as caught:
        read(
            gopen("pipe:echo no access for --password hush >&2; cat --password hush 'http://u:hush@h/x?s=hush'"),
            [],
            512,
        )
    assert caught.value.url is not None
    assert caught.value.url.startswith("pipe:echo no access")
    assert "no access for" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_09_a_failed_command_that_is_written_to_is_an_error(tmp_path: Path) -> None:
    stream = gopen("pipe:cat > /dev/null; echo quota exceeded >&2; exit 5", "wb")
    stream.write(b"data")
    with pytest.raises(OpenError, match=r"status 5(.|\n)*quota exceeded"):
        stream.close()
