"""How suites are defined and collected, and what they look at a process with."""

from __future__ import annotations

import logging
import random
from abc import ABC
from pathlib import Path

import numpy as np
import pytest
from typing_extensions import override

import webds.testing
from webds import abc
from webds.abc import Splitter
from webds.errors import OpenError
from webds.testing import OpenerSuite, SplitterSuite, Suite, same
from webds.testing.suite import global_seeds, logged, open_files, pickled, settled, shown

SUITES = [
    suite
    for name in webds.testing.__all__
    if isinstance(suite := getattr(webds.testing, name), type) and suite is not Suite
]
USER_TESTS = """
from webds.testing import OpenerSuite, SplitterSuite
from webds.abc import Splitter

class Everything(Splitter):
    axes = frozenset()

    def split(self, shards, place):
        return shards

class TestEverything(SplitterSuite):
    def make_splitter(self):
        return Everything()
"""
FORGETFUL_TESTS = """
from webds.testing import OpenerSuite

class TestForgetful(OpenerSuite):
    def url_of(self, folder, content):
        return ""
"""


def test_there_is_a_suite_for_each_contract() -> None:
    assert [suite.__name__ for suite in SUITES] == [f"{name}Suite" for name in abc.__all__]


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_cannot_be_instantiated(suite: type[Suite]) -> None:
    with pytest.raises(TypeError, match="abstract"):
        suite()


def test_a_forgotten_hook_is_an_error_that_names_it() -> None:
    with pytest.raises(TypeError, match=r"TestForgetful does not define make_opener, missing_url, url_of, which"):

        class TestForgetful(OpenerSuite):  # pyright: ignore[reportUnusedClass]  # its definition is the test
            pass


def test_a_family_of_suites_may_leave_hooks_to_its_subclasses() -> None:
    class FamilySuite(SplitterSuite, ABC):
        pass

    with pytest.raises(TypeError, match="abstract"):
        FamilySuite()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]  # that it is one is the test
    with pytest.raises(TypeError, match="does not define make_splitter"):

        class TestMember(FamilySuite):  # pyright: ignore[reportUnusedClass]  # its definition is the test
            pass


def test_pytest_runs_subclasses_but_not_the_suites(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(USER_TESTS)
    checks = [name for name in dir(SplitterSuite) if name.startswith("test_")]
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=len(checks))


def test_pytest_reports_a_forgotten_hook(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FORGETFUL_TESTS)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*TypeError: TestForgetful does not define make_opener, missing_url*"])


class Keyed(Splitter):
    axes = frozenset()

    def __init__(self, key: object) -> None:
        self.key = key

    @override
    def split(self, shards: object, place: object) -> list[str]:
        return []


def test_pickled_says_what_cannot_be_pickled() -> None:
    assert pickled(Keyed(3), "splitter").key == 3
    with pytest.raises(AssertionError, match="every splitter can be pickled"):
        pickled(Keyed(lambda: None), "splitter")


def test_global_seeds_are_put_back() -> None:
    before, numpy_before = random.getstate(), np.random.get_state(legacy=False)
    with global_seeds(3):
        first = random.random(), np.random.random()
    with global_seeds(3):
        assert (random.random(), np.random.random()) == first
    assert random.getstate() == before
    assert same(np.random.get_state(legacy=False), numpy_before)


def test_open_files_counts_descriptors(tmp_path: Path) -> None:
    before = open_files()
    with (tmp_path / "file").open("w"):
        assert open_files() == before + 1
    assert open_files() == before


def test_open_files_is_nothing_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr("os.listdir", refuse)
    assert open_files() == 0


def test_settled_waits_for_what_comes() -> None:
    answers = iter([False, False, True])
    assert settled(lambda: next(answers))
    assert not settled(lambda: False, seconds=0.02)


def test_shown_has_causes_and_attributes_but_no_suppressed_context() -> None:
    def fail(*, hide: bool) -> None:
        try:
            raise FileNotFoundError(2, "no such thing", "hidden-name")
        except OSError as error:
            if hide:
                raise OpenError("cannot open", url="u://x") from None
            raise OpenError("cannot open", url="u://x") from error

    with pytest.raises(OpenError) as caught:
        fail(hide=True)
    assert "u://x" in shown(caught.value)
    assert "no such thing" not in shown(caught.value)
    with pytest.raises(OpenError) as caught:
        fail(hide=False)
    caught.value.add_note("a-note")
    assert "no such thing" in shown(caught.value)
    assert "a-note" in shown(caught.value)


def test_logged_collects_from_info_on() -> None:
    with logged() as messages:
        logging.getLogger("somebody").info("seen %d", 1)
        logging.getLogger("somebody").debug("not seen")
    logging.getLogger("somebody").warning("too late")
    assert messages == ["seen 1"]
