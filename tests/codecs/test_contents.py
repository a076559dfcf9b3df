"""Extensions of contents, and names of fields."""

from __future__ import annotations

import pytest

from webds.codecs.contents import extension_of, plain_name


@pytest.mark.parametrize(
    ("data", "path", "extension"),
    [
        (b"\xff\xd8\xff", None, "jpg"),
        (b"\x89PNG", "", "png"),
        (b"RIFF0000WAVE", None, "wav"),
        (b"RIFF0000WEBP", None, "webp"),
        (b"fLaC", None, "flac"),
        (b"?", None, "bin"),
        (b"", None, "bin"),
        (b"\x89PNG", "a/b.JPEG", "jpeg"),
        (b"\x89PNG", "photo.final (1)", "png"),
        (b"\x89PNG", "https://host/a.jpg?size=2", "png"),
        (b"?", "folder.d/name", "bin"),
    ],
)
def test_the_extension_is_that_of_the_path_or_what_the_bytes_begin_with(
    data: bytes, path: str | None, extension: str
) -> None:
    assert extension_of(data, path) == extension


def test_a_column_is_a_field_in_lower_case_that_ends_no_key() -> None:
    assert [plain_name(name) for name in ("Left Eye", "a/b", "_x", "__", "Seg.PNG")] == [
        "left_eye", "a_b", "x", "column", "seg.png",
    ]  # fmt: skip
