"""Files that a table names."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from counting import CountingOpener

from webds.errors import OpenError, UntrustedDataError
from webds.openers.named import read_named
from webds.openers.schemes import as_opener


def test_paths_are_read_and_urls_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    opener = as_opener(lambda url: io.BytesIO(url.encode()))
    assert read_named(str(tmp_path / "a"), opener) == b"content"
    assert read_named("store://a", opener) == b"store://a"
    with pytest.raises(OpenError, match="cannot read"):
        read_named(str(tmp_path / "missing"), opener)


@pytest.mark.parametrize("url", ["pipe:echo hello", "-"])
def test_commands_are_not_run(url: str) -> None:
    with pytest.raises(UntrustedDataError, match="it is not run"):
        read_named(url, CountingOpener())
