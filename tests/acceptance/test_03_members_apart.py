"""Line 3, reading: members of one sample that are apart raise, and no fragment is delivered."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from webds.errors import SampleError
from webds.tar import Duplicates, read_samples


def shard(*names: str) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    buffer.seek(0)
    return buffer


def check(error: SampleError, key: str, field: str) -> None:
    assert (error.url, error.key, error.field) == ("data/x.tar", key, field)
    assert "tar --sort=name" in str(error)
    assert repr(key) in error.message


@pytest.mark.parametrize("duplicates", ["error", "skip", "first", "last"])
@pytest.mark.parametrize("on_error", [None, lambda error: True, lambda error: False])
def test_03_alternating_members_raise_before_any_fragment(
    duplicates: Duplicates, on_error: Callable[[Exception], bool] | None
) -> None:
    stream = shard("a.jpg", "b.jpg", "a.cls", "b.cls")
    samples = read_samples(stream, url="data/x.tar", duplicates=duplicates, on_error=on_error)
    with pytest.raises(SampleError) as caught:
        next(samples)
    check(caught.value, "a", "cls")
    assert "after 0 samples" in str(caught.value)
    assert list(samples) == []


def test_03_all_of_one_field_and_then_all_of_another_raise() -> None:
    names = [f"{number}.{field}" for field in ("jpg", "cls") for number in range(50)]
    with pytest.raises(SampleError) as caught:
        list(read_samples(shard(*names), url="data/x.tar"))
    check(caught.value, "0", "cls")


def test_03_a_field_that_comes_much_later_raises() -> None:
    names = [f"{number}.jpg" for number in range(1000)]
    with pytest.raises(SampleError) as caught:
        list(read_samples(shard(*names, "17.cls"), url="data/x.tar"))
    check(caught.value, "17", "cls")


def test_03_other_members_between_those_of_a_sample_do_not_take_them_apart() -> None:
    samples = list(read_samples(shard("a.jpg", "README", "__meta__/x.json", "a.cls", "b.jpg")))
    assert [list(sample) for sample in samples] == [["__key__", "jpg", "cls"], ["__key__", "jpg"]]


def test_03_the_hint_helps(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("b.jpg", "a.jpg", "a.cls", "b.cls"):
        (tree / name).write_bytes(name.encode())
    command = ["tar", "-C", str(tree), "-cf", str(tmp_path / "x.tar")]
    subprocess.run([*command, "a.jpg", "b.jpg", "a.cls", "b.cls"], check=True)
    with (tmp_path / "x.tar").open("rb") as stream, pytest.raises(SampleError):
        list(read_samples(stream))
    subprocess.run([*command, "--sort=name", "."], check=True)
    with (tmp_path / "x.tar").open("rb") as stream:
        assert [sample["__key__"] for sample in read_samples(stream)] == ["./a", "./b"]
