"""`gopen`, `reader` and `scheme_to_command`: URLs as streams, as the older system opened them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.utils.data
from in_workers import as_is, label
from shards import numbered_shards
from webserver import serving

import webds


@pytest.fixture
def commands() -> Iterator[dict[str, str]]:
    """Give the table for a test to change, and put it back as it was."""
    before = dict(webds.scheme_to_command)
    yield webds.scheme_to_command
    webds.scheme_to_command.clear()
    webds.scheme_to_command.update(before)


class TestFiles:
    def test_plain_paths_are_written_and_read(self, tmp_path: Path) -> None:
        with webds.gopen(f"{tmp_path}/x", "wb") as stream:
            stream.write(b"data")
        with webds.gopen(f"{tmp_path}/x") as stream:
            assert stream.read() == b"data"
        with webds.reader(tmp_path / "x") as stream:
            assert stream.read(2) == b"da"

    @pytest.mark.parametrize("prefix", ["file:", "file://"])
    def test_file_urls_are_paths(self, tmp_path: Path, prefix: str) -> None:
        with webds.gopen(f"{prefix}{tmp_path}/x%20y", "wb") as stream:
            stream.write(b"data")
        assert (tmp_path / "x y").read_bytes() == b"data"

    def test_what_is_missing_is_an_os_error_with_its_name(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="missing"):
            webds.gopen(f"{tmp_path}/missing")

    @pytest.mark.parametrize("bufsize", [1, 8192, 0, -1])
    def test_any_buffer_size_will_do(self, tmp_path: Path, bufsize: int) -> None:
        with webds.gopen(f"{tmp_path}/x", "wb", bufsize) as stream:
            stream.write(bytes(20000))
        with webds.gopen(f"{tmp_path}/x", "rb", bufsize=bufsize) as stream:
            assert stream.read() == bytes(20000)

    @pytest.mark.parametrize("mode", ["r", "w", "ab", "rb+", ""])
    def test_other_modes_are_errors(self, tmp_path: Path, mode: str) -> None:
        with pytest.raises(ValueError, match="mode="):
            webds.gopen(f"{tmp_path}/x", mode)
        assert list(tmp_path.iterdir()) == []


class TestPipes:
    def test_the_output_of_a_command_is_read(self) -> None:
        with webds.gopen("pipe:printf abc | tr a-c A-C") as stream:
            assert stream.read() == b"ABC"

    def test_a_command_reads_what_is_written(self, tmp_path: Path) -> None:
        with webds.gopen(f"pipe:tr a-c A-C > '{tmp_path}/x'", "wb") as stream:
            stream.write(b"abc")
        assert (tmp_path / "x").read_bytes() == b"ABC"

    def test_a_bad_exit_status_is_an_error_with_status_and_stderr(self) -> None:
        with (
            pytest.raises(OSError, match="out of luck") as caught,
            webds.gopen("pipe:printf abc; echo out of luck >&2; exit 3") as stream,
        ):
            stream.read()
        assert "3" in str(caught.value)

    def test_a_writing_command_that_fails_is_an_error_at_close(self) -> None:
        stream = webds.gopen("pipe:cat > /dev/null; echo disk full >&2; exit 4", "wb")
        stream.write(b"abc")
        with pytest.raises(OSError, match="disk full"):
            stream.close()

    def test_the_status_of_sigpipe_is_fine(self) -> None:
        with webds.gopen("pipe:printf abc; exit 141") as stream:
            assert stream.read() == b"abc"

    def test_a_command_may_be_left_before_its_end(self) -> None:
        with webds.gopen("pipe:yes") as stream:
            assert stream.read(4) == b"y\ny\n"

    def test_a_failure_inside_a_pipeline_is_an_error(self) -> None:
        with pytest.raises(OSError, match="missing"), webds.gopen("pipe:cat /missing/file | tr a b") as stream:
            stream.read()


class TestStandardStreams:
    def test_a_dash_is_standard_input_and_output(self) -> None:
        code = (
            "import webds\n"
            "with webds.gopen('-') as source, webds.gopen('-', 'wb') as sink:\n"
            "    sink.write(source.read().upper())\n"
            "print('still open')"
        )
        done = subprocess.run([sys.executable, "-c", code], input=b"abc\n", capture_output=True, check=True)
        assert done.stdout == b"ABC\nstill open\n"

    def test_shards_come_and_go_through_them(self) -> None:
        write = "import webds\nwith webds.TarWriter('-') as sink: sink.write({'__key__': 'a', 'cls': 7})"
        read = "import webds\nprint(list(webds.Dataset('-').decode()))"
        shard = subprocess.run([sys.executable, "-c", write], capture_output=True, check=True).stdout
        done = subprocess.run([sys.executable, "-c", read], input=shard, capture_output=True, check=True)
        assert done.stdout.decode().strip() == "[{'__key__': 'a', 'cls': 7}]"


class TestWeb:
    def test_http_urls_are_read(self, tmp_path: Path) -> None:
        urls = numbered_shards(tmp_path, shards=2)
        with serving() as server:
            server.routes = {f"/{i}.tar": Path(url).read_bytes() for i, url in enumerate(urls)}
            with webds.gopen(server.url("/0.tar")) as stream:
                assert stream.read() == Path(urls[0]).read_bytes()
            assert [label(sample) for sample in webds.Dataset(server.url("/{0..1}.tar"))] == list(range(10))

    def test_what_is_not_there_is_an_error_that_names_it(self) -> None:
        with (
            serving() as server,
            pytest.raises(OSError, match=r"gone\.tar"),
            webds.gopen(server.url("/gone.tar")) as stream,
        ):
            stream.read()


class TestSchemes:
    def test_a_command_is_consulted_for_its_scheme(self, tmp_path: Path, commands: dict[str, str]) -> None:
        commands["gs"] = "echo got '{url}'"
        with webds.gopen("gs://bucket/x.tar") as stream:
            assert stream.read() == b"got gs://bucket/x.tar\n"

    def test_the_url_is_quoted_for_the_shell(self, tmp_path: Path, commands: dict[str, str]) -> None:
        for template in ("printf %s {url}", "printf %s '{url}'", 'printf %s "{url}"'):
            commands["gs"] = template
            url = f"gs://bucket/$(touch {tmp_path}/pwned)'; touch {tmp_path}/pwned; '\"`touch {tmp_path}/pwned`.tar"
            with webds.gopen(url) as stream:
                assert stream.read() == url.encode()
        assert list(tmp_path.iterdir()) == []

    def test_it_wins_over_what_is_built_in(self, commands: dict[str, str]) -> None:
        commands["http"] = "echo mine {url}"
        with webds.gopen("http://127.0.0.1:1/x") as stream:
            assert stream.read() == b"mine http://127.0.0.1:1/x\n"

    def test_a_command_that_fails_says_why(self, commands: dict[str, str]) -> None:
        commands["gs"] = "echo no such bucket: {url} >&2; false"
        with pytest.raises(OSError, match="no such bucket"), webds.gopen("gs://bucket/x.tar") as stream:
            stream.read()

    def test_datasets_use_it_with_and_without_workers(self, tmp_path: Path, commands: dict[str, str]) -> None:
        numbered_shards(tmp_path)
        commands["mine"] = f"cd '{tmp_path}' && cat $(basename {{url}})"
        dataset = webds.Dataset("mine://host/shard-{000000..000003}.tar").map(label)
        assert list(dataset) == list(range(20))
        loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2, collate_fn=as_is)
        assert sorted(loader) == list(range(20))

    def test_a_command_without_a_place_for_the_url_is_an_error(self, commands: dict[str, str]) -> None:
        commands["gs"] = "gsutil cat"
        with pytest.raises(ValueError, match="gsutil cat"):
            webds.gopen("gs://bucket/x.tar")

    def test_a_scheme_that_nobody_knows_is_an_error_that_says_what_to_do(self) -> None:
        with pytest.raises(OSError, match="scheme_to_command"):
            webds.gopen("nonesuch://host/x.tar")

    def test_schemes_that_fsspec_knows_are_opened(self) -> None:
        with webds.gopen("memory://older/x", "wb") as stream:
            stream.write(b"data")
        with webds.gopen("memory://older/x") as stream:
            assert stream.read() == b"data"
