from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from webds.openers.storeglob import folder_of, is_deep, matches
from webds.urls import local_glob

KEYS = ["a/x.tar", "a/.x.tar", "a/b/x.tar", "a/b/y.tar", ".h/x.tar", "x.tar", "[x].tar", "a/b/c/d/z.tar", "ab/x-12.tar"]
_PART = st.sampled_from(["*", "**", "?", "a", "b", "x.tar", "*.tar", ".*", "[ab]", "[!a]", "?.tar", "x-[0-9]*", "a*"])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    for key in KEYS:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@given(st.lists(_PART, min_size=1, max_size=5))
def test_keys_match_as_local_files_do(tree: Path, parts: list[str]) -> None:
    pattern = "/".join(parts)
    local = {os.path.relpath(path, tree) for path in local_glob(f"{tree}/{pattern}")}
    assert {key for key in KEYS if matches(key, pattern)} == local


@pytest.mark.parametrize(
    ("pattern", "folder", "deep"),
    [
        ("x-*.tar", "", False),
        ("a/b/x-*.tar", "a/b", False),
        ("a/*/x.tar", "a", True),
        ("**", "", True),
        ("a/**", "a", True),
        ("a[1]/b/x", "", True),
    ],
)
def test_what_is_listed(pattern: str, folder: str, deep: bool) -> None:
    assert (folder_of(pattern), is_deep(pattern)) == (folder, deep)
