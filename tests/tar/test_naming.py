from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from webds.tar.naming import base_plus_ext, by_extension, is_metadata


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.jpg", ("a", "jpg")),
        ("a.seg.PNG", ("a", "seg.png")),
        ("a.b/c.d.JPG", ("a.b/c", "d.jpg")),
        ("./a.jpg", ("./a", "jpg")),
        ("../x/a.jpg", ("../x/a", "jpg")),
        ("/abs/a.cls", ("/abs/a", "cls")),
        ("a b/c d.txt", ("a b/c d", "txt")),
        ("a.", ("a", "")),
        ("__a__.jpg", ("__a__", "jpg")),
        ("x/__a__/b.jpg", ("x/__a__/b", "jpg")),
        ("__a/b__/c.jpg", ("__a/b__/c", "jpg")),
        ("ü/ö.Ä", ("ü/ö", "ä")),
    ],
)
def test_key_ends_at_the_first_dot_of_the_basename(path: str, expected: tuple[str, str]) -> None:
    assert base_plus_ext(path) == expected


@pytest.mark.parametrize(
    "path", ["", "a", "a.b/c", ".a", ".a.jpg", "a/.b.jpg", "a.d/", "__index__", "__meta__/a.jpg", "__a__/__b__/c.d"]
)
def test_names_without_a_stem_or_a_dot_and_metadata_belong_to_no_sample(path: str) -> None:
    assert base_plus_ext(path) == (None, None)


@given(st.text("ab./_É", max_size=12))
def test_key_and_field_put_together_are_the_path(path: str) -> None:
    key, field = base_plus_ext(path)
    if key is None or field is None:
        base = path.rpartition("/")[2]
        assert "." not in base or base.startswith(".") or is_metadata(path)
    else:
        assert path.startswith(key + ".")
        assert path[len(key) + 1 :].lower() == field
        assert "." not in key.rpartition("/")[2]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("__a__", True),
        ("__a__/", True),
        ("__a b__/c.jpg", True),
        ("____", False),
        ("__a__b", False),
        ("__a__.json", False),
        ("x/__a__", False),
        ("__a", False),
    ],
)
def test_metadata_is_named_by_underscores_around_the_first_component(path: str, expected: bool) -> None:
    assert is_metadata(path) is expected


def test_the_whole_field_name_goes_before_its_last_component() -> None:
    table = {"png": 1, "seg.png": 2, "seg": 3}
    assert by_extension(table, "seg.png") == 2
    assert by_extension(table, "depth.png") == 1
    assert by_extension(table, "png") == 1
    assert by_extension(table, "seg.jpg") is None
    assert by_extension({"a": None, "b.a": 1}, "b.a") == 1
