"""`TarWriter` and `ShardWriter`, as the older system's users call them."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import webds


def members(path: Path) -> dict[str, bytes]:
    """Return name → content of a tar, as the standard library reads it."""
    with tarfile.open(path) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]  # files only


class TestTarWriter:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        sample = {
            "__key__": "dir.x/one", "cls": 7, "txt": "text", "json": {"a": [1, 2]}, "bin": b"\0\1",
            "png": np.full((4, 5, 3), 9, np.uint8), "npy": np.arange(3), "ten": [np.arange(4, dtype=np.int32)],
            "pth": torch.arange(3),
        }  # fmt: skip
        with webds.TarWriter(str(tmp_path / "a.tar")) as sink:
            sink.write(sample)
        (found,) = webds.Dataset(tmp_path / "a.tar").decode("rgb8")
        assert set(found) == set(sample)
        assert (found["__key__"], found["cls"], found["txt"], found["json"], found["bin"]) == (
            "dir.x/one", 7, "text", {"a": [1, 2]}, b"\0\1",
        )  # fmt: skip
        np.testing.assert_array_equal(found["png"], np.full((4, 5, 3), 9, np.uint8))
        np.testing.assert_array_equal(found["npy"], np.arange(3))
        np.testing.assert_array_equal(found["ten"][0], np.arange(4))
        assert found["pth"].tolist() == [0, 1, 2]

    def test_write_returns_the_payload_bytes(self, tmp_path: Path) -> None:
        with webds.TarWriter(tmp_path / "a.tar") as sink:
            assert sink.write({"__key__": "a", "txt": "12345", "cls": 10, "bin": b"123"}) == 10

    def test_dwrite_takes_fields_by_keyword(self, tmp_path: Path) -> None:
        with webds.TarWriter(tmp_path / "a.tar") as sink:
            assert sink.dwrite("a", seg_txt="12", cls=3) == 3
            assert sink.dwrite(key="b", txt="x") == 1
        assert members(tmp_path / "a.tar") == {"a.cls": b"3", "a.seg.txt": b"12", "b.txt": b"x"}

    def test_fields_are_in_sorted_order(self, tmp_path: Path) -> None:
        with webds.TarWriter(tmp_path / "a.tar") as sink:
            sink.write({"txt": "1", "__key__": "a", "cls": 2, "bin": b""})
        assert list(members(tmp_path / "a.tar")) == ["a.bin", "a.cls", "a.txt"]

    def test_owner_group_and_mode(self, tmp_path: Path) -> None:
        with webds.TarWriter(tmp_path / "a.tar") as sink:
            sink.write({"__key__": "a", "cls": 1})
        with webds.TarWriter(tmp_path / "b.tar", "me", "us", 0o640) as sink:
            sink.write({"__key__": "a", "cls": 1})
        with tarfile.open(tmp_path / "a.tar") as archive:
            (info,) = archive
            assert (info.uname, info.gname, info.mode) == ("bigdata", "bigdata", 0o444)
        with tarfile.open(tmp_path / "b.tar") as archive:
            (info,) = archive
            assert (info.uname, info.gname, info.mode) == ("me", "us", 0o640)

    @pytest.mark.parametrize("name", ["a.tgz", "a.tar.gz", "a.gz"])
    def test_the_name_tells_whether_to_compress(self, tmp_path: Path, name: str) -> None:
        with webds.TarWriter(tmp_path / name) as sink:
            sink.write({"__key__": "a", "cls": 1})
        assert (tmp_path / name).read_bytes()[:2] == b"\x1f\x8b"
        assert len(list(webds.Dataset(tmp_path / name))) == 1

    def test_unless_told(self, tmp_path: Path) -> None:
        with webds.TarWriter(tmp_path / "a.tgz", compress=False) as sink:
            sink.write({"__key__": "a", "cls": 1})
        with webds.TarWriter(tmp_path / "a.tar", compress=True) as sink:
            sink.write({"__key__": "a", "cls": 1})
        assert gzip.decompress((tmp_path / "a.tar").read_bytes()) == (tmp_path / "a.tgz").read_bytes()

    def test_an_open_stream_is_left_open(self) -> None:
        stream = io.BytesIO()
        with webds.TarWriter(stream) as sink:
            sink.write({"__key__": "a", "cls": 1})
        assert not stream.closed
        stream.seek(0)
        assert list(webds.tariterator(stream)) == [{"__key__": "a", "cls": 1}]

    def test_a_pipe_takes_it(self, tmp_path: Path) -> None:
        with webds.TarWriter(f"pipe:cat > '{tmp_path}/a.tar'") as sink:
            sink.write({"__key__": "a", "cls": 1})
        assert members(tmp_path / "a.tar") == {"a.cls": b"1"}

    def test_close_ends_it_and_may_be_called_again(self, tmp_path: Path) -> None:
        sink = webds.TarWriter(tmp_path / "a.tar")
        sink.write({"__key__": "a", "cls": 1})
        sink.close()
        sink.close()
        assert members(tmp_path / "a.tar") == {"a.cls": b"1"}
        with pytest.raises(ValueError, match="closed"):
            sink.write({"__key__": "b", "cls": 1})

    @pytest.mark.parametrize(
        ("bad", "text"),
        [
            ({"cls": 1}, "__key__"),
            ({"__key__": "b", "png": object()}, "png"),
            ({"__key__": "b", "unknown": 1.5}, "unknown"),
            ({"__key__": "dir/b.c", "cls": 1}, "dot"),
            ({"__key__": "b", "_note": 3, "cls": 1}, "_note"),
        ],
        ids=["no key", "not encodable", "no encoder", "dotted key", "metadata that is no str"],
    )
    def test_a_bad_sample_is_an_error_and_nothing_of_it_is_written(
        self, tmp_path: Path, bad: dict[str, Any], text: str
    ) -> None:
        with webds.TarWriter(tmp_path / "a.tar") as sink:
            sink.write({"__key__": "a", "cls": 0})
            with pytest.raises(ValueError, match=text):
                sink.write(bad)
            sink.write({"__key__": "c", "cls": 2})
        assert members(tmp_path / "a.tar") == {"a.cls": b"0", "c.cls": b"2"}

    def test_metadata_is_dropped_unless_it_is_kept(self, tmp_path: Path) -> None:
        sample = {"__key__": "a", "cls": 1, "_note": "grün", "__url__": "x"}
        with webds.TarWriter(tmp_path / "a.tar") as sink, pytest.warns(RuntimeWarning, match="_note"):
            sink.write(sample)
        with webds.TarWriter(tmp_path / "b.tar", keep_meta=True) as sink:
            sink.write(sample)
        assert members(tmp_path / "a.tar") == {"a.cls": b"1"}
        assert members(tmp_path / "b.tar") == {"a._note": "grün".encode(), "a.cls": b"1"}


class TestEncoder:
    def test_false_takes_bytes_alone(self, tmp_path: Path) -> None:
        with webds.TarWriter(tmp_path / "a.tar", encoder=False) as sink:
            sink.write({"__key__": "a", "cls": b"1"})
            with pytest.raises(ValueError, match="encoder=False"):
                sink.write({"__key__": "b", "cls": 1})
        assert members(tmp_path / "a.tar") == {"a.cls": b"1"}

    def test_a_callable_makes_bytes_of_the_sample(self, tmp_path: Path) -> None:
        def encode(sample: dict[str, Any]) -> dict[str, Any]:
            return {"__key__": sample["__key__"], "bin": bytes(sample["numbers"])}

        with webds.TarWriter(tmp_path / "a.tar", encoder=encode) as sink:
            sink.write({"__key__": "a", "numbers": [1, 2]})
        assert members(tmp_path / "a.tar") == {"a.bin": b"\1\2"}

    def test_a_dict_adds_to_and_replaces_the_default(self, tmp_path: Path) -> None:
        def quoted(value: object) -> bytes:
            return repr(value).encode()

        with webds.TarWriter(tmp_path / "a.tar", encoder={"new": quoted, "txt": quoted}) as sink:
            sink.write({"__key__": "a", "new": [1], "txt": "x", "cls": 5})
        assert members(tmp_path / "a.tar") == {"a.cls": b"5", "a.new": b"[1]", "a.txt": b"'x'"}

    def test_pickles_are_written_only_by_a_codec_that_says_so(self, tmp_path: Path) -> None:
        with webds.TarWriter(tmp_path / "a.tar", encoder={"pyd": pickle.dumps}) as sink:
            sink.write({"__key__": "a", "pyd": {1, 2}})
        assert pickle.loads(members(tmp_path / "a.tar")["a.pyd"]) == {1, 2}


class TestShardWriter:
    @staticmethod
    def write(sink: webds.ShardWriter, numbers: range) -> None:
        for number in numbers:
            sink.write({"__key__": f"{number:03d}", "txt": f"{number:010d}"})

    @staticmethod
    def counts(folder: Path) -> dict[str, int]:
        return {path.name: len(members(path)) for path in sorted(folder.iterdir())}

    def test_it_begins_a_shard_when_the_last_has_maxcount_samples(self, tmp_path: Path) -> None:
        with webds.ShardWriter(f"{tmp_path}/x-%03d.tar", maxcount=4) as sink:
            self.write(sink, range(10))
        assert self.counts(tmp_path) == {"x-000.tar": 4, "x-001.tar": 4, "x-002.tar": 2}
        keys = [sample["__key__"] for sample in webds.Dataset(f"{tmp_path}/x-{{000..002}}.tar")]
        assert keys == [f"{number:03d}" for number in range(10)]

    def test_reaching_maxsize_closes_the_shard(self, tmp_path: Path) -> None:
        """Payload bytes count, ten a sample here, and the sample that reaches the limit is the last one."""
        with webds.ShardWriter(f"{tmp_path}/x-%d.tar", maxsize=30) as sink:
            self.write(sink, range(7))
        assert self.counts(tmp_path) == {"x-0.tar": 3, "x-1.tar": 3, "x-2.tar": 1}

    def test_post_is_called_with_each_finished_shard(self, tmp_path: Path) -> None:
        seen: list[tuple[str, int]] = []

        def post(name: str) -> None:
            seen.append((Path(name).name, len(members(Path(name)))))

        with webds.ShardWriter(f"{tmp_path}/x-%d.tar", 2, post=post) as sink:
            self.write(sink, range(3))
            assert seen == [("x-0.tar", 2)]
        assert seen == [("x-0.tar", 2), ("x-1.tar", 1)]

    def test_other_arguments_go_to_tar_writer(self, tmp_path: Path) -> None:
        with webds.ShardWriter(f"{tmp_path}/x-%d.tar", encoder={"new": str.encode}, user="me", keep_meta=True) as sink:
            sink.write({"__key__": "a", "new": "new", "_note": "note"})
        assert members(tmp_path / "x-0.tar") == {"a._note": b"note", "a.new": b"new"}
        arguments: dict[str, Any] = {"encodre": False}
        with pytest.raises(TypeError, match="encodre"):
            webds.ShardWriter(f"{tmp_path}/y-%d.tar", **arguments)

    def test_next_stream_and_finish_end_a_shard_early(self, tmp_path: Path) -> None:
        sink = webds.ShardWriter(f"{tmp_path}/x-%d.tar")
        self.write(sink, range(2))
        sink.next_stream()
        self.write(sink, range(2, 3))
        sink.finish()
        self.write(sink, range(3, 7))
        sink.close()
        sink.close()
        assert self.counts(tmp_path) == {"x-0.tar": 2, "x-1.tar": 1, "x-2.tar": 4}

    def test_compressed_by_their_names(self, tmp_path: Path) -> None:
        with webds.ShardWriter(f"{tmp_path}/x-%d.tgz", maxcount=1) as sink:
            self.write(sink, range(2))
        assert len(list(webds.Dataset(f"{tmp_path}/x-{{0..1}}.tgz"))) == 2

    @pytest.mark.parametrize("bad", [{}, {"cls": 1}, {"__key__": "a.b", "cls": 1}])
    def test_a_bad_sample_is_an_error_and_the_shard_goes_on(self, tmp_path: Path, bad: dict[str, Any]) -> None:
        with webds.ShardWriter(f"{tmp_path}/x-%d.tar") as sink:
            self.write(sink, range(1))
            with pytest.raises(webds.WriteError):
                sink.write(bad)
            self.write(sink, range(1, 2))
        assert self.counts(tmp_path) == {"x-0.tar": 2}

    def test_a_pattern_without_a_number_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"x\.tar"):
            webds.ShardWriter(f"{tmp_path}/x.tar")
