"""Suites run by hand: what each check of a suite says of a class that breaks the contract."""

from __future__ import annotations

import gc
import inspect
import warnings
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from webds.testing import Suite


def checks(suite: type[Suite]) -> set[str]:
    return {name for name in dir(suite) if name.startswith("test_")}


@pytest.fixture
def failures(tmp_path: Path) -> Callable[[type[Suite], Collection[str]], dict[str, str]]:
    """Run checks of a suite, each in a folder of its own, and return what those that fail say."""

    def run(suite: type[Suite], names: Collection[str] = ()) -> dict[str, str]:
        failed: dict[str, str] = {}
        for name in sorted(names or checks(suite)):
            folder = tmp_path / suite.__name__ / name
            folder.mkdir(parents=True)
            check = getattr(suite(), name)
            arguments = [folder for parameter in inspect.signature(check).parameters if parameter == "tmp_path"]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # some leave files open: that is their mistake
                try:
                    check(*arguments)
                except AssertionError as error:
                    failed[name] = str(error)
                del check
                gc.collect(2 if "nothing_open" in name else 1)  # these have collected before, so all is old
        return failed

    return run


@pytest.fixture
def every_check_fails() -> Callable[[type[Suite], Collection[str]], None]:
    """Assert that the names are those of all checks of a suite: none is unproven, none misspelt."""

    def compare(suite: type[Suite], names: Collection[str]) -> None:
        assert set(names) == checks(suite)

    return compare
