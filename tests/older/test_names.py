"""Every name of the older system is here, with its exact signature; only keyword-only parameters may follow."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch.utils.data
from older_names import CHECKS, CLASSES, FUNCTIONS, HANDLERS, METHODS, TENBIN, lines, named

import webds


def older_parameters(signature: str) -> list[inspect.Parameter]:
    """Return the parameters of a signature as it is written down, with the defaults that it names."""
    _, _, parameters = signature.partition("(")
    namespace: dict[str, Any] = {name: getattr(webds, name) for name in (*HANDLERS, "base_plus_ext", "reader")}
    exec(f"def function({parameters}: ...", namespace)
    return list(inspect.signature(namespace["function"]).parameters.values())


def shape(parameters: list[inspect.Parameter]) -> list[tuple[str, Any, Any]]:
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]


def assert_signature(function: Callable[..., Any], signature: str) -> None:
    """Assert that ``function`` has just these parameters, but for keyword-only ones that came later."""
    older = older_parameters(signature)
    ours = list(inspect.signature(function).parameters.values())
    known = {parameter.name for parameter in older}
    added = [parameter for parameter in ours if parameter.name not in known]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in added)
    assert all(parameter.default is not parameter.empty for parameter in added)
    assert shape([parameter for parameter in ours if parameter.name in known]) == shape(older)
    positions = dict(enumerate(ours))
    ends = [i for i, p in positions.items() if p.name in known and p.kind <= p.KEYWORD_ONLY]
    starts = [i for i, p in positions.items() if p.name not in known]
    assert not starts or not ends or min(starts) > max(ends)


@pytest.mark.parametrize("signature", lines(CLASSES), ids=named)
def test_classes_are_made_with_the_older_arguments(signature: str) -> None:
    kind = getattr(webds, named(signature))
    assert inspect.isclass(kind)
    assert_signature(kind, signature)


@pytest.mark.parametrize("signature", lines(FUNCTIONS), ids=named)
def test_functions_take_the_older_arguments(signature: str) -> None:
    assert_signature(getattr(webds, named(signature)), signature)


@pytest.mark.parametrize("signature", lines(METHODS), ids=named)
def test_methods_take_the_older_arguments(signature: str) -> None:
    kind, _, method = named(signature).partition(".")
    assert_signature(getattr(getattr(webds, kind), method), signature)


@pytest.mark.parametrize("signature", [line for line in lines(METHODS) if line.startswith("Dataset.")], ids=named)
def test_both_front_doors_have_the_same_methods(signature: str) -> None:
    _, _, method = named(signature).partition(".")
    assert_signature(getattr(webds.WebDataset, method), signature)


@pytest.mark.parametrize("signature", lines(TENBIN), ids=named)
def test_functions_of_tenbin_take_the_older_arguments(signature: str) -> None:
    module = importlib.import_module("webds.tenbin")
    assert_signature(getattr(module, named(signature)), signature)


@pytest.mark.parametrize("signature", lines(CHECKS), ids=named)
def test_checks_take_the_older_arguments(signature: str) -> None:
    module = importlib.import_module("webds.checks")
    assert_signature(getattr(module, named(signature)), signature)


@pytest.mark.parametrize("name", [named(line) for line in lines(TENBIN)])
def test_what_tenbin_has_is_importable_from_webds_itself(name: str) -> None:
    assert getattr(webds, name) is getattr(importlib.import_module("webds.tenbin"), name)


@pytest.mark.parametrize("name", [named(line) for line in lines(CHECKS)])
def test_what_checks_has_is_importable_from_webds_itself(name: str) -> None:
    assert getattr(webds, name) is getattr(importlib.import_module("webds.checks"), name)


def test_tables_are_dicts_to_be_changed() -> None:
    assert type(webds.default_handlers) is dict
    assert all(type(handlers) is dict for handlers in webds.default_handlers.values())
    assert type(webds.scheme_to_command) is dict


def test_front_doors_are_datasets_for_torch() -> None:
    assert issubclass(webds.Dataset, torch.utils.data.IterableDataset)
    assert issubclass(webds.WebDataset, torch.utils.data.IterableDataset)


def test_front_doors_take_nothing_but_the_urls_by_position() -> None:
    for door in (webds.Dataset, webds.WebDataset):
        kinds = [parameter.kind for parameter in inspect.signature(door).parameters.values()]
        assert kinds[0] is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert set(kinds[1:]) == {inspect.Parameter.KEYWORD_ONLY}


def test_the_comparison_notices_what_differs() -> None:
    """The signature check of this file fails for other names, orders, kinds and defaults."""

    def good(a: Any, b: int = 1, *, c: int = 2, new: int = 3) -> None: ...
    def renamed(x: Any, b: int = 1, *, c: int = 2) -> None: ...
    def reordered(b: int, a: int = 1, *, c: int = 2) -> None: ...
    def another_default(a: Any, b: int = 2, *, c: int = 2) -> None: ...
    def another_kind(a: Any, b: int = 1, c: int = 2) -> None: ...
    def new_by_position(a: Any, b: int = 1, new: int = 3, *, c: int = 2) -> None: ...
    def new_in_front(a: Any, b: int = 1, *, new: int = 3, c: int = 2) -> None: ...
    def new_and_required(a: Any, b: int = 1, *, c: int = 2, new: int) -> None: ...

    assert_signature(good, "f(a, b=1, *, c=2)")
    for bad in (
        renamed, reordered, another_default, another_kind, new_by_position, new_in_front, new_and_required,
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            assert_signature(bad, "f(a, b=1, *, c=2)")
