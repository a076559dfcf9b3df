"""`Dataset`, as a user of the older system makes one: its arguments, and what an iteration yields."""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pytest
from shards import numbered_shards, sample_of, write_members, write_shard
from typing_extensions import override

import webds


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    """Four shards of five samples, numbered through."""
    return numbered_shards(tmp_path)


def labels(samples: Iterable[Any]) -> list[int]:
    return [int(sample["cls"]) for sample in samples]


class TestUrls:
    def test_a_brace_expression_names_shards_in_its_order(self, tmp_path: Path, urls: list[str]) -> None:
        assert labels(webds.Dataset(f"{tmp_path}/shard-{{000000..000003}}.tar")) == list(range(20))
        assert labels(webds.Dataset(f"{tmp_path}/shard-{{000002,000001}}.tar")) == [*range(10, 15), *range(5, 10)]

    def test_a_list_of_names_is_read_in_its_order(self, urls: list[str]) -> None:
        assert labels(webds.Dataset(urls[::-2])) == [*range(15, 20), *range(5, 10)]

    def test_a_list_may_name_a_shard_twice(self, urls: list[str]) -> None:
        assert labels(webds.Dataset([urls[1], urls[1]])) == [*range(5, 10), *range(5, 10)]

    def test_a_tuple_is_as_good_as_a_list(self, urls: list[str]) -> None:
        assert labels(webds.Dataset(tuple(urls))) == list(range(20))

    def test_paths_are_welcome_alone_and_in_lists(self, urls: list[str]) -> None:
        assert labels(webds.Dataset(Path(urls[1]))) == list(range(5, 10))
        assert labels(webds.Dataset([Path(urls[1]), urls[0]])) == [*range(5, 10), *range(5)]

    def test_one_name_is_one_shard(self, urls: list[str]) -> None:
        assert labels(webds.Dataset(urls[3])) == list(range(15, 20))

    def test_a_local_glob_names_shards_sorted(self, tmp_path: Path, urls: list[str]) -> None:
        assert labels(webds.Dataset(f"{tmp_path}/*.tar")) == list(range(20))

    def test_a_list_may_hold_brace_expressions(self, tmp_path: Path, urls: list[str]) -> None:
        dataset = webds.Dataset([f"{tmp_path}/shard-{{000002..000003}}.tar", urls[0]])
        assert labels(dataset) == [*range(10, 20), *range(5)]

    def test_a_pipe_command_is_a_shard(self, urls: list[str]) -> None:
        assert labels(webds.Dataset(f"pipe:cat '{urls[2]}'")) == list(range(10, 15))

    def test_the_attribute_urls_lists_the_shards(self, tmp_path: Path, urls: list[str]) -> None:
        assert webds.Dataset(f"{tmp_path}/shard-{{000000..000003}}.tar").urls == urls

    @pytest.mark.parametrize("pattern", ["none-*.tar", "none-{0..3}.tar"])
    def test_a_pattern_without_a_match_is_an_error_that_shows_it(self, tmp_path: Path, pattern: str) -> None:
        with pytest.raises(ValueError, match="none-"):
            webds.Dataset(f"{tmp_path}/{pattern}")

    def test_an_empty_list_is_an_error(self) -> None:
        with pytest.raises(webds.UrlError, match="empty"):
            webds.Dataset([])

    def test_a_shard_that_is_missing_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="gone"):
            list(webds.Dataset([f"{tmp_path}/gone.tar"]))


class TestSamples:
    def test_a_sample_has_its_key_and_its_fields_as_bytes_and_nothing_else(self, urls: list[str]) -> None:
        first = next(iter(webds.Dataset(urls)))
        assert first == {"__key__": "key00000", "cls": b"0", "txt": b"text 0"}

    def test_every_iteration_begins_again(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls)
        assert labels(dataset) == labels(dataset) == list(range(20))

    def test_two_iterations_at_once_do_not_disturb_each_other(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls)
        assert [a["cls"] == b["cls"] for a, b in zip(dataset, dataset, strict=True)] == [True] * 20

    def test_suffixes_keep_only_these_fields(self, urls: list[str]) -> None:
        samples = list(webds.Dataset(urls, suffixes=["cls"]))
        assert labels(samples) == list(range(20))
        assert all(set(sample) == {"__key__", "cls"} for sample in samples)

    def test_suffixes_may_be_a_set_or_one_text(self, urls: list[str]) -> None:
        for suffixes in ({"cls", "png"}, "cls png", "cls"):
            assert set(next(iter(webds.Dataset(urls, suffixes=suffixes)))) == {"__key__", "cls"}

    def test_a_sample_with_none_of_the_suffixes_is_left_out(self, tmp_path: Path) -> None:
        url = write_shard(tmp_path / "a.tar", [{"__key__": "a", "cls": "0"}, {"__key__": "b", "txt": "text"}])
        assert labels(webds.Dataset(url, suffixes=["cls"])) == [0]
        assert list(webds.Dataset(url, suffixes=["png"])) == []

    def test_keys_replaces_the_rule_for_keys_and_fields(self, tmp_path: Path) -> None:
        def by_folder(path: str) -> tuple[str | None, str | None]:
            key, _, field = path.rpartition("/")
            return (None, None) if field == "ignored" else (key, field)

        url = write_members(tmp_path / "a.tar", [("one/x", b"1"), ("one/y", b"2"), ("ignored", b""), ("two.b/x", b"3")])
        assert list(webds.Dataset(url, keys=by_folder)) == [
            {"__key__": "one", "x": b"1", "y": b"2"},
            {"__key__": "two.b", "x": b"3"},
        ]

    def test_the_default_rule_is_base_plus_ext(self) -> None:
        assert webds.base_plus_ext("a.b/c.Seg.PNG") == ("a.b/c", "seg.png")
        assert webds.base_plus_ext("a.b/c") == (None, None)

    def test_missing_end_accepts_what_writers_without_end_blocks_made(self, tmp_path: Path) -> None:
        whole = Path(write_shard(tmp_path / "a.tar", [sample_of(1)])).read_bytes()
        (tmp_path / "b.tar").write_bytes(whole[: 4 * 512])
        with pytest.raises(webds.TarFormatError):
            list(webds.Dataset(tmp_path / "b.tar"))
        assert labels(webds.Dataset(tmp_path / "b.tar", missing_end="accept")) == [1]


class TestEpochsAndLength:
    def test_epochs_are_passes_of_one_iteration(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls, epochs=3)
        assert labels(dataset) == [*range(20)] * 3
        assert labels(dataset) == [*range(20)] * 3

    def test_shards_are_shuffled_anew_in_each_pass(self, urls: list[str]) -> None:
        seen = labels(webds.Dataset(urls, epochs=8, shuffle=True))
        passes = [tuple(seen[i : i + 20]) for i in range(0, 160, 20)]
        assert all(sorted(one) == list(range(20)) for one in passes)
        assert len(set(passes)) > 3

    @pytest.mark.parametrize("epochs", [0, -1])
    def test_less_than_one_pass_is_an_error(self, urls: list[str], epochs: int) -> None:
        with pytest.raises(ValueError, match=f"epochs={epochs}"):
            webds.Dataset(urls, epochs=epochs)

    def test_len_is_the_length_that_was_given(self, urls: list[str]) -> None:
        assert len(webds.Dataset(urls, length=17)) == 17
        assert len(webds.Dataset(urls, length=0)) == 0

    def test_len_without_one_is_a_type_error_that_says_what_to_do(self, urls: list[str]) -> None:
        with pytest.raises(TypeError, match="pass length="):
            len(webds.Dataset(urls))

    def test_derived_datasets_keep_the_length(self, urls: list[str]) -> None:
        assert len(webds.Dataset(urls, length=17).decode().to_tuple("cls")) == 17

    def test_list_works_without_a_length(self, urls: list[str]) -> None:
        assert len(list(webds.Dataset(urls))) == 20


class TestShuffle:
    def test_without_it_the_order_is_that_of_the_urls(self, urls: list[str]) -> None:
        assert labels(webds.Dataset(urls, shuffle=False)) == list(range(20))

    def test_it_shuffles_shards_and_leaves_samples_in_their_order(self, tmp_path: Path) -> None:
        urls = numbered_shards(tmp_path, shards=12, samples=3)
        seen = labels(webds.Dataset(urls, shuffle=True))
        starts = seen[::3]
        assert seen == [start + i for start in starts for i in range(3)]
        assert starts != sorted(starts)
        assert sorted(seen) == list(range(36))

    def test_epochs_differ_and_a_second_run_is_the_same(self, tmp_path: Path) -> None:
        urls = numbered_shards(tmp_path, shards=12, samples=1)
        first, again = webds.Dataset(urls, shuffle=True), webds.Dataset(urls, shuffle=True)
        epochs = [labels(first) for _ in range(3)]
        assert epochs == [labels(again) for _ in range(3)]
        assert len({tuple(epoch) for epoch in epochs}) == 3


def open_counting(url: str) -> BinaryIO:
    """Open a file by its number in place of a name."""
    return open(url.removeprefix("my:"), "rb")


class Prefixed(webds.Opener):
    """Opens what comes behind ``my://``."""

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        return open(url.removeprefix("my://"), mode)


class TestOpener:
    def test_a_function_from_url_to_stream(self, urls: list[str]) -> None:
        asked: list[str] = []

        def remember(url: str) -> BinaryIO:
            asked.append(url)
            return open_counting(url)

        assert labels(webds.Dataset([f"my:{url}" for url in urls], opener=remember)) == list(range(20))
        assert asked == [f"my:{url}" for url in urls]

    def test_the_stream_of_a_function_is_closed_after_its_shard(self, urls: list[str]) -> None:
        streams: list[BinaryIO] = []

        def remember(url: str) -> BinaryIO:
            streams.append(open_counting(url))
            return streams[-1]

        list(webds.Dataset(urls, opener=remember))
        assert [stream.closed for stream in streams] == [True] * 4
        samples = iter(webds.Dataset(urls, opener=remember))
        next(samples)
        del samples
        assert streams[-1].closed

    def test_a_function_may_return_anything_that_reads(self, urls: list[str]) -> None:
        def from_memory(url: str) -> io.BytesIO:
            return io.BytesIO(Path(url).read_bytes())

        assert labels(webds.Dataset(urls, opener=from_memory)) == list(range(20))

    def test_an_opener_object(self, urls: list[str]) -> None:
        assert labels(webds.Dataset([f"my://{url}" for url in urls], opener=Prefixed())) == list(range(20))

    @pytest.mark.parametrize("template", ["cat {url}", "cat '{url}'", 'cat "{url}"', "dd if={url} bs=4096 status=none"])
    def test_a_shell_command_template(self, urls: list[str], template: str) -> None:
        assert labels(webds.Dataset(urls, opener=template)) == list(range(20))

    @pytest.mark.parametrize("name", ["db:12?shard=3", "db://12/*?shard=[3]", "shard*3"])
    def test_names_that_are_no_files_are_the_functions_affair(self, urls: list[str], name: str) -> None:
        asked: list[str] = []

        def from_memory(url: str) -> io.BytesIO:
            asked.append(url)
            return io.BytesIO(Path(urls[1]).read_bytes())

        assert labels(webds.Dataset([name], opener=from_memory)) == list(range(5, 10))
        assert asked == [name]

    def test_local_patterns_are_still_files_for_a_function(self, tmp_path: Path, urls: list[str]) -> None:
        assert labels(webds.Dataset(f"{tmp_path}/*.tar", opener=open_counting)) == list(range(20))
        assert labels(webds.Dataset(f"{tmp_path}/*.tar", opener="cat {url}")) == list(range(20))

    def test_a_command_that_fails_is_an_error_with_its_stderr(self, urls: list[str]) -> None:
        with pytest.raises(webds.OpenError, match="no luck today"):
            list(webds.Dataset(urls, opener="cat {url}; echo no luck today >&2; exit 3"))

    def test_a_name_is_no_part_of_the_command(self, tmp_path: Path) -> None:
        url = write_shard(tmp_path / "a; touch pwned $(touch pwned2).tar", [sample_of(1)])
        assert labels(webds.Dataset(url, opener=f"cd '{tmp_path}'; cat {{url}}")) == [1]
        assert sorted(path.name for path in tmp_path.iterdir()) == [Path(url).name]

    def test_a_template_without_a_place_for_the_url_is_an_error(self, urls: list[str]) -> None:
        with pytest.raises(ValueError, match=r"\{url\}"):
            webds.Dataset(urls, opener="cat")

    def test_reader_and_gopen_are_openers(self, urls: list[str]) -> None:
        for opener in (webds.reader, webds.gopen):
            assert labels(webds.Dataset(urls, opener=opener)) == list(range(20))


def upper(members: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    return ((name.upper(), data) for name, data in members)


def in_pairs(members: Iterable[tuple[str, bytes]]) -> list[dict[str, bytes]]:
    """Make a sample of two neighbouring members, as a list and no iterator."""
    iterator = iter(members)
    return [dict(pair) for pair in zip(iterator, iterator, strict=True)]


class TestInitialPipeline:
    def test_an_empty_one_yields_the_members_ungrouped(self, urls: list[str]) -> None:
        members: list[Any] = list(webds.Dataset(urls[:1], initial_pipeline=[]))
        assert members[:3] == [("key00000.cls", b"0"), ("key00000.txt", b"text 0"), ("key00001.cls", b"1")]
        assert len(members) == 10

    def test_stages_replace_the_grouping_one_after_the_other(self, urls: list[str]) -> None:
        samples = list(webds.Dataset(urls, initial_pipeline=[upper, in_pairs]))
        assert samples[0] == {"KEY00000.CLS": b"0", "KEY00000.TXT": b"text 0"}
        assert len(samples) == 20

    def test_methods_go_on_from_what_the_stages_made(self, urls: list[str]) -> None:
        members: webds.Dataset[Any] = webds.Dataset(urls, initial_pipeline=[])
        names = members.map(lambda member: str(member[0]))
        assert list(itertools.islice(names, 2)) == ["key00000.cls", "key00000.txt"]

    def test_suffixes_and_keys_choose_among_the_members(self, urls: list[str]) -> None:
        members = list(webds.Dataset(urls, suffixes=["txt"], initial_pipeline=[]))
        assert len(members) == 20
        assert {name.partition(".")[2] for name, _ in members} == {"txt"}
        swapped = webds.Dataset(urls, keys=lambda path: (path, path[:4]), suffixes=["key0"], initial_pipeline=[])
        assert len(list(swapped)) == 40

    def test_none_is_the_default_grouping(self, urls: list[str]) -> None:
        assert labels(webds.Dataset(urls, initial_pipeline=None)) == list(range(20))

    def test_an_error_of_a_stage_is_the_handlers(self, urls: list[str]) -> None:
        def fail(members: Iterator[Any]) -> Iterator[Any]:
            yield next(members)
            raise ArithmeticError("as it happens")

        with pytest.raises(ArithmeticError, match="as it happens") as caught:
            list(webds.Dataset(urls, initial_pipeline=[fail]))
        assert "shard-000000.tar" in "".join(caught.value.__notes__)
        kept = webds.Dataset(urls, initial_pipeline=[fail], handler=webds.ignore_and_continue)
        assert [name for name, _ in kept] == ["key00000.cls", "key00005.cls", "key00010.cls", "key00015.cls"]


class TestRawIter:
    def test_it_yields_what_the_shards_hold_before_any_method(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls).decode().map(label_of).pipe(list)
        assert list(dataset) == list(range(20))
        assert next(iter(dataset.raw_iter())) == {"__key__": "key00000", "cls": b"0", "txt": b"text 0"}
        assert labels(dataset.raw_iter()) == list(range(20))

    def test_it_heeds_the_arguments_of_the_constructor(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls, suffixes=["cls"], epochs=2).decode()
        samples = list(dataset.raw_iter())
        assert labels(samples) == [*range(20)] * 2
        assert set(samples[0]) == {"__key__", "cls"}

    def test_it_reads_the_shards_of_the_subset(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls)
        dataset.subset = (1, 2)
        assert labels(dataset.raw_iter()) == [*range(5, 10), *range(15, 20)]

    def test_it_is_no_epoch_of_its_own(self, urls: list[str]) -> None:
        peeked, other = webds.Dataset(urls, shuffle=True), webds.Dataset(urls, shuffle=True)
        next(iter(peeked.raw_iter()))
        assert [labels(peeked), labels(peeked)] == [labels(other), labels(other)]


def label_of(sample: dict[str, Any]) -> int:
    return int(sample["cls"])


class TestOtherwise:
    def test_it_pickles_with_all_that_was_said(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls, suffixes=["cls"], epochs=2, length=40, shuffle=True, opener=open_counting)
        dataset.subset = (0, 2)
        chain = dataset.decode().map(label_of, handler=webds.ignore_and_continue).shuffle(3)
        copy = pickle.loads(pickle.dumps(chain))
        assert list(copy) == list(chain)
        assert len(copy) == 40
        assert copy.subset == (0, 2)

    def test_what_is_made_of_bare_samples_says_so_in_its_repr(self, urls: list[str]) -> None:
        assert repr(webds.Dataset(urls)) == "Dataset(4 shards, 0 stages)"

    def test_an_argument_that_does_not_exist_is_a_type_error(self, urls: list[str]) -> None:
        arguments: dict[str, Any] = {"sufixes": ["cls"]}
        with pytest.raises(TypeError, match="sufixes"):
            webds.Dataset(urls, **arguments)

    @pytest.mark.parametrize("wrong", [None, 3, b"x.tar", {"x.tar"}])
    def test_urls_that_are_none_are_a_type_error(self, wrong: Sequence[str]) -> None:
        with pytest.raises(TypeError):
            webds.Dataset(wrong)
