"""The fluent methods of the older front doors: each returns another dataset and leaves the one it was called on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shards import numbered_shards, write_shard

import webds


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    """Four shards of five samples, numbered through."""
    return numbered_shards(tmp_path)


@pytest.fixture
def uneven(tmp_path: Path) -> str:
    """A shard whose sample b has a png in place of a jpg, and whose sample c has neither."""
    samples: list[dict[str, bytes | str]] = [
        {"__key__": "a", "jpg": b"A", "cls": "0"},
        {"__key__": "b", "png": b"B", "cls": "1"},
        {"__key__": "c", "cls": "2"},
        {"__key__": "d", "jpg": b"D", "cls": "3"},
    ]
    return write_shard(tmp_path / "uneven.tar", samples)


def label(sample: dict[str, Any]) -> int:
    return int(sample["cls"])


def fail_on_two(value: Any) -> Any:
    """Raise for the sample with label 2, and for the number 2."""
    if (label(value) if isinstance(value, dict) else int(value)) == 2:
        raise ArithmeticError("two is too much")
    return value


class TestDecode:
    def test_by_extension(self, urls: list[str]) -> None:
        assert next(iter(webds.Dataset(urls).decode())) == {"__key__": "key00000", "cls": 0, "txt": "text 0"}

    @pytest.mark.parametrize("nothing", [False, None])
    def test_false_and_none_decode_nothing(self, urls: list[str], nothing: bool | None) -> None:
        assert next(iter(webds.Dataset(urls).decode(nothing)))["cls"] == b"0"

    def test_true_is_rgb(self, urls: list[str]) -> None:
        assert list(webds.Dataset(urls).decode(True)) == list(webds.Dataset(urls).decode("rgb"))

    def test_a_function_gets_the_whole_sample(self, urls: list[str]) -> None:
        def decode(sample: dict[str, Any]) -> dict[str, Any]:
            assert set(sample) == {"__key__", "cls", "txt"}
            return {"both": sample["cls"] + sample["txt"]}

        assert next(iter(webds.Dataset(urls).decode(decode))) == {"__key__": "key00000", "both": b"0text 0"}

    def test_a_dict_decodes_just_its_extensions(self, urls: list[str]) -> None:
        sample = next(iter(webds.Dataset(urls).decode({"txt": len})))
        assert sample == {"__key__": "key00000", "cls": b"0", "txt": 6}

    def test_a_dict_may_hold_decoders(self, urls: list[str]) -> None:
        sample = next(iter(webds.Dataset(urls).decode({"txt": webds.TextCodec(), "cls": float})))
        assert sample == {"__key__": "key00000", "cls": 0.0, "txt": "text 0"}

    def test_what_is_decoded_stays_so(self, urls: list[str]) -> None:
        assert next(iter(webds.Dataset(urls).decode({"cls": float}).decode()))["cls"] == 0.0

    def test_an_unknown_specification_is_an_error_that_lists_those_there_are(self, urls: list[str]) -> None:
        with pytest.raises(ValueError, match="torchrgb8"):
            webds.Dataset(urls).decode("rbg")


class TestMap:
    def test_it_replaces_the_sample_by_what_the_function_returns(self, urls: list[str]) -> None:
        assert list(webds.Dataset(urls).map(label)) == list(range(20))

    def test_a_dict_of_a_dict_keeps_the_key(self, urls: list[str]) -> None:
        def number(sample: dict[str, Any]) -> dict[str, Any]:
            return {"number": label(sample)}

        assert next(iter(webds.Dataset(urls).map(number))) == {"__key__": "key00000", "number": 0}

    def test_a_key_that_the_function_sets_stands(self, urls: list[str]) -> None:
        def renamed(sample: dict[str, Any]) -> dict[str, Any]:
            return {"__key__": "other", "number": label(sample)}

        assert next(iter(webds.Dataset(urls).map(renamed))) == {"__key__": "other", "number": 0}

    def test_what_is_no_dict_gets_no_key(self, urls: list[str]) -> None:
        assert next(iter(webds.Dataset(urls).map(label).map(str))) == "0"
        assert next(iter(webds.Dataset(urls).to_tuple("cls").map(lambda values: {"cls": values[0]}))) == {"cls": b"0"}


class TestMapDict:
    def test_it_replaces_the_fields_that_are_named_and_keeps_the_others(self, urls: list[str]) -> None:
        sample = next(iter(webds.Dataset(urls).map_dict(cls=int, txt=len)))
        assert sample == {"__key__": "key00000", "cls": 0, "txt": 6}

    def test_a_missing_field_is_a_key_error_with_key_and_what_is_there(self, uneven: str) -> None:
        with pytest.raises(KeyError, match="'jpg'") as caught:
            list(webds.Dataset(uneven).map_dict(jpg=len))
        assert "cls, png" in str(caught.value)
        assert (
            (caught.value.key, caught.value.field) == ("b", "jpg")
            if isinstance(caught.value, webds.FieldError)
            else False
        )

    def test_the_handler_gets_the_missing_field(self, uneven: str) -> None:
        kept = webds.Dataset(uneven).map_dict(jpg=len, handler=webds.ignore_and_continue)
        assert [sample["__key__"] for sample in kept] == ["a", "d"]


class TestToTuple:
    def test_a_field_an_argument(self, urls: list[str]) -> None:
        assert next(iter(webds.Dataset(urls).to_tuple("txt", "cls"))) == (b"text 0", b"0")

    def test_one_text_separated_by_spaces_is_the_same(self, uneven: str) -> None:
        apart = webds.Dataset(uneven).to_tuple("png;jpg", "cls", handler=webds.ignore_and_continue)
        together = webds.Dataset(uneven).to_tuple("png;jpg cls", handler=webds.ignore_and_continue)
        assert list(apart) == list(together) == [(b"A", b"0"), (b"B", b"1"), (b"D", b"3")]

    def test_the_first_alternative_that_is_there_counts(self, urls: list[str]) -> None:
        assert next(iter(webds.Dataset(urls).to_tuple("json;txt;cls"))) == (b"text 0",)
        assert next(iter(webds.Dataset(urls).to_tuple("cls;txt"))) == (b"0",)

    def test_a_missing_field_is_a_value_error_with_key_and_what_is_there(self, uneven: str) -> None:
        with pytest.raises(ValueError, match="'jpg;png'") as caught:
            list(webds.Dataset(uneven).to_tuple("jpg;png", "cls"))
        assert isinstance(caught.value, webds.FieldError)
        assert caught.value.key == "c"
        assert caught.value.url is not None
        assert caught.value.url.endswith("uneven.tar")
        assert "it has cls" in str(caught.value)

    def test_key_and_url_can_be_named(self, urls: list[str]) -> None:
        assert next(iter(webds.Dataset(urls).to_tuple("__key__", "__url__", "cls"))) == ("key00000", urls[0], b"0")

    def test_of_what_is_already_decoded(self, urls: list[str]) -> None:
        assert list(islice(webds.Dataset(urls).decode().to_tuple("cls txt"), 2)) == [(0, "text 0"), (1, "text 1")]


class TestMapTuple:
    def test_a_function_for_each_element(self, urls: list[str]) -> None:
        assert next(iter(webds.Dataset(urls).to_tuple("cls", "txt").map_tuple(int, len))) == (0, 6)

    @pytest.mark.parametrize("functions", [(int,), (int, len, len), ()])
    def test_as_many_functions_as_elements(self, urls: list[str], functions: tuple[Callable[[Any], Any], ...]) -> None:
        with pytest.raises(ValueError, match=f"{len(functions)} functions for tuples of 2"):
            list(webds.Dataset(urls).to_tuple("cls", "txt").map_tuple(*functions))

    def test_what_is_no_tuple_is_an_error_that_names_to_tuple(self, urls: list[str]) -> None:
        dataset: webds.Dataset[Any] = webds.Dataset(urls)  # a type checker would say so before
        with pytest.raises(ValueError, match="to_tuple"):
            list(dataset.map_tuple(int))

    def test_the_result_is_a_tuple_for_a_function_on_all_of_it(self, urls: list[str]) -> None:
        summed = webds.Dataset(urls).to_tuple("cls", "cls").map_tuple(int, int).map(sum)
        assert list(islice(summed, 3)) == [0, 2, 4]


class TestRename:
    def test_what_is_not_named_is_dropped(self, urls: list[str]) -> None:
        assert next(iter(webds.Dataset(urls).rename(label="cls"))) == {"__key__": "key00000", "label": b"0"}

    def test_the_first_alternative_that_is_there_counts(self, uneven: str) -> None:
        renamed = webds.Dataset(uneven).rename(image="jpg;png", handler=webds.ignore_and_continue)
        assert [sample["image"] for sample in renamed] == [b"A", b"B", b"D"]

    def test_a_name_may_be_given_to_two(self, urls: list[str]) -> None:
        sample = next(iter(webds.Dataset(urls).rename(one="cls", two="cls", cls="txt")))
        assert sample == {"__key__": "key00000", "one": b"0", "two": b"0", "cls": b"text 0"}

    def test_a_missing_field_is_a_value_error(self, uneven: str) -> None:
        with pytest.raises(ValueError, match="'jpg'"):
            list(webds.Dataset(uneven).rename(image="jpg"))

    def test_key_can_be_named(self, urls: list[str]) -> None:
        assert next(iter(webds.Dataset(urls).rename(name="__key__")))["name"] == "key00000"


class TestPipe:
    def test_a_stage_gets_the_iterator_and_returns_another(self, urls: list[str]) -> None:
        def pairs(samples: Iterator[dict[str, Any]]) -> Iterator[tuple[int, int]]:
            for sample in samples:
                yield label(sample), label(next(samples))

        assert list(webds.Dataset(urls).pipe(pairs)) == [(i, i + 1) for i in range(0, 20, 2)]

    def test_a_stage_may_return_a_list(self, urls: list[str]) -> None:
        def last(samples: Iterable[dict[str, Any]]) -> list[int]:
            return [label(sample) for sample in samples][-2:]

        assert list(webds.Dataset(urls).pipe(last)) == [18, 19]

    def test_a_stage_begins_anew_at_each_iteration(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls).pipe(lambda samples: islice(samples, 3)).map(label)
        assert list(dataset) == list(dataset) == [0, 1, 2]

    def test_what_a_stage_raises_is_raised(self, urls: list[str]) -> None:
        def broken(samples: Iterator[Any]) -> Iterator[Any]:
            yield next(samples)
            raise ArithmeticError("broken")

        with pytest.raises(ArithmeticError, match="broken"):
            list(webds.Dataset(urls).pipe(broken))


class TestShuffle:
    def test_it_shuffles_samples_and_shards(self, tmp_path: Path) -> None:
        urls = numbered_shards(tmp_path, shards=10, samples=10)
        seen = list(webds.Dataset(urls).shuffle(10).map(label))
        assert sorted(seen) == list(range(100))
        assert seen[:10] != sorted(seen[:10])
        early = {number // 10 for number in seen[:10]}
        assert early != {0, 1}  # only these could come first if the shards were in their order

    def test_zero_does_nothing(self, urls: list[str]) -> None:
        assert list(webds.Dataset(urls).shuffle(0).map(label)) == list(range(20))

    def test_one_shuffles_the_shards_alone(self, tmp_path: Path) -> None:
        seen = list(webds.Dataset(numbered_shards(tmp_path, shards=12, samples=2)).shuffle(1).map(label))
        assert seen == [start + i for start in seen[::2] for i in range(2)]
        assert seen != sorted(seen)

    def test_a_negative_size_is_an_error(self, urls: list[str]) -> None:
        with pytest.raises(ValueError, match=r"shuffle\(-1\)"):
            webds.Dataset(urls).shuffle(-1)

    def test_epochs_differ_and_a_second_run_is_the_same(self, urls: list[str]) -> None:
        first, again = (webds.Dataset(urls).shuffle(8).map(label) for _ in range(2))
        epochs = [list(first) for _ in range(3)]
        assert epochs == [list(again) for _ in range(3)]
        assert len({tuple(epoch) for epoch in epochs}) == 3
        assert all(sorted(epoch) == list(range(20)) for epoch in epochs)

    def test_global_seeds_have_no_effect(self, urls: list[str]) -> None:
        np.random.seed(1)
        first = list(webds.Dataset(urls).shuffle(8).map(label))
        np.random.seed(2)
        assert list(webds.Dataset(urls).shuffle(8).map(label)) == first


class TestChains:
    def test_each_method_returns_another_dataset(self, urls: list[str]) -> None:
        base: webds.Dataset[Any] = webds.Dataset(urls)
        derived: list[webds.Dataset[Any]] = [
            base.decode(), base.map(label), base.map_dict(cls=int), base.map_tuple(len), base.pipe(iter),
            base.rename(label="cls"), base.to_tuple("cls"), base.shuffle(3), base.shuffle(0), base.decode(None),
        ]  # fmt: skip
        assert all(isinstance(dataset, webds.Dataset) for dataset in derived)
        assert all(dataset is not base for dataset in derived)

    def test_the_base_is_left_as_it_was(self, urls: list[str]) -> None:
        base = webds.Dataset(urls)
        base.shuffle(10).decode().rename(label="cls").to_tuple("label").map_tuple(str)
        assert [label(sample) for sample in base] == list(range(20))

    def test_two_chains_of_one_base_know_nothing_of_each_other(self, urls: list[str]) -> None:
        base = webds.Dataset(urls).decode()
        numbers, texts = base.to_tuple("cls").map(lambda values: values[0]), base.to_tuple("txt")
        assert list(islice(zip(numbers, texts, strict=True), 2)) == [(0, ("text 0",)), (1, ("text 1",))]
        numbers.subset = (0, 2)
        assert (base.subset, texts.subset) == (None, None)
        assert len(list(texts)) == 20

    def test_iterating_over_one_is_no_epoch_of_the_other(self, urls: list[str]) -> None:
        base = webds.Dataset(urls).shuffle(8)
        first, second = base.map(label), base.map(label)
        assert [list(first), list(first)] == [list(second), list(second)]

    def test_the_methods_of_web_dataset_are_the_same(self, urls: list[str]) -> None:
        dataset = webds.WebDataset(urls).rename(label="cls", text="txt").to_tuple("label text").map_tuple(float, len)
        assert list(islice(dataset, 2)) == [(0.0, 6), (1.0, 6)]
        assert isinstance(dataset, webds.Dataset)

    def test_a_chain_of_all_of_them(self, urls: list[str]) -> None:
        dataset = (
            webds.Dataset(urls, epochs=2, suffixes=["cls", "txt"])
            .shuffle(5)
            .decode()
            .map_dict(cls=float)
            .map(lambda sample: {**sample, "more": 1})
            .rename(label="cls", text="txt", more="more")
            .to_tuple("label text", "more")
            .map_tuple(int, len, str)
            .pipe(lambda values: (value for value in values if value[0] < 4))
        )
        assert sorted(dataset) == sorted([(i, 6, "1") for i in range(4)] * 2)


class TestHandlers:
    """Each method's own handler decides about the errors of its own stage, and of no other."""

    CASES: tuple[tuple[str, Callable[[webds.Dataset[Any], Any], webds.Dataset[Any]]], ...] = (
        ("decode", lambda dataset, handler: dataset.decode({"cls": fail_on_two}, handler=handler)),
        ("decode function", lambda dataset, handler: dataset.decode(fail_on_two, handler=handler)),
        ("map", lambda dataset, handler: dataset.map(fail_on_two, handler=handler)),
        ("map_dict", lambda dataset, handler: dataset.map_dict(handler=handler, cls=fail_on_two)),
        ("map_tuple", lambda dataset, handler: dataset.to_tuple("cls").map_tuple(fail_on_two, handler=handler)),
    )

    @pytest.fixture(params=[case for _, case in CASES], ids=[name for name, _ in CASES])
    def case(self, request: pytest.FixtureRequest) -> Callable[[webds.Dataset[Any], Any], webds.Dataset[Any]]:
        found: Callable[[webds.Dataset[Any], Any], webds.Dataset[Any]] = request.param
        return found

    @staticmethod
    def numbers(values: Iterable[Any]) -> list[int]:
        return [label(value) if isinstance(value, dict) else int(value[0]) for value in values]

    def test_by_default_the_error_is_raised_as_it_is(self, urls: list[str], case: Any) -> None:
        with pytest.raises(ArithmeticError, match="two is too much") as caught:
            list(case(webds.Dataset(urls), webds.reraise_exception))
        notes = " ".join(caught.value.__notes__)
        assert "key00002" in notes
        assert "shard-000000.tar" in notes

    def test_ignore_and_continue_leaves_the_sample_out(self, urls: list[str], case: Any) -> None:
        dataset = case(webds.Dataset(urls), webds.ignore_and_continue)
        assert self.numbers(dataset) == [0, 1, *range(3, 20)]
        assert [(loss.key, loss.error) for loss in dataset.stats().losses] == [
            ("key00002", "ArithmeticError: two is too much")
        ]

    def test_ignore_and_stop_ends_the_iteration(self, urls: list[str], case: Any) -> None:
        assert self.numbers(case(webds.Dataset(urls), webds.ignore_and_stop)) == [0, 1]

    def test_warn_and_continue_warns_of_the_sample(self, urls: list[str], case: Any) -> None:
        with pytest.warns(RuntimeWarning, match="two is too much.*key00002"):
            assert self.numbers(case(webds.Dataset(urls), webds.warn_and_continue)) == [0, 1, *range(3, 20)]

    def test_warn_and_stop_warns_and_ends(self, urls: list[str], case: Any) -> None:
        with pytest.warns(RuntimeWarning, match="two is too much.*key00002"):
            assert self.numbers(case(webds.Dataset(urls), webds.warn_and_stop)) == [0, 1]

    def test_a_function_of_the_user_is_a_handler(self, urls: list[str], case: Any) -> None:
        seen: list[Exception] = []

        def remember(error: Exception) -> bool:
            seen.append(error)
            return True

        assert self.numbers(case(webds.Dataset(urls), remember)) == [0, 1, *range(3, 20)]
        assert [type(error) for error in seen] == [ArithmeticError]

    def test_a_handler_may_raise_something_else(self, urls: list[str], case: Any) -> None:
        def refuse(error: Exception) -> bool:
            raise LookupError("not here") from error

        with pytest.raises(LookupError, match="not here") as caught:
            list(case(webds.Dataset(urls), refuse))
        assert isinstance(caught.value.__cause__, ArithmeticError)

    def test_that_of_one_stage_is_not_that_of_the_next(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls).map(label, handler=webds.ignore_and_continue).map(fail_on_two)
        with pytest.raises(ArithmeticError):
            list(dataset)

    def test_that_of_the_dataset_is_not_that_of_the_methods(self, urls: list[str]) -> None:
        with pytest.raises(ArithmeticError):
            list(webds.Dataset(urls, handler=webds.ignore_and_continue).map(fail_on_two))

    @pytest.mark.parametrize("method", ["to_tuple", "rename"])
    def test_missing_fields_are_errors_of_their_stage(self, uneven: str, method: str) -> None:
        def chain(handler: Callable[[Exception], bool]) -> list[Any]:
            base = webds.Dataset(uneven)
            if method == "to_tuple":
                return [values[1] for values in base.to_tuple("jpg", "cls", handler=handler)]
            return [sample["cls"] for sample in base.rename(handler=handler, jpg="jpg", cls="cls")]

        assert chain(webds.ignore_and_continue) == [b"0", b"3"]
        assert chain(webds.ignore_and_stop) == [b"0"]
        with pytest.warns(RuntimeWarning, match="no field 'jpg'"):
            assert chain(webds.warn_and_continue) == [b"0", b"3"]


def test_fields_that_no_method_looks_at_make_no_errors(tmp_path: Path) -> None:
    """What to_tuple does not name is not decoded, so that it cannot fail."""
    url = write_shard(tmp_path / "a.tar", [{"__key__": "a", "cls": "1", "json": "no json at all"}])
    assert list(webds.Dataset(url).decode().to_tuple("cls")) == [(1,)]
    with pytest.raises(webds.DecodeError):
        list(webds.Dataset(url).decode())
