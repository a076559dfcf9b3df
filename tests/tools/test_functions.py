from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from webds.tools.functions import NamedFunction, identity_of
from webds.tools.reading import Wanted


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def write(
    path: Path,
    text: str = "def f(x):\n    return x + 1\n\nclass C:\n    @staticmethod\n    def g(x):\n        return -x\n",
) -> str:
    path.write_text(text)
    return str(path)


def test_a_function_of_a_file(tmp_path: Path) -> None:
    write(tmp_path / "odd name.py")
    assert NamedFunction("odd name.py:f", str(tmp_path))(1) == 2
    assert NamedFunction(f"{tmp_path}/odd name.py:C.g")(1) == -1


def test_a_function_of_a_module_in_the_folder_and_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "my_module_of_functions.py")
    assert NamedFunction("my_module_of_functions:f", str(tmp_path))(1) == 2
    assert NamedFunction("os.path:basename")("a/b") == "b"


def test_a_pickled_one_is_the_same(tmp_path: Path) -> None:
    function = NamedFunction("file.py:f", str(tmp_path))
    write(tmp_path / "file.py")
    assert function(1) == 2
    other = pickle.loads(pickle.dumps(function))
    assert other == function
    assert other(1) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file.py:g", "has no function 'g'"),
        ("gone.py:f", r"no module 'gone\.py'"),
        ("gone.module:f", r"no module 'gone\.module', looked for in '.*'"),
        ("file", "expected module:function"),
        ("file.py:", "expected module:function"),
        (":f", "expected module:function"),
    ],
)
def test_what_is_no_function_says_why(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path / "file.py")
    with pytest.raises(ValueError, match=message):
        NamedFunction(name, str(tmp_path)).load()


def test_a_value_is_no_function(tmp_path: Path) -> None:
    write(tmp_path / "file.py", "x = 1\n")
    with pytest.raises(TypeError, match="is no function but a int"):
        NamedFunction("file.py:x", str(tmp_path)).load()


def test_what_a_module_lacks_is_its_own_error(tmp_path: Path) -> None:
    write(tmp_path / "lacks.py", "import nothing_of_this_name\n")
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        NamedFunction("lacks.py:f", str(tmp_path)).load()


def test_a_function_is_another_one_when_its_file_has_changed(tmp_path: Path) -> None:
    name = write(tmp_path / "file.py") + ":f"
    before = identity_of(NamedFunction(name))
    assert identity_of(NamedFunction(name)) == before
    write(tmp_path / "file.py", "def f(x):\n    return x + 2\n")
    assert identity_of(NamedFunction(name)) != before


def test_what_a_function_has_captured_is_part_of_it() -> None:
    def make(number: int) -> object:
        return lambda: number

    one, same, other = map(identity_of, [make(1), make(1), make(2)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert one == same != other
    assert identity_of(None) is None


def test_what_says_itself_what_it_is() -> None:
    assert identity_of(Wanted(match="a*")) == identity_of(Wanted(match="a*")) != identity_of(Wanted(match="b*"))
    assert identity_of(Wanted(keys=frozenset("ab"))) == identity_of(Wanted(keys=frozenset("ba")))
