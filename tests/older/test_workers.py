"""The older front doors under torch's DataLoader: who reads which shards, and what comes out of it in which epoch."""

from __future__ import annotations

import collections
import pickle
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.utils.data
from expecting import raises
from in_workers import as_is, fails_on_three, label, with_place
from shards import numbered_shards

import webds


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    """Eight shards of three samples, numbered through."""
    return numbered_shards(tmp_path, shards=8, samples=3)


def loader(dataset: webds.BaseDataset[Any], workers: int, **options: Any) -> torch.utils.data.DataLoader[Any]:
    """Return a DataLoader that hands values on as they come."""
    return torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=workers, collate_fn=as_is, **options
    )  # fmt: skip


def numbers_of(shards: Iterable[int]) -> list[int]:
    """Return the numbers of the samples in these of the eight shards."""
    return [3 * shard + i for shard in shards for i in range(3)]


def by_worker(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = collections.defaultdict(list)
    for worker, number in pairs:
        found[worker].append(number)
    return dict(found)


class TestSplitting:
    @pytest.mark.parametrize("workers", [1, 2, 4])
    def test_a_worker_reads_each_nth_shard(self, urls: list[str], workers: int) -> None:
        dataset = webds.Dataset(urls).map(label).map(with_place)
        expected = {worker: numbers_of(range(worker, 8, workers)) for worker in range(workers)}
        assert by_worker(loader(dataset, workers)) == expected

    @pytest.mark.parametrize("workers", [0, 2, 4])
    def test_all_workers_together_read_everything_once(self, urls: list[str], workers: int) -> None:
        for dataset in (webds.Dataset(urls), webds.WebDataset(urls), webds.WebDataset(urls, shuffle=10)):
            assert sorted(label(sample) for sample in loader(dataset, workers)) == list(range(24))

    def test_under_spawn_it_is_the_same(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls, length=24).decode().map(label).shuffle(3).map(with_place)
        spawned = loader(dataset, 2, multiprocessing_context="spawn", persistent_workers=True)
        forked = loader(webds.Dataset(urls).decode().map(label).shuffle(3).map(with_place), 2)
        epochs = [list(spawned) for _ in range(2)]
        assert epochs == [list(forked) for _ in range(2)]
        assert epochs[0] != epochs[1]
        assert sorted(number for _, number in epochs[1]) == list(range(24))
        assert len(spawned) == 24

    def test_without_workers_everything_is_read(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls).map(label).map(with_place)
        assert by_worker(loader(dataset, 0)) == {-1: list(range(24))}

    def test_more_workers_than_shards_warn_once_and_read_everything(
        self, urls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = tmp_path / "said"

        def say(message: Warning | str, *_: object) -> None:
            with said.open("a") as file:
                print(message, file=file)

        monkeypatch.setattr(warnings, "showwarning", say)
        dataset = webds.Dataset(urls[:2]).map(label).map(with_place)
        with warnings.catch_warnings():
            warnings.simplefilter("always", RuntimeWarning)
            epochs = [by_worker(loader(dataset, 4)) for _ in range(2)]
        assert epochs == [{0: [0, 1, 2], 1: [3, 4, 5]}] * 2
        assert said.read_text() == "4 workers and 2 shards: some workers have nothing to read\n"

    def test_batches_of_the_data_loader_itself(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls).decode().to_tuple("cls", "txt")
        batches = list(torch.utils.data.DataLoader(dataset, batch_size=5, num_workers=2))
        numbers, texts = batches[0]
        assert numbers.tolist() == [0, 1, 2, 6, 7]
        assert list(texts) == [f"text {i}" for i in numbers.tolist()]
        assert sorted(int(i) for batch, _ in batches for i in batch) == list(range(24))

    def test_batches_of_a_pipeline(self, urls: list[str]) -> None:
        dataset = webds.WebDataset(urls, extensions="cls", pipeline=stacked)
        assert [batch.shape for batch in loader(dataset, 2)] == [(4,)] * 6


def stacked(values: Iterable[tuple[int]]) -> Iterable[torch.Tensor]:
    iterator = iter(values)
    for value in iterator:
        yield torch.tensor([value[0], *(next(iterator)[0] for _ in range(3))])


class TestLength:
    def test_the_data_loader_knows_the_length_that_was_given(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls, length=24).map(label)
        assert len(torch.utils.data.DataLoader(dataset, batch_size=5)) == 5
        assert len(loader(dataset, 2)) == 24

    def test_it_raises_a_type_error_where_there_is_none(self, urls: list[str]) -> None:
        with pytest.raises(TypeError, match="pass length="):
            len(loader(webds.Dataset(urls), 0))
        assert len(list(loader(webds.Dataset(urls), 2))) == 24


class TestEpochs:
    @pytest.mark.parametrize("persistent", [False, True])
    def test_they_differ_and_a_second_run_is_the_same(self, urls: list[str], persistent: bool) -> None:
        def epochs() -> list[list[int]]:
            loading = loader(webds.Dataset(urls).shuffle(4).map(label), 2, persistent_workers=persistent)
            return [list(loading) for _ in range(3)]

        torch.manual_seed(1)
        first = epochs()
        torch.manual_seed(2)
        assert epochs() == first
        assert len({tuple(epoch) for epoch in first}) == 3
        assert all(sorted(epoch) == list(range(24)) for epoch in first)

    def test_an_early_break_is_an_epoch_too(self, urls: list[str]) -> None:
        dataset, other = (webds.Dataset(urls).shuffle(4).map(label) for _ in range(2))
        for _ in loader(dataset, 2):
            break
        list(loader(other, 2))
        assert list(loader(dataset, 2)) == list(loader(other, 2))

    def test_several_passes_of_one_iteration(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls, epochs=3).map(label).map(with_place)
        seen = by_worker(loader(dataset, 2))
        assert seen == {0: numbers_of([0, 2, 4, 6]) * 3, 1: numbers_of([1, 3, 5, 7]) * 3}


class TestErrors:
    def test_an_error_in_a_worker_arrives_with_its_type_and_its_place(self, urls: list[str]) -> None:
        Path(urls[3]).write_bytes(Path(urls[3]).read_bytes()[:1500])
        with raises(webds.TarFormatError) as caught:
            list(loader(webds.Dataset(urls), 2))
        assert caught.value.url == urls[3]

    def test_a_missing_field_arrives_as_value_error(self, urls: list[str]) -> None:
        with raises(ValueError, match="'png'") as caught:
            list(loader(webds.Dataset(urls).to_tuple("png"), 2))
        assert isinstance(caught.value, webds.FieldError)
        assert caught.value.key == "key00000"

    def test_what_workers_left_out_is_counted_together(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls).map(fails_on_three, handler=webds.ignore_and_continue)
        assert len(list(loader(dataset, 2))) == 23
        assert [(loss.stage, loss.key) for loss in dataset.stats().losses] == [("map", "key00003")]

    def test_stopping_ends_the_worker_that_met_the_error(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls).map(fails_on_three, handler=webds.ignore_and_stop).map(label)
        assert sorted(loader(dataset, 2)) == numbers_of([0, 2, 4, 6])


class TestShardSelection:
    def test_without_workers_it_is_all_shards(self, urls: list[str]) -> None:
        assert webds.Dataset(urls).shard_selection() == urls

    def test_in_a_worker_it_is_each_nth(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls)

        def selected(samples: Iterable[Any]) -> Iterable[tuple[int, list[str]]]:
            yield with_place(dataset.shard_selection())

        found = dict(loader(dataset.pipe(selected), 4))
        assert found == {worker: urls[worker::4] for worker in range(4)}

    def test_subset_wins(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls)
        dataset.subset = (1, 3)
        assert dataset.shard_selection() == urls[1::3]
        assert [label(sample) for sample in dataset] == numbers_of([1, 4, 7])

    def test_explain_says_who_reads_what(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls)
        assert "split over worker by SplitByWorker" in dataset.explain()
        dataset.subset = (1, 3)
        assert "split over nothing by SplitExplicit" in dataset.explain()
        assert "split over nothing by NoSplit" in webds.Dataset(urls, prepare_for_worker=False).explain()

    def test_subset_wins_over_the_workers_too(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls).map(label).map(with_place)
        dataset.subset = (1, 3)
        assert by_worker(loader(dataset, 2)) == {0: numbers_of([1, 4, 7]), 1: numbers_of([1, 4, 7])}

    def test_subset_is_inherited_and_can_be_taken_back(self, urls: list[str]) -> None:
        base = webds.Dataset(urls)
        base.subset = (0, 4)
        derived = base.decode().shuffle(2).map(label)
        assert derived.subset == (0, 4)
        assert sorted(derived) == numbers_of([0, 4])
        derived.subset = None
        assert len(list(derived)) == 24
        assert base.subset == (0, 4)

    def test_subsets_are_disjoint_in_all_epochs_however_they_are_shuffled(self, urls: list[str]) -> None:
        parts: list[webds.Dataset[int]] = []
        for index in range(2):
            base = webds.Dataset(urls, shuffle=True)
            base.subset = (index, 2)
            parts.append(base.shuffle(4).map(label))
        for _ in range(4):
            assert [sorted(part) for part in parts] == [numbers_of([0, 2, 4, 6]), numbers_of([1, 3, 5, 7])]

    @pytest.mark.parametrize("wrong", [(2, 2), (-1, 2), (0, 0)])
    def test_a_subset_that_does_not_exist_is_an_error(self, urls: list[str], wrong: tuple[int, int]) -> None:
        dataset = webds.Dataset(urls)
        with pytest.raises(ValueError, match="part"):
            dataset.subset = wrong
        assert dataset.subset is None


class TestPrepareForWorker:
    def test_false_is_no_selection(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls, prepare_for_worker=False).map(label).map(with_place)
        assert by_worker(loader(dataset, 2)) == {0: list(range(24)), 1: list(range(24))}

    @pytest.mark.parametrize("door", [webds.Dataset, webds.WebDataset])
    def test_a_function_is_called_at_each_iteration_also_without_workers(
        self, urls: list[str], door: Callable[..., webds.BaseDataset[Any]]
    ) -> None:
        calls: list[int] = []
        dataset = door(urls, prepare_for_worker=lambda: calls.append(1))
        assert calls == []
        for _ in range(2):
            assert len(list(dataset)) == 24
        assert calls == [1, 1]
        list(dataset.map(label))
        assert calls == [1, 1, 1]

    def test_a_function_replaces_the_selection(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls, prepare_for_worker=do_nothing).map(label).map(with_place)
        assert by_worker(loader(dataset, 2)) == {0: list(range(24)), 1: list(range(24))}

    @pytest.mark.parametrize("returned", [True, None, 0, torch.Generator(), "no list"])
    def test_what_it_returns_by_the_way_means_nothing(self, urls: list[str], returned: object) -> None:
        assert len(list(webds.Dataset(urls, prepare_for_worker=lambda: returned))) == 24

    def test_it_may_return_the_shards(self, urls: list[str]) -> None:
        def own() -> list[str]:
            info = torch.utils.data.get_worker_info()
            return dataset.urls[:1] if info is None else dataset.urls[2 * info.id : 2 * info.id + 2]

        dataset = webds.Dataset(urls, prepare_for_worker=own)
        chain = dataset.map(label).map(with_place)
        for _ in range(2):
            assert by_worker(loader(chain, 2)) == {0: numbers_of([0, 1]), 1: numbers_of([2, 3])}
            assert by_worker(chain) == {-1: numbers_of([0])}
        assert dataset.urls == urls

    def test_it_may_return_paths_or_an_iterator(self, urls: list[str]) -> None:
        paths = webds.Dataset(urls, prepare_for_worker=lambda: [Path(urls[1])])
        assert [label(sample) for sample in paths] == numbers_of([1])
        some = webds.Dataset(urls, prepare_for_worker=lambda: (url for url in urls[2:3]))
        assert [label(sample) for sample in some] == numbers_of([2])

    def test_it_may_set_the_urls(self, urls: list[str]) -> None:
        def rotate() -> None:
            dataset.urls = [*dataset.urls[1:], dataset.urls[0]]

        dataset = webds.Dataset(urls, prepare_for_worker=rotate)
        assert next(iter(dataset))["cls"] == b"3"
        assert next(iter(dataset))["cls"] == b"6"

    def test_it_may_set_the_subset(self, urls: list[str]) -> None:
        def choose() -> None:
            info = torch.utils.data.get_worker_info()
            dataset.subset = (7, 8) if info is None else (info.id, 8)

        dataset = webds.Dataset(urls, prepare_for_worker=choose)
        for _ in range(2):
            assert [label(sample) for sample in dataset] == numbers_of([7])
        assert sorted(label(sample) for sample in loader(dataset, 2)) == numbers_of([0, 1])

    def test_a_chosen_list_can_be_shuffled(self, urls: list[str]) -> None:
        dataset = webds.Dataset(urls, shuffle=True, prepare_for_worker=lambda: urls[:4]).map(label)
        epochs = [list(dataset) for _ in range(6)]
        assert all(sorted(epoch) == numbers_of(range(4)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 2

    def test_an_error_of_the_function_is_raised(self, urls: list[str]) -> None:
        def fail() -> None:
            raise ArithmeticError("not today")

        with pytest.raises(ArithmeticError, match="not today"):
            list(webds.Dataset(urls, prepare_for_worker=fail))

    def test_a_function_of_a_module_pickles_with_the_dataset(self, urls: list[str]) -> None:
        dataset = pickle.loads(pickle.dumps(webds.Dataset(urls, prepare_for_worker=do_nothing).map(label)))
        assert sorted(loader(dataset, 2)) == sorted(2 * list(range(24)))


def do_nothing() -> None:
    """Select no shards."""
