"""34, commands: no shell command that came out of a file is run, unless the caller asked for it by name."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from stores import put
from webserver import serving

from webds.errors import DecodeError, OpenError, UntrustedDataError, WebdsError
from webds.openers import default_opener, scheme_to_command
from webds.sources.urls import expand_urls


def manifest(*urls: str) -> str:
    return json.dumps({"__kind__": "wids-shard-index-v1", "shardlist": [{"url": url} for url in urls]})


def lines(*urls: str) -> str:
    return "".join(f"{url}\n" for url in urls)


KINDS: dict[str, Callable[..., str]] = {"list.json": manifest, "list.txt": lines}


@pytest.fixture(params=["path", "web", "store"])
def published(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Publishes a file where it can be read, and returns its URL."""
    monkeypatch.setenv("no_proxy", "*")
    with serving() as web:

        def publish(name: str, text: str) -> str:
            if request.param == "web":
                web.routes[f"/{name}"] = text.encode()
                return web.url(f"/{name}")
            if request.param == "store":
                return put(f"memory://lists/{name}", text)
            (tmp_path / name).write_text(text)
            return str(tmp_path / name)

        yield publish


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("prefix", ["pipe:", "PIPE:", "  pipe:"])
def test_34_a_command_out_of_a_list_is_refused_and_the_refusal_says_how(
    name: str, prefix: str, published: Callable[[str, str], str], tmp_path: Path
) -> None:
    evil = tmp_path / "evil"
    url = published(name, KINDS[name]("x.tar", f"{prefix}touch {shlex.quote(str(evil))}"))
    with pytest.raises(
        UntrustedDataError, match=r'in code(.|\n)*\.with_opener\("pipe", webds\.PipeOpener\(\)\)'
    ) as caught:
        expand_urls(url, default_opener())
    assert isinstance(caught.value, PermissionError)
    assert isinstance(caught.value, DecodeError)
    assert caught.value.url == url
    assert not evil.exists()


@pytest.mark.parametrize("name", KINDS)
def test_34_a_command_out_of_a_list_runs_for_who_trusts_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(KINDS[name]("pipe:echo data"))
    (url,) = expand_urls(tmp_path / name, default_opener(), trust_commands=True)
    with default_opener().open(url) as stream:
        assert stream.read() == b"data\n"


def test_34_a_command_in_code_runs() -> None:
    (url,) = expand_urls("pipe:echo data", default_opener())
    with default_opener().open(url) as stream:
        assert stream.read() == b"data\n"


def run_all(source: str, opener: Any) -> None:
    """Do everything with a list that a dataset would do."""
    try:
        for url in expand_urls(source, opener):
            try:
                with opener.open(url) as stream:
                    stream.read(10)
            except OpenError:
                pass
    except WebdsError:
        pass


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prefix=st.sampled_from(
        ["", "pipe:", "file:", "./", "%70ipe:", "mine://", "mine:", "pi\tpe:", "\ufeffpipe:", "{pipe,x}:", "-"]
    ),
    command=st.sampled_from(
        ["touch evil", "`touch evil`", "$(touch evil)", "x'; touch evil; '", 'x"; touch evil; "', "x|touch evil"]
    ),
)
@example(prefix="mine://", command="x'; touch evil; '")
def test_34_nothing_in_a_list_runs(
    name: str, prefix: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for template in ("cat {url}", "cat '{url}'", 'cat "{url}"'):
        monkeypatch.setitem(scheme_to_command, "mine", template)
        (tmp_path / name).write_text(KINDS[name](f"{prefix}{command}"))
        run_all(name, default_opener())
        assert not (tmp_path / "evil").exists()


def test_34_a_scheme_that_code_mapped_to_a_command_is_allowed_and_its_url_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scheme_to_command, "mine", "printf %s '{url}'")
    hostile = "mine://x'; touch evil; '$(touch evil)"
    (tmp_path / "list.json").write_text(manifest(hostile))
    (url,) = expand_urls(tmp_path / "list.json", default_opener())
    with default_opener().open(url) as stream:
        assert stream.read().decode() == hostile


def test_34_a_file_that_is_called_like_a_command_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pipe:touch evil", "-"):
        (tmp_path / name).write_bytes(name.encode())
    found = expand_urls("*", default_opener())
    contents = [default_opener().read_range(url, 0, 100).decode() for url in found]
    assert contents == ["-", "pipe:touch evil"]
    assert not (tmp_path / "evil").exists()
