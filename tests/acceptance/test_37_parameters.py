"""Line 37: every parameter has a test that shows its effect.

The table says which; a parameter without an entry, an entry without a parameter and a test that is not there fail.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shards import numbered_shards

import webds
from webds.datasets.older import Selection

TESTS = Path(__file__).parents[1]

BUILDER = {
    "DatasetBuilder": {
        "urls": "test_urls_may_be_a_pattern_a_path_a_list_or_a_manifest",
        "opener": "test_opener_may_be_an_opener_a_function_or_a_command",
        "keys": "test_keys_replaces_the_rule",
        "on_error": "test_on_error_of_the_constructor_is_the_policy",
        "missing_end": "test_missing_end_accepts_an_archive_without_end_blocks",
        "duplicates": "test_duplicates_says_what_becomes_of_a_field_that_comes_twice",
        "verify": "test_verify_is_what_must_be_as_a_manifest_says",
    },
    "of": {"plan": "test_of_wraps_a_plan"},
    "split": {
        "splitter": "test_split_says_who_reads_which_shards",
        "remainder": "test_split_remainder_says_what_becomes_of_what_is_over",
        "nodes": "test_split_nodes_is_how_many_keep_to_a_share",
    },
    "shuffle": {
        "size": "test_shuffle_size_bounds_how_early_a_value_comes",
        "seed": "test_shuffle_seed_is_the_order",
        "shards": "test_shuffle_shards_permutes_them_as_a_whole",
        "initial": "test_shuffle_initial_lets_values_go_earlier",
        "max_bytes": "test_shuffle_max_bytes_bounds_the_buffer",
        "window_shards": "test_shuffle_window_shards_is_how_many_are_shuffled_together",
    },
    "repeat": {"n": "test_repeat_n_is_the_number_of_passes"},
    "take": {"n": "test_take_n_is_the_number_of_values"},
    "decode": {
        "spec": "test_decode_spec_is_how_images_are_decoded",
        "threads": "test_decode_threads_is_how_many_threads_decode",
        "size": "test_decode_size_is_what_images_are_brought_to",
    },
    "select": {"fields": "test_select_fields_are_those_that_stay"},
    "rename": {"new_old": "test_rename_new_old_are_names"},
    "map": {"f": "test_map_f_makes_the_values"},
    "map_dict": {"fs": "test_map_dict_fs_are_for_their_fields"},
    "map_tuple": {"fs": "test_map_tuple_fs_are_for_their_elements"},
    "filter": {"predicate": "test_filter_predicate_says_what_stays"},
    "associate": {"table": "test_associate_table_is_merged_in"},
    "join": {
        "companions": "test_join_companions_bring_their_fields",
        "by": "test_join_by_makes_the_key_of_the_companion",
        "missing": "test_join_missing_is_an_error_a_skip_or_nothing",
        "collision": "test_join_collision_says_whose_field_it_is",
    },
    "to_tuple": {
        "fields": "test_to_tuple_fields_are_the_elements",
        "missing": "test_to_tuple_missing_is_an_error_a_skip_or_a_value",
    },
    "into": {"cls": "test_into_cls_is_made_of_each_sample"},
    "batch": {
        "n": "test_batch_n_is_the_size",
        "partial": "test_batch_partial_false_drops_what_is_left_over",
        "collate": "test_batch_collate_makes_the_batch",
    },
    "unbatch": {},
    "pipe": {"stage": "test_pipe_stage_gets_the_whole_iterator"},
    "on_error": {
        "policy": "test_on_error_policy_holds_for_the_whole_chain",
        "max_errors": "test_on_error_max_errors_is_the_budget",
        "max_fraction": "test_on_error_max_fraction_is_the_part_that_may_fail",
        "ledger": "test_on_error_ledger_is_the_file_that_it_is_written_down_in",
    },
    "cache": {
        "directory": "test_cache_directory_is_where_copies_are",
        "max_bytes": "test_cache_max_bytes_bounds_the_copies",
        "validate": "test_cache_validate_size_fetches_what_has_another_size",
        "local": "test_cache_local_copies_local_files_too",
    },
    "prefetch": {
        "shards": "test_prefetch_shards_is_how_many_are_opened_early",
        "max_bytes": "test_prefetch_max_bytes_bounds_what_is_read_early",
    },
    "measure": {},
    "with_opener": {
        "scheme": "test_with_opener_scheme_and_opener_add_to_the_default",
        "opener": "test_with_opener_scheme_and_opener_add_to_the_default",
    },
    "with_decoder": {
        "ext": "test_with_decoder_ext_and_decoder_win_over_the_built_in_ones",
        "decoder": "test_with_decoder_ext_and_decoder_win_over_the_built_in_ones",
    },
    "build": {},
    "loader": {
        "num_workers": "test_loader_num_workers_and_options",
        "options": "test_loader_num_workers_and_options",
    },
    "plan_for": {
        "world_size": "test_plan_for_world_size_and_workers_are_who_reads",
        "workers": "test_plan_for_world_size_and_workers_are_who_reads",
        "batch_size": "test_plan_for_batch_size_is_in_place_of_that_of_batch",
        "nodes": "test_plan_for_nodes_is_what_ranks_are_on",
        "epoch": "test_plan_for_epoch_is_which_order",
    },
    "explain": {},
    "indexed": {},
    "select_samples": {"predicate": "test_select_samples_predicate_is_asked_before_data_is_read"},
    "map_style": {},
}

IN_MIXING = "datasets/test_mixing.py::"
MIXING = {
    "mix": {
        "sources": IN_MIXING + "test_sources_are_builders_datasets_or_sources_by_name_or_in_a_list",
        "weights": IN_MIXING + "test_weights_are_kept_at_any_time",
        "cycle": IN_MIXING + "test_cycle_is_what_each_batch_of_its_size_holds",
        "counts": IN_MIXING + "test_counts_are_those_of_one_iteration",
        "exhausted": IN_MIXING + "test_exhausted_is_what_happens_when_one_runs_dry",
        "seed": IN_MIXING + "test_seed_is_the_order_of_the_turns",
    },
    "round_robin": {
        "sources": IN_MIXING + "test_round_robin_takes_one_of_each_in_turn",
        "exhausted": IN_MIXING + "test_round_robin_takes_one_of_each_in_turn",
    },
    "concat": {"sources": IN_MIXING + "test_concat_goes_through_one_after_the_other"},
}

IN_HUGGINGFACE = "datasets/test_huggingface.py::"
HUGGINGFACE = {
    "from_hf": {
        "dataset": IN_HUGGINGFACE + "test_columns_become_fields",
        "key": IN_HUGGINGFACE + "test_key_is_the_column_of_the_keys",
        "fields": IN_HUGGINGFACE + "test_fields_are_what_columns_are_called",
        "shards": IN_HUGGINGFACE + "test_shards_are_what_rows_are_cut_into",
    },
    "to_hf": {
        "data": IN_HUGGINGFACE + "test_samples_become_rows",
        "features": IN_HUGGINGFACE + "test_features_are_those_of_the_rows",
    },
}

IN_INDEXING = "datasets/test_indexing.py::"
BUILD_INDEX = {
    "urls": IN_INDEXING + "test_it_writes_tables_beside_the_shards_and_a_manifest",
    "manifest": IN_INDEXING + "test_manifest_and_directory_say_where",
    "directory": IN_INDEXING + "test_manifest_and_directory_say_where",
    "workers": IN_INDEXING + "test_workers_do_it_in_processes",
    "opener": IN_INDEXING + "test_of_remote_shards_headers_are_read_by_ranges",
    "md5": IN_INDEXING + "test_md5_is_noted",
    "missing_end": IN_INDEXING + "test_missing_end_accepts_an_archive_without_end_blocks",
    "rebuild": IN_INDEXING + "test_rebuild_does_all_again",
}

IN_DATASET = "older/test_dataset.py::"
IN_METHODS = "older/test_methods.py::"
IN_WEBDATASET = "older/test_webdataset.py::"
HANDLED = IN_METHODS + "TestHandlers::test_ignore_and_continue_leaves_the_sample_out"
HANDLED_MISSING = IN_METHODS + "TestHandlers::test_missing_fields_are_errors_of_their_stage"

DATASET = {
    "Dataset": {
        "urls": IN_DATASET + "TestUrls::test_a_brace_expression_names_shards_in_its_order",
        "keys": IN_DATASET + "TestSamples::test_keys_replaces_the_rule_for_keys_and_fields",
        "suffixes": IN_DATASET + "TestSamples::test_suffixes_keep_only_these_fields",
        "length": IN_DATASET + "TestEpochsAndLength::test_len_is_the_length_that_was_given",
        "epochs": IN_DATASET + "TestEpochsAndLength::test_epochs_are_passes_of_one_iteration",
        "opener": IN_DATASET + "TestOpener::test_a_function_from_url_to_stream",
        "handler": "older/test_handlers.py::TestShards::test_ignore_and_continue_keeps_what_is_whole",
        "shuffle": IN_DATASET + "TestShuffle::test_it_shuffles_shards_and_leaves_samples_in_their_order",
        "prepare_for_worker": "older/test_workers.py::TestPrepareForWorker::test_false_is_no_selection",
        "initial_pipeline": IN_DATASET + "TestInitialPipeline::test_an_empty_one_yields_the_members_ungrouped",
        "missing_end": IN_DATASET + "TestSamples::test_missing_end_accepts_what_writers_without_end_blocks_made",
    },
    "of": {
        "plan": "acceptance/test_37_parameters.py::test_37_of_wraps_a_plan_and_a_selection",
        "selection": "acceptance/test_37_parameters.py::test_37_of_wraps_a_plan_and_a_selection",
    },
    "decode": {"decoder": IN_METHODS + "TestDecode::test_a_dict_decodes_just_its_extensions", "handler": HANDLED},
    "map": {"f": IN_METHODS + "TestMap::test_it_replaces_the_sample_by_what_the_function_returns", "handler": HANDLED},
    "map_dict": {
        "handler": HANDLED,
        "fns": IN_METHODS + "TestMapDict::test_it_replaces_the_fields_that_are_named_and_keeps_the_others",
    },
    "map_tuple": {"fns": IN_METHODS + "TestMapTuple::test_a_function_for_each_element", "handler": HANDLED},
    "pipe": {"stage": IN_METHODS + "TestPipe::test_a_stage_gets_the_iterator_and_returns_another"},
    "rename": {
        "handler": HANDLED_MISSING,
        "new_old": IN_METHODS + "TestRename::test_the_first_alternative_that_is_there_counts",
    },
    "shuffle": {"size": IN_METHODS + "TestShuffle::test_it_shuffles_samples_and_shards"},
    "to_tuple": {"fields": IN_METHODS + "TestToTuple::test_a_field_an_argument", "handler": HANDLED_MISSING},
    "state_dict": {},
    "load_state_dict": {
        "state": "plans/test_resuming.py::test_a_state_describes_the_last_started_iteration_and_epochs_go_on"
    },
    "set_epoch": {"epoch": "datasets/test_builder.py::test_epochs_of_one_dataset_differ_and_can_be_set"},
    "raw_iter": {},
    "shard_selection": {},
    "stats": {},
    "explain": {},
}

WEBDATASET = {
    "urls": "acceptance/test_37_parameters.py::test_37_web_dataset_takes_urls_in_every_form",
    "extensions": IN_WEBDATASET + "TestExtensions::test_one_text_with_alternatives",
    "decoder": IN_WEBDATASET + "TestDecoder::test_a_specification_by_name",
    "transforms": IN_WEBDATASET + "TestTransforms::test_one_for_each_element",
    "pipeline": IN_WEBDATASET + "TestPipeline::test_it_is_a_function_of_the_iterator",
    "epochs": IN_WEBDATASET + "TestOtherwise::test_epochs_length_keys_and_opener",
    "keys": IN_WEBDATASET + "TestOtherwise::test_epochs_length_keys_and_opener",
    "opener": IN_WEBDATASET + "TestOtherwise::test_epochs_length_keys_and_opener",
    "verbose": IN_WEBDATASET + "TestOtherwise::test_verbose_logs_each_shard_that_is_opened",
    "shuffle": IN_WEBDATASET + "TestShuffle::test_more_than_one_shuffles_samples_too",
    "associate": IN_WEBDATASET + "TestAssociate::test_a_function_of_the_key",
    "prepare_for_worker": "acceptance/test_37_parameters.py::test_37_web_dataset_prepares_for_a_worker",
    "length": IN_WEBDATASET + "TestOtherwise::test_epochs_length_keys_and_opener",
    "handler": "older/test_handlers.py::TestWebDataset::test_decoding_missing_fields_and_transforms",
    "missing_end": IN_WEBDATASET + "TestOtherwise::test_missing_end_is_its_keyword_too",
}

LOADER = {
    "dataset": "datasets/test_loader.py::test_a_loader_of_a_dataset",
    "num_workers": "datasets/test_loader.py::test_every_value_comes_once_with_any_number_of_workers",
    "options": "datasets/test_loader.py::test_other_options_are_the_dataloader_s",
}

IN_ITERATOR = "older/test_tariterator.py::"
TARITERATOR = {
    "fileobj": IN_ITERATOR + "test_any_object_with_read_will_do",
    "keys": IN_ITERATOR + "test_keys_replaces_the_rule",
    "decoder": IN_ITERATOR + "test_decoder_is_rgb_by_default_and_may_be_another_a_function_or_a_dict",
    "suffixes": IN_ITERATOR + "test_suffixes_keep_only_these_fields",
    "tar_errors": IN_ITERATOR + "TestErrors::test_tar_errors_may_end_it_quietly",
    "decode_errors": IN_ITERATOR + "TestErrors::test_decode_errors_are_another_matter",
    "missing_end": IN_ITERATOR + "TestErrors::test_missing_end_accepts_what_writers_without_end_blocks_made",
}


REPLAY = {
    "ledger": "datasets/test_replaying.py::test_each_comes_once_and_each_shard_is_read_once",
    "dataset": "datasets/test_replaying.py::test_the_ledger_keeps_no_secret_and_the_dataset_has_it",
    "opener": "datasets/test_replaying.py::test_each_comes_once_and_each_shard_is_read_once",
}


def _parameters(function: Callable[..., Any]) -> set[str]:
    return {name for name in inspect.signature(function).parameters if name != "self"}


def _surface(cls: type[Any]) -> dict[str, set[str]]:
    """Return the public methods of a class, and its constructor under its own name, each with its parameters."""
    members = inspect.getmembers(cls, callable)
    methods = {name: _parameters(member) for name, member in members if not name.startswith("_")}
    return {cls.__name__: _parameters(cls.__init__), **methods}


def _named(table: dict[str, dict[str, str]]) -> dict[str, set[str]]:
    return {method: set(parameters) for method, parameters in table.items()}


def test_37_every_parameter_of_the_builder_is_in_the_table() -> None:
    assert _named(BUILDER) == _surface(webds.DatasetBuilder)


def test_37_every_parameter_of_the_older_front_doors_is_in_the_table() -> None:
    assert _named(DATASET) == _surface(webds.Dataset)
    methods = _surface(webds.WebDataset)
    assert set(WEBDATASET) == methods.pop("WebDataset")
    shared = _named(DATASET)
    assert methods == {name: shared[name] for name in methods}, "they have their methods in common"
    assert set(TARITERATOR) == _parameters(webds.tariterator)


def test_37_every_parameter_of_replay_is_in_the_table() -> None:
    assert set(REPLAY) == _parameters(webds.replay)


def test_37_every_parameter_of_the_loader_is_in_the_table() -> None:
    assert set(LOADER) == _parameters(webds.Loader.__init__)


def test_37_every_parameter_of_mixing_is_in_the_table() -> None:
    for function in (webds.mix, webds.round_robin, webds.concat):
        assert set(MIXING[function.__name__]) == _parameters(function)


def test_37_every_parameter_of_huggingface_is_in_the_table() -> None:
    for function in (webds.from_hf, webds.to_hf):
        assert set(HUGGINGFACE[function.__name__]) == _parameters(function)


def test_37_every_parameter_of_build_index_is_in_the_table() -> None:
    assert set(BUILD_INDEX) == _parameters(webds.build_index)


def _tests(file: str) -> set[str]:
    """Return the tests of a file, those of classes as ``Class::test``."""

    def names(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield from names(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield prefix + node.name

    return set(names(ast.parse((TESTS / file).read_text()).body, ""))


def test_37_every_test_of_the_table_is_there() -> None:
    flat = [test for table in DATASET.values() for test in table.values()]
    flat += [*WEBDATASET.values(), *LOADER.values(), *TARITERATOR.values()]
    flat += [*REPLAY.values(), *BUILD_INDEX.values()]
    flat += [test for tables in (MIXING, HUGGINGFACE) for table in tables.values() for test in table.values()]
    flat += [f"datasets/test_builder.py::{test}" for table in BUILDER.values() for test in table.values()]
    files: dict[str, set[str]] = {}
    for test in flat:
        file, _, name = test.partition("::")
        files.setdefault(file, set()).add(name)
    missing = {file: wanted - _tests(file) for file, wanted in files.items() if wanted - _tests(file)}
    assert missing == {}


# What no other test shows.


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    return numbered_shards(tmp_path)


def _keys(dataset: Any) -> list[str]:
    return [sample["__key__"] for sample in dataset]


def test_37_of_wraps_a_plan_and_a_selection(urls: list[str]) -> None:
    plan = webds.DatasetBuilder(urls).plan
    assert len(list(webds.Dataset[Any].of(plan))) == 20
    chosen = webds.Dataset[Any].of(plan, Selection(True, (1, 4), 5))
    assert _keys(chosen) == [f"key{n:05d}" for n in range(5, 10)]
    assert len(chosen) == 5


def test_37_web_dataset_takes_urls_in_every_form(tmp_path: Path, urls: list[str]) -> None:
    expected = [f"key{n:05d}" for n in range(20)]
    patterns = f"{tmp_path}/shard-*.tar", f"{tmp_path}/shard-{{000000..000003}}.tar"
    for given in (urls, [Path(url) for url in urls], *patterns):
        assert _keys(webds.WebDataset(given)) == expected
    assert _keys(webds.WebDataset(urls[1])) == expected[5:10]


def test_37_web_dataset_prepares_for_a_worker(urls: list[str]) -> None:
    def loaded(prepare: Any) -> list[str]:
        dataset = webds.WebDataset(urls, decoder=None, prepare_for_worker=prepare)
        return sorted(_keys(webds.Loader(dataset, num_workers=2)))

    expected = [f"key{n:05d}" for n in range(20)]
    assert loaded(True) == expected
    assert loaded(False) == sorted(expected * 2), "each worker reads everything"
    assert loaded(lambda: urls[:1]) == sorted(expected[:5] * 2), "each worker reads what the function chose"
