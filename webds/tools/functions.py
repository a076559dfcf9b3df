"""Functions of users, by name, so that other processes have them too."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any, final

import attrs
from typing_extensions import override

__all__ = ["NamedFunction", "identity_of"]


@final
@attrs.frozen
class NamedFunction:
    """A function that each process imports when it first calls it.

    Attributes:
        name: ``module:function``, the module imported as by a script in `folder`; or ``path/to/file.py:function``.
            ``function`` may lead through attributes: ``module:Class.method``.
        folder: where relative paths and modules are looked for besides the usual places.
    """

    name: str
    folder: str = attrs.field(factory=os.getcwd)
    _found: list[Callable[..., Any]] = attrs.field(factory=list, init=False, eq=False, repr=False)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        if not self._found:
            self._found.append(self.load())
        return self._found[0](*arguments)

    def load(self) -> Callable[..., Any]:
        """Import the function.

        Raises:
            ValueError: there is none of this name.
            TypeError: it is something else.
            Exception: what its module raised.
        """
        place, colon, path = self.name.rpartition(":")
        if not colon or not place or not path:
            raise ValueError(f"{self.name!r} names no function: expected module:function, or file.py:function")
        try:
            module = self._file(place) if place.endswith(".py") else self._module(place)
        except (ModuleNotFoundError, FileNotFoundError) as error:
            if isinstance(error, ModuleNotFoundError) and error.name not in _parents(place):
                raise  # something that the module imports
            raise ValueError(
                f"there is no module {place!r}, looked for in {self.folder!r} and where Python does"
            ) from error
        found: Any = module
        for name in path.split("."):
            if not hasattr(found, name):
                raise ValueError(f"{place!r} has no function {path!r}")
            found = getattr(found, name)
        if not callable(found):
            raise TypeError(f"{self.name!r} is no function but a {type(found).__name__}")
        return found  # type: ignore[no-any-return]

    def _file(self, place: str) -> Any:
        path = os.path.join(self.folder, place)
        with open(path, "rb"):  # that it is not there is said as usual
            pass
        name = "webds_function_" + hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:16]
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    def _module(self, place: str) -> Any:
        if self.folder not in sys.path:
            sys.path.insert(0, self.folder)
        return importlib.import_module(place)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return NamedFunction, (self.name, self.folder)


def _parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def identity_of(function: Callable[..., Any] | None) -> str | None:
    """Return what tells ``function`` from others, and from what it was before its file was changed.

    What nothing is known of differs from all, itself in another process included. An object that is called may say it
    by a method ``identity``.
    """
    own: Callable[[], str] | None = getattr(function, "identity", None)
    if function is None or own is not None:
        return None if own is None else own()
    loaded = function.load() if isinstance(function, NamedFunction) else function
    unwrapped = inspect.unwrap(loaded)
    if not inspect.isfunction(unwrapped):
        return repr(function)
    captured = [repr(cell.cell_contents) for cell in unwrapped.__closure__ or ()]
    try:
        path = inspect.getsourcefile(unwrapped)
        with open(path or "", "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
    except (TypeError, OSError):
        digest = repr(unwrapped)
    return repr([unwrapped.__module__, unwrapped.__qualname__, unwrapped.__code__.co_firstlineno, captured,
                 unwrapped.__defaults__, digest])  # fmt: skip
