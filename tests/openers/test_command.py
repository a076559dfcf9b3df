from __future__ import annotations

import os
import pickle
import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers import CommandOpener
from webds.testing import OpenerSuite


class TestCommandOpener(OpenerSuite):
    @override
    def make_opener(self) -> Opener:
        return CommandOpener("cat {url} # --token=0pen-sesame")

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = folder / f"{len(os.listdir(folder))} $(x) 'y'.bin"
        path.write_bytes(content)
        return str(path)

    @override
    def missing_url(self, folder: Path) -> str:
        return f"{folder}/nothing"

    @override
    def opener_secrets(self) -> list[str]:
        return ["0pen-sesame"]


class TestWritingCommand(TestCommandOpener):
    @override
    def make_opener(self) -> Opener:
        return CommandOpener("cat {url}", "cat > '{url}' # --token=0pen-sesame")

    @override
    def writable_url(self, folder: Path) -> str | None:
        return f"{folder}/written"


TEMPLATES = [
    "printf %s {url}",
    "printf %s '{url}'",
    'printf %s "{url}"',
    "printf '%s' {url}",
    r"printf \%s {url}",
    'x="$(printf %s "{url}"; echo .)"; printf %s "${x%.}"',
    "x=$(printf %s '{url}'; echo .); printf %s \"${x%.}\"",
    "(printf %s {url})",
    "printf %s {url} | cat",
    "echo don\\'t > /dev/null; printf %s '{url}'",
    'echo "don\'t" > /dev/null; printf %s {url}',
    "awk 'BEGIN {printf \"\"}'; printf %s {url}",
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(
    "url",
    [
        *("a b", "it's", 'say "x"', "$(echo x)", "`echo x`", "$HOME", "a;echo x", "a\nb\n", "*"),
        *("\\'\"", "é", "~", "&|><()", "-n", "!x"),
    ],
)
def test_a_url_is_one_argument_in_any_quotes(template: str, url: str) -> None:
    expected = f"./{url}" if url.startswith("-") else url
    with CommandOpener(template).open(url) as stream:
        assert stream.read().decode() == expected


@settings(max_examples=30, deadline=None)
@given(
    url=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30),
    template=st.sampled_from(TEMPLATES[:7]),
)
def test_no_url_becomes_a_part_of_the_command(url: str, template: str) -> None:
    expected = f"./{url}" if url.startswith("-") and url != "-" else url
    with CommandOpener(template).open(url) as stream:
        assert stream.read().decode() == expected


@pytest.mark.parametrize("template", ['printf %s "`printf %s {url}`"', 'printf %s "$(printf %s {url})"'])
def test_inside_substitutions_a_url_is_one_argument_too(template: str) -> None:
    with CommandOpener(template).open("a  b; echo x") as stream:
        assert stream.read() == b"a  b; echo x"


def test_text_around_the_place_stays(tmp_path: Path) -> None:
    with CommandOpener("printf %s 'a {url} b'\" c {url}_d\"e{url}f").open("x  y") as stream:
        assert stream.read() == b"a x  y b c x  y_dex  yf"


def test_other_braces_are_the_shells() -> None:
    with CommandOpener("echo {1,2} {url} | awk '{print $1, $3}'").open("u") as stream:
        assert stream.read() == b"1 u\n"


def test_a_path_that_looks_like_an_option_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-n").write_bytes(b"data\n")
    with CommandOpener("cat {url}").open("-n") as stream:
        assert stream.read() == b"data\n"


def test_a_template_without_a_place_is_refused_and_shows_no_secret() -> None:
    with pytest.raises(ValueError, match=r"\{url\}") as caught:
        CommandOpener("curl --user me:hush")
    assert "hush" not in str(caught.value)
    with pytest.raises(ValueError, match=r"\{url\}"):
        CommandOpener("cat {url}", "cat > x")


def test_a_failure_names_template_and_url(tmp_path: Path) -> None:
    with pytest.raises(OpenError, match=r"cat \{url\}.*status 1") as caught:
        CommandOpener("cat {url}").open(f"{tmp_path}/x").read()
    assert caught.value.url == f"{tmp_path}/x"


@pytest.mark.parametrize("url", ["", "a\0b", "x" * (1 << 22)])
def test_what_cannot_be_an_argument_is_an_open_error(url: str) -> None:
    with pytest.raises(OpenError):
        CommandOpener("cat {url}").open(url)


def test_the_buffer_size_reaches_the_stream() -> None:
    opener = pickle.loads(pickle.dumps(CommandOpener("printf %0100d {url}", buffer_size=10)))
    with opener.open(shlex.quote("7")) as stream:
        stream.read(1)
        assert len(stream.peek(1)) == 9
